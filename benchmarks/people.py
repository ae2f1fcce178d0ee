"""How fast made people are made: `python -m benchmarks.people --asset ict_face.npz`

Needs torch and the 3-D face (docs/training.md). Rasterising and photographs are timed on one thread; whole rows as the
command makes them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.table import Row, Table, Target, machine
from perfcap.training.ict import FAR, load_ict, rasterise
from synth.training import tiles
from synth.training.figure import Tailor
from synth.training.landmarks import Landmarks
from synth.training.people import Maker, PeopleOptions
from synth.training.photograph import Light, Studio, View, placed
from synth.training.take import Scene, portrait

SIDE = 256
WANTED = 10.0  # frames/s of the Numba rasteriser and of photographs, at 256 px on one core


def people(asset: Path, landmarks: Path, n_rows: int, n_frames: int) -> list[Table]:
    torch.set_num_threads(1)
    tailor = Tailor(load_ict(asset))
    studio = Studio(tailor)
    rng = np.random.default_rng(0)
    figure, light = tailor.person(rng), Light.random(rng)
    scene = Scene.random(rng, SIDE / 3.2, 0.09, SIDE, SIDE)
    moment = scene.moment(portrait(rng))
    points = placed(figure, figure.pose(moment.expression, moment.gaze), moment)
    focal, fine = scene.camera.focal_px * 2, SIDE * 2

    def by_numba() -> None:
        depth, triangle = np.full((fine, fine), FAR, np.float32), np.full((fine, fine), -1, np.int32)
        weights = np.zeros((fine, fine, 2), np.float32)
        rasterise(points, figure.triangles, focal, SIDE, SIDE, depth, triangle, weights)

    def by_torch() -> None:
        at, triangles = torch.from_numpy(points)[None], torch.from_numpy(figure.triangles).long()
        tiles.rasterise(at, triangles, focal, SIDE, SIDE, fine, fine)

    skin = studio.develop(figure, SIDE / 3.2)
    view = View(SIDE, SIDE, scene.camera.focal_px, SIDE / 2, SIDE / 2)
    maker = Maker(asset, PeopleOptions(side=SIDE), Landmarks.load(landmarks))
    n_made = 0

    def rows() -> None:
        nonlocal n_made
        for number in range(-(-n_rows // maker.options.per_person)):
            n_made += sum(len(row["target"]) for row in maker.rows(number))

    whole = _seconds(rows, 1, warm=False)
    table = Table(
        "people",
        f"Made people, {SIDE} px, {len(figure.triangles)} triangles, every pixel drawn as four",
        ["frames/s"],
        [
            Row("rasterised, numba", {"frames/s": 1 / _seconds(by_numba, n_frames)}),
            Row("rasterised, torch", {"frames/s": 1 / _seconds(by_torch, n_frames)}),
            Row("photographed", {"frames/s": 1 / _seconds(lambda: studio.shoot(figure, moment, view, light, skin), n_frames)}),
            Row("whole rows, rig and guides too", {"frames/s": n_made / whole}),
        ],
        {"frames/s": Target(low=WANTED)},
    )  # fmt: skip
    return [table]


def _seconds(work: Callable[[], object], n: int, *, warm: bool = True) -> float:
    """Of one call, the mean of n after one that compiles."""
    if warm:
        work()
    begun = time.perf_counter()
    for _ in range(n):
        work()
    return (time.perf_counter() - begun) / n


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=__doc__)
    parser.add_argument("--asset", type=Path, required=True)
    parser.add_argument(
        "--landmarks", type=Path, required=True, help="landmarks.npz that synth.training.people measured"
    )
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--frames", type=int, default=20)
    arguments = parser.parse_args()
    print(machine())
    for table in people(arguments.asset, arguments.landmarks, arguments.rows, arguments.frames):
        print(table.text())


if __name__ == "__main__":
    main()
