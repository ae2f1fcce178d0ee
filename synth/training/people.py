"""Make people to train the diffusion renderer on: pictures of them, guides as the product makes them, and the truth.

    python -m synth.training.people --asset ict_face.npz -o DIR --n 1000 --side 256 --frames 2 --seed 0

Every person has a face, skin, hair, clothes, light, camera and background of their own. One picture of them is rigged
and warped by the product itself (`synth.rig`, `synth.warp`, `synth.diffusion.guide`), led by landmarks as wrong as
MediaPipe's; the same moments photographed are the truth. Rows go to shards (`synth.training.shards`), each whole or not
there, so a run that was stopped goes on where it was. The same seed makes the same people. `--portraits FOLDER` has
half of them wear the skin of people in pictures, `--performances take.npz` has them do what was captured: whoever names
them says that they may be used. Needs torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perfcap.expression import gaze_of, template
from perfcap.face import FaceMesh
from perfcap.head import Camera, fit_head
from perfcap.landmarks import LEFT_EYE, LIPS, RIGHT_EYE
from perfcap.training.ict import load_ict
from runtime.errors import InputError
from runtime.records import ARKIT_INDEX, N_EXPRESSION, Motion
from synth.diffusion.guide import SIDE_UNITS, Crop, Guides, Reference, reference
from synth.rig import rig
from synth.training.figure import Figure, Tailor
from synth.training.landmarks import LASTING, PASSING, Landmarks, Shown, measure
from synth.training.look import Look
from synth.training.photograph import Light, Moment, Photograph, Studio, View
from synth.training.portraits import portraits
from synth.training.recorded import Recording, recordings
from synth.training.shards import read_shard, row_type, write_shard
from synth.training.skin import Projected
from synth.training.take import AT_REST, Act, Scene, portrait, run
from synth.warp import WarpRenderer

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Rgb = NDArray[np.uint8]
Rng = np.random.Generator

N_LOOKS = 64  # photographs by which the landmarks' errors are measured
LOOK_PX = 288  # a side of each
OF_PORTRAITS = 0.5  # share of the people who wear a portrait's skin, where there are portraits
FAINT_FAULTS = 0.4  # of a camera's noise that the truth has: what cannot be known should not be learned


@dataclass(frozen=True, kw_only=True)
class PeopleOptions:
    n: int = 1000  # rows
    side: int = 256  # of the face's crop, px
    frames: int = 2  # a row, one after the other
    references: int = 3  # pictures of the person, the one that is warped among them
    window: int = 0  # px around mouth or eyes that are kept of a crop; 0 keeps all of it
    per_person: int = 4  # rows of each person
    shard: int = 64  # rows a file
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n", "side", "frames", "references", "per_person", "shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted 1 or more")
        if self.shard % self.per_person:
            raise ValueError(f"shard is {self.shard}, wanted a multiple of per_person, which is {self.per_person}")
        if not 0 <= self.window <= self.side:
            raise ValueError(f"window is {self.window}, wanted 0 to the side, which is {self.side}")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is brought of real people."""

    portraits: Path | None = None  # a folder of pictures whose skin is worn
    performances: Sequence[Path] = ()  # what `understudy capture` wrote


@dataclass(frozen=True)
class Picture:
    """One picture of a person as a user would bring it."""

    rgb: Rgb  # [H, W, 3]
    landmarks: Floats  # [478, 3] px
    exposure: float  # what the light was multiplied with


class Person:
    """One made person in one scene, before one camera."""

    def __init__(
        self, figure: Figure, studio: Studio, landmarks: Landmarks, side: int, rng: Rng,
        recordings: Sequence[Recording] = (),
    ) -> None:  # fmt: skip
        self._studio, self._landmarks, self._rng, self._recordings = studio, landmarks, rng, recordings
        self.figure = figure
        self._light, self.look = Light.random(rng), Look.random(rng)
        size = rng.uniform(0.8, 1.35) * side
        self._unit_px = size / SIDE_UNITS
        self._skin = studio.develop(self.figure, max(self._unit_px, side / SIDE_UNITS))
        width = round(size * rng.uniform(1.3, 1.8))
        self.scene = Scene.random(rng, self._unit_px, self.figure.unit_m, width, round(width * rng.uniform(0.95, 1.25)))
        self._lasting = landmarks.error(rng, LASTING)
        self._shown = portrait(rng)
        self.source = self._take_picture(self._shown, self._light)

    def _take_picture(self, act: Act, light: Light) -> Picture:
        camera = self.scene.camera
        view = View(camera.width, camera.height, camera.focal_px, camera.width / 2, camera.height / 2)
        moment = self.scene.moment(act)
        shot = self._studio.shoot(self.figure, moment, view, light, self._skin)
        exposure = self.look.exposure(shot.rgb, shot.skin, self.figure.skin.tone)
        rgb = self.look.picture(_over(shot, exposure, self.scene.background), self._unit_px, self._rng)
        return Picture(rgb, self.landmarks_of(moment), exposure)

    def another_picture(self) -> Picture:
        """Of the same person doing something else, perhaps in another light."""
        light = self._light if self._rng.random() < 0.5 else Light.random(self._rng)
        act = portrait(self._rng) if self._rng.random() < 0.4 else self.acts(1)[0]
        return self._take_picture(act, light)

    def acts(self, n: int) -> list[Act]:
        """So many frames in which they do something, not too far from what their picture shows."""
        return run(self._rng, n, self._shown, self._recordings)

    def landmarks_of(self, moment: Moment) -> Floats:
        error = self._lasting + self._landmarks.error(self._rng, PASSING)
        posed = self.figure.pose(moment.expression, moment.gaze)
        return self._landmarks.see(self.figure.face, posed, moment.gaze, moment.head, self.scene.camera, error)

    def film(self, moment: Moment, crop: Crop, part: Part) -> Rgb:
        """The true frame, as light as the picture is: part of a crop of it."""
        camera, scale = self.scene.camera, crop.scale
        x, y = camera.width / 2 - crop.left, camera.height / 2 - crop.top
        view = View(part.side, part.side, camera.focal_px * scale, x * scale - part.left, y * scale - part.top)
        shot = self._studio.shoot(self.figure, moment, view, self._light, self._skin)
        light = _over(shot, self.source.exposure, part.of(crop.cut(self.scene.background)))
        return self.look.picture(light, self._unit_px * scale, self._rng, FAINT_FAULTS)


@dataclass(frozen=True)
class Part:
    """A square of a crop that is kept."""

    left: int  # px of the crop
    top: int
    side: int

    @classmethod
    def around(cls, points: Floats, within: int, side: int) -> Part:
        """With the middle of points [N, 2] in the middle, as far as the crop reaches."""
        left, top = np.clip(np.round(points.mean(0) - side / 2), 0, within - side).astype(int)
        return cls(int(left), int(top), side)

    def of(self, picture: NDArray[Any]) -> NDArray[Any]:
        return picture[self.top : self.top + self.side, self.left : self.left + self.side]


def _over(shot: Photograph, exposure: float, background: Floats) -> Floats:
    return np.asarray(shot.rgb * np.float32(exposure) + (1 - shot.cover[..., None]) * background, np.float32)


def motion_of(landmarks: Floats, camera: Camera, neutral: Floats) -> Motion:
    """Landmarks [478, 3] px in the terms that the warp takes."""
    posed = fit_head(landmarks, camera, neutral)
    return Motion(
        time=Fraction(0), head=posed.head, expression=np.zeros(N_EXPRESSION, np.float32), gaze=gaze_of(posed.face),
        face=posed.face, confidence=1.0,
    )  # fmt: skip


class Maker:
    """Rows for one asset."""

    def __init__(
        self, asset: Path, options: PeopleOptions, landmarks: Landmarks | None, device: str = "cpu",
        sources: Sources | None = None,
    ) -> None:  # fmt: skip
        self.options = options
        sources = sources or Sources()
        self._recordings = recordings(sources.performances)
        self._tailor = Tailor(load_ict(asset))
        self._studio = Studio(self._tailor, device, "numba" if device == "cpu" else "torch")
        self.landmarks = landmarks or self._measure()
        self._portraits: list[Projected] = []
        if sources.portraits is not None:
            self._portraits = portraits(sources.portraits, self._tailor.skins, self.texels())

    def texels(self) -> Floats:
        """Where the face mesh's landmarks [468, 2] lie in the 3-D face's texture."""
        corners = self._tailor.skins.texels(self.landmarks.corners)
        return np.asarray((corners * self.landmarks.weights[..., None]).sum(1), np.float32)

    def _figure(self, rng: Rng) -> Figure:
        worn = self._portraits and rng.random() < OF_PORTRAITS
        return self._tailor.person(rng, self._portraits[rng.integers(len(self._portraits))] if worn else None)

    def _measure(self) -> Landmarks:
        """Show the face mesh some people to learn where it puts its landmarks and how it errs."""
        rng = np.random.default_rng(7)
        acts = [portrait(rng) if i % 3 else run(rng, 1, AT_REST)[0] for i in range(N_LOOKS)]
        return measure(self._tailor.face, [self._shown(act, rng) for act in acts])

    def _shown(self, act: Act, rng: Rng) -> Shown:
        """A photograph of somebody who does this, and what is true of it."""
        figure, light, look = self._tailor.person(rng), Light.random(rng), Look.random(rng)
        unit_px = 0.3 * LOOK_PX
        scene = Scene.random(rng, unit_px, figure.unit_m, LOOK_PX, LOOK_PX)
        moment, focal_px = scene.moment(act), scene.camera.focal_px
        view = View(LOOK_PX, LOOK_PX, focal_px, LOOK_PX / 2, LOOK_PX / 2)
        shot = self._studio.shoot(figure, moment, view, light, self._studio.develop(figure, unit_px))
        exposure = look.exposure(shot.rgb, shot.skin, figure.skin.tone)
        lit = _over(shot, exposure, scene.background)
        rgb = dataclasses.replace(look, kind="photo").picture(lit, unit_px, rng)
        posed = figure.pose(moment.expression, moment.gaze)
        lips_apart = bool(act.expression[ARKIT_INDEX["jawOpen"]] > 0.2)
        corners, weights = self._studio.skin_seen(figure, moment, view)
        return Shown(rgb, corners, weights, posed, moment.gaze, moment.head, focal_px, lips_apart)

    def rows(self, number: int) -> Iterator[Any]:
        """The rows of one person, by their number."""
        o = self.options
        rng = np.random.default_rng((o.seed, number))
        person = Person(self._figure(rng), self._studio, self.landmarks, o.side, rng, self._recordings)
        source = person.source
        character = rig(source.rgb, FaceMesh(source.landmarks), template())
        warp = WarpRenderer(character)
        guides = Guides(warp, o.side)
        pictures = [source, *(person.another_picture() for _ in range(o.references - 1))]
        known = [reference(p.rgb, p.landmarks, template(), o.side) for p in pictures]
        for _ in range(o.per_person):
            moments = [person.scene.moment(act) for act in person.acts(o.frames)]
            seen = [person.landmarks_of(moment) for moment in moments]
            yield self._row(person, pictures, known, guides, moments, seen, number, rng)

    def _row(
        self, person: Person, pictures: list[Picture], known: list[Reference], guides: Guides, moments: list[Moment],
        seen: list[Floats], number: int, rng: Rng,
    ) -> Any:  # fmt: skip
        o = self.options
        kept = o.window or o.side
        row = np.zeros((), row_type(o.frames, o.references, kept))
        crop, warp = guides.crop, guides.warp
        ring = (LIPS, RIGHT_EYE, LEFT_EYE)[rng.choice(3, p=(0.6, 0.2, 0.2))]
        jitter = (rng.uniform(-0.25, 0.25, 2) * kept).astype(np.float32)
        part = Part.around(crop.to_crop(seen[0][list(ring), :2]) + jitter, o.side, kept)
        for i, (moment, landmarks) in enumerate(zip(moments, seen, strict=True)):
            guide = guides.of(warp.draw(motion_of(landmarks, warp.character.camera, warp.character.neutral)))
            for name in ("rgb", "coords", "stretch"):
                row[name][i] = part.of(getattr(guide, name))
            for name in ("valid", "mouth", "eyes"):
                row[name][i] = part.of(getattr(guide, name)) * 255 + 0.5
            row["target"][i] = person.film(moment, crop, part)
        for i, (picture, shown) in enumerate(zip(pictures, known, strict=True)):
            part = Part.around(shown.crop.to_crop(picture.landmarks[list(ring), :2]), o.side, kept)
            row["references"][i], row["reference_coords"][i] = part.of(shown.rgb), part.of(shown.coords)
            row["reference_opened"][i] = shown.opened
        row["opened"], row["person"] = guides.opened, number
        return row

    def shard(self, index: int) -> NDArray[Any]:
        """The rows [N] of one file."""
        o = self.options
        n = min(o.shard, o.n - index * o.shard)
        people = range(index * o.shard // o.per_person, -(-(index * o.shard + n) // o.per_person))
        rows = [row for number in people for row in self.rows(number)]
        return np.stack(rows[:n])


def make(
    asset: Path, folder: Path, options: PeopleOptions, device: str = "cpu", sources: Sources | None = None
) -> None:
    """Fill a folder with shards; those that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = options.window or options.side
    wanted = row_type(options.frames, options.references, kept)
    measured = folder / "landmarks.npz"
    maker = Maker(asset, options, Landmarks.load(measured) if measured.exists() else None, device, sources)
    if not measured.exists():
        maker.landmarks.save(measured)
    for index in range(-(-options.n // options.shard)):
        path = folder / f"shard-{index:05d}.npy"
        if path.exists():
            if read_shard(path).dtype != wanted:
                raise InputError(f"{path} holds rows of other shapes; wanted another folder, or the same options")
            continue
        write_shard(path, maker.shard(index))
        log.info("%s", path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asset", type=Path, required=True, help="ict_face.npz, or ICT-FaceKit's folder of OBJ files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--device", default="cpu", help="where pixels are shaded: cpu or cuda")
    parser.add_argument("--portraits", type=Path, metavar="FOLDER", help="pictures of people whose skin is worn")
    parser.add_argument(
        "--performances", type=Path, nargs="+", default=(), metavar="NPZ", help="what understudy capture wrote"
    )
    for field in dataclasses.fields(PeopleOptions):
        parser.add_argument("--" + field.name.replace("_", "-"), type=int, default=field.default)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if args.device == "cpu":
        torch.set_num_threads(1)
    try:
        options = PeopleOptions(
            **{field.name: getattr(args, field.name) for field in dataclasses.fields(PeopleOptions)}
        )
        sources = Sources(portraits=args.portraits, performances=args.performances)
        make(args.asset, args.output, options, args.device, sources)
    except (InputError, ValueError, FileNotFoundError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
