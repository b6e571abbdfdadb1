"""One image file as the square of RGB bytes that a network is given, and what was odd about it."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from precbench.datasets.resize import crop_centred, resize_bilinear
from precbench.errors import DataError, MissingDependencyError, printable

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""What Keras's `image_dataset_from_directory` and torchvision's `ImageFolder` take, together; in lower case."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others, such as EPS, run programs
_MOST_PIXELS = 89_478_485  # Pillow's own MAX_IMAGE_PIXELS, whatever it was set to; reading one takes 0.9 to 1.2 GB
_STRIP_COLUMNS = 1024
_ORIENTATION = 0x0112  # the tag's number in EXIF
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_WHITE = np.float32(255)

GREY = "grey, repeated as RGB"
SIXTEEN_BITS = "grey of 16 bits, scaled to bytes"
TRANSPARENT = "with transparency, laid on white"
CMYK = "CMYK, converted without a colour profile"
FRAMES = "of several frames, of which the first was read"
TURNED = "turned upright as their EXIF orientation says"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """Pixels, uint8, [size, size, 3], RGB, and what was odd: some of the constants above, empty for plain RGB."""

    pixels: NDArray[np.uint8]
    oddities: tuple[str, ...] = ()


class PictureError(DataError):
    """An image file cannot be read; `reason` says why, to be put behind its name."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the image {printable(str(path))} {reason}", "mend or remove it, or read on with --on-bad-image skip"
        )
        self.reason = printable(reason)


def read_picture(path: Path, *, size: int) -> Picture:
    """Return an image's centred square, resized with the triangle filter of `resize_bilinear`.

    The law: values are rounded to bytes once, at the end; an RGB image of this size comes back as it is.

    Of an animation the first frame is read. An EXIF orientation is followed, so the picture stands as viewers show it.
    Transparency is laid on white, as most viewers do: the colours beneath it are arbitrary. Grey of 16 bits is scaled
    by 1/257; of RGB with 16 bits Pillow reads the upper byte. Values of 32 bits have no known range and are refused.

    Args:
        path: a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file, whatever its suffix.
        size: pixels a side, at least 1.

    Raises:
        PictureError: it is no file, empty, none of these formats, damaged, cut short, or has over 89,478,485 pixels.
        MissingDependencyError: Pillow is not installed.
    """
    try:
        if not path.is_file():
            raise PictureError(path, "is no file")
        if not path.stat().st_size:
            raise PictureError(path, "is empty: 0 bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata; the pixels are what counts
            return _read(path, size)
    except (PictureError, MissingDependencyError):
        raise
    except Exception as error:  # what Pillow raises for damaged files is not bounded
        raise PictureError(path, f"is damaged: {str(error)[:100] or type(error).__name__}") from error


def _read(path: Path, size: int) -> Picture:
    pil = _pillow()
    try:
        opened = pil.open(path, formats=_FORMATS)
    except pil.DecompressionBombError as error:
        raise PictureError(path, f"has over {_MOST_PIXELS} pixels") from error
    except pil.UnidentifiedImageError as error:
        raise PictureError(path, f"is no {', '.join(_FORMATS)} image that can be read") from error
    with opened as image:
        if image.width * image.height > _MOST_PIXELS:
            raise PictureError(path, f"has {image.width} x {image.height} pixels, over {_MOST_PIXELS}")
        if image.mode in ("I", "F"):
            raise PictureError(path, "has values of 32 bits, whose range is unknown")
        oddities = _oddities(image)
        image.load()
        raw = _raw(_upright(image))
    return Picture(pixels=_resized(crop_centred(raw[None], (size, size)), size), oddities=oddities)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError(
            "reading images from a folder needs Pillow, which is not installed", "pip install 'precbench[images]'"
        ) from error
    return Image


def _oddities(image: "PillowImage") -> tuple[str, ...]:
    sixteen = image.mode.startswith("I;16")
    found = {
        FRAMES: bool(getattr(image, "is_animated", False)),
        TURNED: _turn(image) is not None,
        GREY: image.mode in ("1", "L", "LA", "La"),
        SIXTEEN_BITS: sixteen,
        CMYK: image.mode == "CMYK",
        TRANSPARENT: image.has_transparency_data and not sixteen,
    }
    return tuple(oddity for oddity, present in found.items() if present)


def _turn(image: "PillowImage") -> str | None:
    """Return how an image has to be turned; damaged EXIF says nothing."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # it is parsed as a TIFF of its own, and the pixels are good without it
        return None


def _upright(image: "PillowImage") -> "PillowImage":
    """Turn a loaded image; of a TIFF Pillow does so as it loads, and drops the tag."""
    turn = _turn(image)
    return image if turn is None else image.transpose(_pillow().Transpose[turn])


def _raw(image: "PillowImage") -> NDArray[Any]:
    """Return uint8 RGB or RGBA, [height, width, 3 or 4], or grey of 16 bits, [height, width, 1]."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _resized(square: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """Return [size, size, 3]: first the rows, in strips of columns, so that no large image is held as float32."""
    strips = [square[:, :, left : left + _STRIP_COLUMNS] for left in range(0, square.shape[2], _STRIP_COLUMNS)]
    flat = np.concatenate([resize_bilinear(_colours(strip), (size, strip.shape[2])) for strip in strips], axis=2)
    pixels: NDArray[np.uint8] = np.clip(np.rint(resize_bilinear(flat, (size, size))[0]), 0, 255).astype(np.uint8)
    return pixels


def _colours(raw: NDArray[Any]) -> NDArray[Any]:
    """Return RGB, 0 to 255, of what `_raw` gives: bytes where nothing has to be computed, else float32."""
    channels = raw.shape[-1]
    if channels == 1:
        return np.repeat(raw / np.float32(257), 3, axis=-1)
    if channels == 4:
        alpha = raw[..., 3:] / _WHITE
        return raw[..., :3] * alpha + _WHITE * (1 - alpha)
    return raw
