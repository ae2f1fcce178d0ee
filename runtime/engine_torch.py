"""A torch module as an engine. On a GPU its kernels are recorded once and started all together (CUDA graphs).

It may be compiled first, which takes a minute, a C++ compiler on a CPU and Triton on a GPU; where it does not compile,
the first call raises what torch's compiler raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from runtime.engine import Engine, Specs, Tensor

_log = logging.getLogger(__name__)

WARM = 3  # calls before a recording, in which libraries choose their kernels


class TorchEngine(Engine):
    """A callable that takes tensors by keyword and returns them by name."""

    def __init__(
        self,
        network: Callable[..., Mapping[str, Tensor]],
        device: str,
        inputs: Specs,
        outputs: Specs,
        *,
        compiled: bool = False,
    ) -> None:
        import torch

        if compiled:
            network = torch.compile(network, dynamic=False)
        self._network = network
        self._recorded: _Recording | None = None
        if device == "cuda":
            try:
                self._recorded = _Recording(network, inputs)
            except RuntimeError as error:  # of CUDA
                _log.warning("kernels are not recorded, so each is started by itself: %s", str(error).split("\n")[0])
        how = "CPU" if device == "cpu" else "CUDA graphs" if self._recorded is not None else "CUDA"
        how = f"compiled, {how}" if compiled else how
        super().__init__(f"torch {torch.__version__} ({how})", device, inputs, outputs)

    def _run(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        import torch

        if self._recorded is not None:
            return self._recorded.replay(tensors)
        with torch.no_grad():
            return dict(self._network(**tensors))


class _Recording:
    """The kernels of one call, with the memory that they read and write."""

    def __init__(self, network: Callable[..., Mapping[str, Tensor]], inputs: Specs) -> None:
        import torch

        self._given = {
            name: torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device="cuda")
            for name, spec in inputs.items()
        }
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.no_grad(), torch.cuda.stream(aside):
            for _ in range(WARM):
                network(**self._given)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._made = dict(network(**self._given))

    def replay(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for name, tensor in tensors.items():
            self._given[name].copy_(tensor)
        self._graph.replay()
        return {name: tensor.clone() for name, tensor in self._made.items()}
