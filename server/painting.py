"""The network that paints for live sessions: loaded once, and called once for all that wait at the same moment.

A session uses it as if it were its own, and keeps what its own frames left. One thread calls the network; while it
does, further sessions come to wait, and the next call is for all of them. torch and diffusers load with the weights.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from synth.diffusion.guide import Reference
from synth.diffusion.renderer import PACKAGED, engine_named, find_weights, load_network

if TYPE_CHECKING:
    from torch import Tensor

    from runtime.engine import Wanted
    from synth.diffusion.pipeline import Frames, GuidePipeline, Memory
    from synth.diffusion.together import Waiting

TOGETHER = 4  # sessions that one call is made ready for; more are several calls
FOR_LIVE = ("turbo", "base")  # of the packaged weights, the first that there are: one step is sooner done than four


class Shared:
    """A pipeline for any number of threads. What is not the network's work is the pipeline's own."""

    def __init__(self, pipeline: GuidePipeline) -> None:
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._waiting: list[tuple[Waiting, Future[Frames]]] = []
        self._caller = ThreadPoolExecutor(1, thread_name_prefix="paint")
        self.n_calls = 0
        self.n_painted = 0  # of which one call may be several

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def references(self, shown: Sequence[Reference]) -> Tensor:
        return self._caller.submit(self._pipeline.references, shown).result()

    def __call__(self, guide: Tensor, references: Tensor, memory: Memory, *, begun: Tensor | None = None) -> Frames:
        """What the network makes of it, when its turn has come. Raises what the network raises."""
        from synth.diffusion.together import Waiting

        frames: Future[Frames] = Future()
        with self._lock:
            self._waiting.append((Waiting(guide, references, memory, begun), frames))
        self._caller.submit(self._paint)
        return frames.result()

    def _paint(self) -> None:
        """All that wait by now; nothing where an earlier call has taken them along."""
        from synth.diffusion.together import paint_together

        with self._lock:
            taken, self._waiting = self._waiting, []
        if not taken:
            return
        self.n_calls += 1
        self.n_painted += len(taken)
        try:
            done = paint_together(self._pipeline, [waiting for waiting, _ in taken])
        except Exception as error:  # each session tells of it, and ends
            for _, frames in taken:
                frames.set_exception(error)
            return
        for (_, frames), painted in zip(taken, done, strict=True):
            frames.set_result(painted)


class Painting:
    """The network of one folder of weights, loaded when it is first wanted."""

    def __init__(self, weights: Path, engine: str | None = None) -> None:
        self._weights, self._engine = weights, engine_named(engine)
        self._loading = threading.Lock()
        self._shared: Shared | None = None

    def painter(self) -> GuidePipeline:
        """It stands in a pipeline's place. Raises InputError for weights that cannot be read."""
        with self._loading:
            if self._shared is None:
                self._shared = Shared(_load(self._weights, self._engine))
            return cast("GuidePipeline", self._shared)

    def counts(self) -> dict[str, int]:
        made = self._shared
        return {"painted": made.n_painted if made else 0, "paintings": made.n_calls if made else 0}


def open_painting(weights: str | None, engine: str | None = None, *, wanted: bool) -> Painting | None:
    """What a server paints with: the weights that are named, else packaged ones, else nothing; run as an act's are.

    What is named, or `wanted` in any case, is loaded at once. Raises InputError where it cannot be had.
    """
    name = weights or next((name for name in FOR_LIVE if (PACKAGED / name / "model_index.json").exists()), None)
    at_once = wanted or weights is not None
    if not at_once and (name is None or find_spec("diffusers") is None):
        return None
    painting = Painting(find_weights(name), engine)
    if at_once:
        painting.painter()
    return painting


def _load(weights: Path, engine: Wanted | Path) -> GuidePipeline:
    pipeline = load_network(weights, engine=engine, streams=TOGETHER)
    if pipeline.device.type == "cpu":
        import torch

        torch.set_num_threads(os.cpu_count() or 1)  # the command line's are 1, which is right for small matrices only
    return pipeline
