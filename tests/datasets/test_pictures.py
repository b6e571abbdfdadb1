import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from precbench.datasets import pictures
from precbench.datasets.pictures import (
    CMYK,
    FRAMES,
    GREY,
    SIXTEEN_BITS,
    TRANSPARENT,
    TURNED,
    PictureError,
    read_picture,
)
from precbench.datasets.resize import crop_centred, resize_bilinear
from precbench.errors import DataError, MissingDependencyError

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
_NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
_IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def _png(folder: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(folder / "x.png", **options)
    return folder / "x.png"


def _exact(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return the crop and the resize of float pixels, not rounded."""
    return resize_bilinear(crop_centred(pixels[None].astype(np.float64), (size, size)), (size, size))[0]


@_IN_A_FOLDER
@given(arrays(np.uint8, (8, 8, 3)), st.sampled_from(["png", "bmp", "ppm", "tif"]))
def test_an_rgb_image_of_the_size_asked_for_comes_back_as_it_is(tmp_path: Path, pixels: np.ndarray, kind: str) -> None:
    Image.fromarray(pixels).save(tmp_path / f"x.{kind}")
    found = read_picture(tmp_path / f"x.{kind}", size=8)
    assert np.array_equal(found.pixels, pixels)
    assert found.oddities == ()


@_IN_A_FOLDER
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24))
def test_the_centred_square_is_resized_and_rounded_once(tmp_path: Path, height: int, width: int, size: int) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = read_picture(_png(tmp_path, pixels), size=size).pixels
    assert found.shape == (size, size, 3)
    assert np.abs(found - _exact(pixels, size)).max() <= 0.5 + 1e-3


def test_an_image_of_many_strips_has_no_seams(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:1200, 0:1300]
    pixels = np.stack([rows % 251, columns % 241, (rows * columns) % 239], axis=2).astype(np.uint8)
    found = read_picture(_png(tmp_path, pixels), size=96).pixels
    assert np.abs(found - _exact(pixels, 96)).max() <= 0.5 + 1e-3


def test_the_resize_is_pillows_within_a_level(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((96, 96), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(read_picture(_png(tmp_path, pixels), size=96).pixels - expected).max() <= 1


def test_the_suffix_does_not_decide_the_format(tmp_path: Path) -> None:
    Image.fromarray(_NOISE).save(tmp_path / "x.jpg", format="PNG")
    assert np.array_equal(read_picture(tmp_path / "x.jpg", size=16).pixels, _NOISE)


def test_grey_is_repeated(tmp_path: Path) -> None:
    found = read_picture(_png(tmp_path, _NOISE[..., 0]), size=16)
    assert found.oddities == (GREY,)
    assert np.array_equal(found.pixels, np.repeat(_NOISE[..., :1], 3, axis=2))


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    found = read_picture(_png(tmp_path, _NOISE[..., 0] > 127), size=16)
    assert found.oddities == (GREY,)
    assert np.array_equal(found.pixels[..., 1], np.where(_NOISE[..., 0] > 127, 255, 0))


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_grey_of_16_bits_is_scaled_not_cut_off(tmp_path: Path, kind: str) -> None:
    values = np.array([[0, 257], [200 * 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"x.{kind}")
    found = read_picture(tmp_path / f"x.{kind}", size=2)
    assert found.oddities == (SIXTEEN_BITS,)
    assert found.pixels[..., 0].tolist() == [[0, 1], [200, 255]]


def test_16_bits_are_rounded_once_after_the_resize(tmp_path: Path) -> None:
    values = np.array(
        [[100 * 257 + 120, 100 * 257 + 140]] * 2, np.uint16
    )  # 100.47 and 100.54: their mean is over a half
    Image.fromarray(values).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png", size=1).pixels.ravel().tolist() == [101] * 3


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.tile(np.array([0, 51, 255, 255], np.uint8), (16, 4))[..., None]
    found = read_picture(_png(tmp_path, np.concatenate([_NOISE, alpha], axis=2)), size=16)
    assert found.oddities == (TRANSPARENT,)
    assert np.array_equal(found.pixels, np.rint(_NOISE * (alpha / 255) + 255 * (1 - alpha / 255)))
    assert (found.pixels[:, 0] == 255).all()


def test_grey_with_transparency_is_both(tmp_path: Path) -> None:
    Image.merge("LA", [Image.new("L", (8, 8), 100), Image.new("L", (8, 8), 0)]).save(tmp_path / "x.png")
    found = read_picture(tmp_path / "x.png", size=8)
    assert found.oddities == (GREY, TRANSPARENT)
    assert (found.pixels == 255).all()


def test_a_transparent_colour_of_a_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "x.png", transparency=1)
    found = read_picture(tmp_path / "x.png", size=8)
    assert found.oddities == (TRANSPARENT,)
    assert found.pixels[0, :2].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_a_palette_without_transparency_is_nothing_odd(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.save(tmp_path / "x.gif")
    found = read_picture(tmp_path / "x.gif", size=8)
    assert found.oddities == ()
    assert found.pixels[3, 3].tolist() == [200, 0, 0]


def test_a_transparent_colour_of_rgb_is_laid_on_white(tmp_path: Path) -> None:
    found = read_picture(_png(tmp_path, np.full((8, 8, 3), 7, np.uint8), transparency=(7, 7, 7)), size=8)
    assert found.oddities == (TRANSPARENT,)
    assert (found.pixels == 255).all()


@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_cmyk_is_converted(tmp_path: Path, kind: str) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"x.{kind}")
    found = read_picture(tmp_path / f"x.{kind}", size=8)
    assert found.oddities == (CMYK,)
    assert np.abs(found.pixels.astype(int) - [255, 0, 0]).max() < 4


@pytest.mark.parametrize(
    ("kind", "form"), [("gif", None), ("png", None), ("webp", None), ("tif", None), ("jpg", "MPO")]
)
def test_of_an_animation_the_first_frame_is_read(tmp_path: Path, kind: str, form: str | None) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "webp" else {}
    frames[0].save(tmp_path / f"x.{kind}", format=form, save_all=True, append_images=frames[1:], **options)
    found = read_picture(tmp_path / f"x.{kind}", size=8)
    assert found.oddities == (FRAMES,)
    assert np.abs(found.pixels.astype(int) - [255, 0, 0]).max() < 4


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_followed_as_pillow_does(tmp_path: Path, orientation: int, kind: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.kron(np.arange(0, 240, 10, np.uint8).reshape(4, 6, 1), np.ones((4, 4, 3), np.uint8)))
    image.save(tmp_path / f"x.{kind}", exif=exif)
    found = read_picture(tmp_path / f"x.{kind}", size=8)
    with Image.open(tmp_path / f"x.{kind}") as opened:
        expected = _exact(np.asarray(ImageOps.exif_transpose(opened)), 8)
    assert np.abs(found.pixels - expected).max() <= 0.5 + 1e-3
    assert found.oddities == ((TURNED,) if orientation > 1 else ())


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_damaged_exif_costs_nothing(tmp_path: Path, kind: str) -> None:
    Image.fromarray(_NOISE).save(tmp_path / f"x.{kind}", exif=b"Exif\x00\x00no tiff at all")
    assert read_picture(tmp_path / f"x.{kind}", size=16).oddities == ()


def test_an_empty_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    with pytest.raises(PictureError, match=r"the image .*x\.png is empty: 0 bytes") as caught:
        read_picture(tmp_path / "x.png", size=8)
    assert isinstance(caught.value, DataError)
    assert caught.value.remedy == "mend or remove it, or read on with --on-bad-image skip"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.png")
    for name in ("", "pipe.png", "missing.png"):
        with pytest.raises(PictureError, match="is no file"):
            read_picture(tmp_path / name, size=8)


@pytest.mark.parametrize(
    "content", [b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0"]
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(
        PictureError, match=r"is no BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP image that can be read|is damaged"
    ):
        read_picture(tmp_path / "x.png", size=8)


def test_a_format_that_runs_programs_is_not_opened(tmp_path: Path) -> None:
    Image.fromarray(_NOISE).save(tmp_path / "x.eps")
    with pytest.raises(PictureError, match="is no BMP"):
        read_picture(tmp_path / "x.eps", size=8)


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "webp", "tif", "ppm"])
def test_an_image_that_is_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    Image.fromarray(_NOISE).save(tmp_path / f"x.{kind}")
    whole = (tmp_path / f"x.{kind}").read_bytes()
    for length in {1, 12, len(whole) // 3, len(whole) // 2}:
        (tmp_path / f"x.{kind}").write_bytes(whole[:length])
        with pytest.raises(PictureError):
            read_picture(tmp_path / f"x.{kind}", size=8)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_of_32_bits_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "x.tif")
    with pytest.raises(PictureError, match="has values of 32 bits, whose range is unknown"):
        read_picture(tmp_path / "x.tif", size=8)


@pytest.mark.parametrize(
    ("side", "problem"), [(9_500, "has 9500 x 9500 pixels, over 89478485"), (60_000, "has over 89478485 pixels")]
)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int, problem: str, recwarn: pytest.WarningsRecorder
) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    packed = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    with pytest.raises(PictureError, match=problem):
        read_picture(tmp_path / "x.png", size=8)
    assert not recwarn.list


def test_the_limit_holds_even_where_pillows_is_lifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(pictures, "_MOST_PIXELS", 255)
    with pytest.raises(PictureError, match="has 16 x 16 pixels, over 255"):
        read_picture(_png(tmp_path, _NOISE), size=8)


@_IN_A_FOLDER
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"BM", b"II*\x00", b"P6\n", b"RIFF"]),
)
def test_any_bytes_give_a_picture_or_an_error_of_ours(tmp_path: Path, content: bytes, magic: bytes) -> None:
    _never_crashes(tmp_path / "x.png", magic + content)


@_IN_A_FOLDER
@given(st.data(), st.sampled_from(["png", "jpg", "gif", "bmp", "webp", "tif", "ppm"]))
def test_an_image_with_changed_bytes_gives_a_picture_or_an_error_of_ours(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    Image.fromarray(_NOISE[:8, :8]).save(tmp_path / f"y.{kind}")
    content = bytearray((tmp_path / f"y.{kind}").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _never_crashes(tmp_path / "x.png", bytes(content))


def _never_crashes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = read_picture(path, size=8)
    except PictureError:
        return
    assert found.pixels.shape == (8, 8, 3)


def test_without_pillow_the_remedy_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _png(tmp_path, _NOISE)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match="images from a folder needs Pillow") as caught:
        read_picture(path, size=8)
    assert caught.value.remedy == "pip install 'precbench[images]'"
