"""Pictures in and out, on files made here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import runtime.image as image
from runtime.errors import InputError
from runtime.image import load_image, load_rgba, save_image
from runtime.writer import VideoWriter

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
Rgb = NDArray[np.uint8]


def corners(width: int = 96, height: int = 64) -> Rgb:
    """`[height, width, 3]`: red, green, blue, grey quarters, so every turn looks different."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (200, 30, 30)
    rgb[: height // 2, width // 2 :] = (30, 200, 30)
    rgb[height // 2 :, : width // 2] = (30, 30, 200)
    rgb[height // 2 :, width // 2 :] = (120, 120, 120)
    return rgb


def worst(a: Rgb, b: Rgb) -> int:
    assert a.shape == b.shape
    return int(abs(a.astype(int) - b).max())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_undone(tmp_path: Path, orientation: int) -> None:
    rgb = corners()
    stored = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, 1),
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(rgb, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "a.png", "a.webp"):
        kw: dict[str, Any] = {"quality": 95, "subsampling": 0} if name.endswith("jpg") else {}
        if name.endswith("webp"):
            kw = {"lossless": True}
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, exif=exif, **kw)
        upright = load_image(tmp_path / name)
        assert upright.shape == (64, 96, 3)
        assert float(abs(upright.astype(int) - corners()).mean()) < 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK", "I;16", "YCbCr", "PA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode in ("CMYK", "YCbCr") else "png"
    if mode == "PA":
        suffix = "gif"
        picture = Image.fromarray(corners()).convert("P", palette=Image.Palette.ADAPTIVE)
    elif mode == "I;16":
        picture = Image.fromarray(corners()[..., 1].astype(np.uint16) * 257)
    elif mode == "P":
        picture = Image.fromarray(corners()).convert("P", palette=Image.Palette.ADAPTIVE)
    else:
        picture = Image.fromarray(corners()).convert(mode)
    picture.save(tmp_path / f"a.{suffix}")
    rgb = load_image(tmp_path / f"a.{suffix}")
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    if mode in ("RGB", "RGBA", "P", "CMYK", "PA", "YCbCr"):
        assert worst(rgb, corners()) <= 3
    elif mode == "I;16":
        assert worst(rgb, np.repeat(corners()[..., 1:2], 3, 2)) <= 1
    else:
        assert rgb.shape == (64, 96, 3)


def test_alpha_is_kept_and_flattened_over_grey(tmp_path: Path) -> None:
    rgba = np.dstack([corners(), np.full((64, 96), 255, np.uint8)])
    rgba[:, :10, 3] = 0
    rgba[:, 10:20, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    picture = load_rgba(tmp_path / "a.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, rgba[..., 3])
    assert np.array_equal(picture.rgb[:, 20:], corners()[:, 20:])
    flat = load_image(tmp_path / "a.png")
    assert flat[5, 5].tolist() == [128, 128, 128]
    assert abs(flat[5, 15].astype(int) - (200 + 128) // 2)[0] <= 1
    assert np.array_equal(flat[:, 20:], corners()[:, 20:])


def test_an_alpha_that_hides_nothing_is_no_alpha(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([corners(), np.full((64, 96), 255, np.uint8)])).save(tmp_path / "a.png")
    assert load_rgba(tmp_path / "a.png").alpha is None


def test_transparency_of_a_palette_is_alpha(tmp_path: Path) -> None:
    picture = Image.fromarray(corners()).convert("P", palette=Image.Palette.ADAPTIVE)
    clear = picture.getpixel((0, 0))
    picture.save(tmp_path / "a.png", transparency=clear)
    alpha = load_rgba(tmp_path / "a.png").alpha
    assert alpha is not None
    assert alpha[0, 0] == 0
    assert alpha[-1, -1] == 255


def test_a_colour_profile_is_turned_into_srgb(tmp_path: Path) -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    turned = ImageCms.profileToProfile(Image.fromarray(corners()), srgb, lab, outputMode="LAB")
    assert turned is not None
    turned.save(tmp_path / "lab.tif", icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    assert worst(load_image(tmp_path / "lab.tif"), corners()) <= 14  # 8 bits of Lab are coarse
    Image.fromarray(corners()).save(tmp_path / "s.png", icc_profile=ImageCms.ImageCmsProfile(srgb).tobytes())
    assert worst(load_image(tmp_path / "s.png"), corners()) <= 1


def test_a_broken_profile_is_passed_over(tmp_path: Path) -> None:
    Image.fromarray(corners()).save(tmp_path / "a.png", icc_profile=b"not a profile")
    assert worst(load_image(tmp_path / "a.png"), corners()) == 0


def test_contents_count_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(corners()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert worst(load_image(tmp_path / "a.jpg"), corners()) == 0


def test_an_animation_gives_its_first_picture(tmp_path: Path) -> None:
    first, second = Image.fromarray(corners()), Image.fromarray(corners()[::-1].copy())
    for name in ("a.gif", "a.webp"):
        kw: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], duration=100, **kw)
        assert worst(load_image(tmp_path / name), corners()) <= 3


def test_sixteen_bits_of_colour_keep_their_top_eight(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.ascontiguousarray(corners()[..., ::-1]).astype(np.uint16) * 257)
    assert worst(load_image(tmp_path / "a.png"), corners()) <= 1


@pytest.mark.filterwarnings("error")
def test_a_large_picture_is_read_quietly_and_a_monstrous_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (50, 30), 77).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns above it and refuses above its double
    assert load_image(tmp_path / "large.png").shape == (30, 50, 3)
    monkeypatch.setattr(image, "MAX_PIXELS", 1400)
    with pytest.raises(InputError, match=r"large.png is 50 x 30 px; wanted at most 1400 pixels"):
        load_image(tmp_path / "large.png")
    Image.new("L", (50, 50), 77).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match=r"bomb.png is too large; wanted at most 1400 pixels"):
        load_image(tmp_path / "bomb.png")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.png").write_text("dear diary\n" * 50)
    with VideoWriter(tmp_path / "clip.mp4", 64, 64, Fraction(25)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8), Fraction(0))
    Image.fromarray(corners(8, 8)).save(tmp_path / "tiny.png")
    cases = {
        "empty.png": "is empty; wanted a picture",
        "notes.png": "holds text; wanted a picture",
        "clip.mp4": "holds a video; wanted a picture",
        "gone.png": "does not exist; wanted a picture",
        "": "is a folder; wanted a picture",
        "tiny.png": "is 8 x 8 px; wanted at least 16 px a side",
    }
    for name, text in cases.items():
        with pytest.raises(InputError) as raised:
            load_image(tmp_path / name)
        assert str(raised.value) == f"{tmp_path / name} {text}"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
def test_a_truncated_picture_is_said_to_be_damaged(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=rf"{name} (is a damaged|holds nothing that can be read|cannot be read)"):
        load_image(tmp_path / name)


def test_saved_pictures_come_back_and_appear_only_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "a.tif"):
        save_image(tmp_path / name, corners())
        assert worst(load_image(tmp_path / name), corners()) == 0
    save_image(tmp_path / "a.jpg", corners())
    assert worst(load_image(tmp_path / "a.jpg"), corners()) < 40
    with pytest.raises(InputError, match=r"a.png exists; pass --force to write over it"):
        save_image(tmp_path / "a.png", corners())
    save_image(tmp_path / "a.png", corners()[::-1], force=True)
    with pytest.raises(InputError, match=r"a.xyz has the suffix .xyz; wanted one of .png"):
        save_image(tmp_path / "a.xyz", corners())

    def interrupted(self: Image.Image, path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    before = sorted(p.name for p in tmp_path.iterdir())
    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_image(tmp_path / "b.png", corners())
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.skipif(not CLIPS.exists(), reason="shared/clips is not here")
def test_real_portraits_are_read() -> None:
    for path in sorted((CLIPS / "portraits").iterdir()):
        rgb = load_image(path)
        assert min(rgb.shape[:2]) >= 64
        assert rgb.std() > 10
