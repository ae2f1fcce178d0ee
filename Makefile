# The words that run the house. Each sets up what it needs; nothing needs root, a compiler or a GPU.
#
#   make demo      set up, then perform: out/demo.mp4
#   make test      set up, then every test, the slow ones too
#   make diffusion what the diffusion renderer and training need as well: torch, diffusers, ONNX
#   make tensorrt  and TensorRT-RTX, which builds engines without a GPU
#   make wan-animate  what somebody else's renderer needs besides: transformers
#   make style types bench gpu ci clean
#
# The interpreter is the first Python 3.10 to 3.12 found; name another with make PYTHON=/path/to/python3.11

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
TRAIN_READY := $(VENV)/.ready-train
TENSORRT_READY := $(VENV)/.ready-tensorrt
WAN_READY := $(VENV)/.ready-wan-animate
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' constraints.txt)
RIGHT_VERSION := import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	"$$p" -c '$(RIGHT_VERSION)' 2>/dev/null && echo "$$p" && break; done)

.PHONY: setup diffusion tensorrt wan-animate demo test style types bench gpu ci clean
.DELETE_ON_ERROR:

setup: $(READY)

$(READY): constraints.txt pyproject.toml
	@"$(PYTHON)" -c '$(RIGHT_VERSION)' 2>/dev/null || \
		{ echo "found no Python 3.10 to 3.12 with venv; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	sed '/^# Only with an extra/,$$d' constraints.txt > $(VENV)/pins.txt
	@# The OpenCV that mediapipe asks for and the headless one own the same files: take both out before one goes in.
	@if $(PIP) show --quiet opencv-contrib-python 2>/dev/null; then \
		$(PIP) uninstall --quiet --yes opencv-contrib-python opencv-contrib-python-headless; fi
	@echo "installing what constraints.txt names into $(VENV): 1.6 GB there, and some minutes"
	$(PIP) install --quiet --no-deps --use-pep517 --requirement $(VENV)/pins.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(TRAIN_READY): $(READY)
	sed '1,/^# With torch/d; /^# With TensorRT/,$$d; /^torch==/d' constraints.txt > $(VENV)/extra.txt
	$(PIP) install --quiet --no-deps --requirement $(VENV)/extra.txt
	$(PIP) install --quiet --constraint $(VENV)/extra.txt "$(TORCH)"
	touch $@

$(TENSORRT_READY): $(TRAIN_READY)
	sed '1,/^# With TensorRT/d; /^# With Wan-Animate/,$$d' constraints.txt > $(VENV)/tensorrt.txt
	$(PIP) install --quiet --no-deps --use-pep517 --no-build-isolation --requirement $(VENV)/tensorrt.txt
	touch $@

diffusion: $(TRAIN_READY)

tensorrt: $(TENSORRT_READY)

$(WAN_READY): $(TRAIN_READY)
	sed '1,/^# With Wan-Animate/d' constraints.txt > $(VENV)/wan.txt
	$(PIP) install --quiet --no-deps --requirement $(VENV)/wan.txt
	touch $@

wan-animate: $(WAN_READY)

demo: setup
	$(BIN)/understudy demo -o out/demo.mp4 --force

test: setup
	$(BIN)/pytest $(ARGS)

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

gpu: $(TRAIN_READY)
	$(BIN)/pytest -m gpu; tested=$$?; $(BIN)/python -m benchmarks.gpu $(ARGS) && exit $$tested

ci: style types test

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find runtime perfcap calibration synth audio server tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
