"""What happens to an image between the file and the network's input; travels in the model's metadata."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from precbench.datasets.resize import crop_centred, resize_bilinear
from precbench.errors import DataError

_REMEDY = "use the preprocessing that precbench wrote, or export the model again"
_IDENTITY = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_MAX_PIXELS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Centred crop, bilinear resize, channel order, then x * scale + offset per channel, all in float32.

    The law: images whose size fits are not resampled, so with scale 1 and offset 0 they pass unchanged.

    Args:
        size: (height, width) in pixels, 1 to 16384. The crop is the largest centred window of this shape.
        resize: "bilinear", the only one.
        channels: "rgb" or "bgr", the order that the network sees.
        scale: one factor per channel in that order, finite.
        offset: one term per channel in that order, finite.

    Raises:
        DataError: a field is outside its limits.
    """

    size: tuple[int, int]
    resize: str = "bilinear"
    channels: str = "rgb"
    scale: tuple[float, float, float] = _IDENTITY[0]
    offset: tuple[float, float, float] = _IDENTITY[1]

    def __post_init__(self) -> None:
        """Check the limits."""
        if len(self.size) != 2 or not all(1 <= side <= _MAX_PIXELS for side in self.size):
            raise DataError(
                f"the image size {self.size} is not a height and a width of 1 to {_MAX_PIXELS} pixels", _REMEDY
            )
        if self.resize != "bilinear":
            raise DataError(f"the resize {self.resize!r} is unknown; it must be 'bilinear'", _REMEDY)
        if self.channels not in ("rgb", "bgr"):
            raise DataError(f"the channel order {self.channels!r} is unknown; it must be 'rgb' or 'bgr'", _REMEDY)
        for name, values in (("scale", self.scale), ("offset", self.offset)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise DataError(f"the {name} {values} is not three finite numbers", _REMEDY)

    @classmethod
    def for_mode(cls, mode: str, size: int | tuple[int, int]) -> Self:
        """Return what `keras.applications` does in one of its modes, as one multiply and one add.

        Args:
            mode: "tf" (to -1..1), "torch" (ImageNet mean and deviation), "caffe" (BGR less the ImageNet mean) or
                "none" (0..255 as they are: EfficientNet, MobileNetV3 and ConvNeXt scale inside the graph).
            size: the network's input in pixels: (height, width), or one number for both.

        Raises:
            DataError: an unknown mode.

        Source: `keras.applications.imagenet_utils.preprocess_input`, equal to it within 1e-6 (tested).
        """
        if mode not in ("tf", "torch", "caffe", "none"):
            raise DataError(f"the preprocessing mode {mode!r} is unknown", "choose tf, torch, caffe or none")
        scale, offset = _scale_and_offset(mode)
        height, width = (size, size) if isinstance(size, int) else size
        return cls(size=(height, width), channels="bgr" if mode == "caffe" else "rgb", scale=scale, offset=offset)

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's input. Call it batch by batch: the result is four times as large as bytes of its size.

        Args:
            images: uint8, [n, height, width, 3], RGB.

        Returns:
            float32, [n, size[0], size[1], 3], C-contiguous.

        Raises:
            DataError: the images are not such an array.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
            raise DataError(
                f"images to preprocess are {images.dtype} of shape {images.shape}",
                "give uint8 images as [n, height, width, 3]",
            )
        pixels = resize_bilinear(crop_centred(images, self.size), self.size)
        ordered = pixels[..., ::-1] if self.channels == "bgr" else pixels
        result = ordered * np.asarray(self.scale, np.float32)
        result += np.asarray(self.offset, np.float32)
        return np.ascontiguousarray(result)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; `from_json` gives an equal one back."""
        return {
            "size": list(self.size),
            "resize": self.resize,
            "channels": self.channels,
            "scale": list(self.scale),
            "offset": list(self.offset),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Build one from `to_json`'s value.

        Raises:
            DataError: it is not an object with exactly these keys, or a value has another type or is outside its
                limits.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or sorted(map(str, value)) != sorted(names):
            raise DataError(
                f"the preprocessing {_short(value)} is not an object with the keys {', '.join(names)}", _REMEDY
            )
        height, width = _numbers(value, "size", 2, int)
        scale, offset = (_numbers(value, name, 3, float) for name in ("scale", "offset"))
        return cls(
            size=(int(height), int(width)),
            resize=_text(value, "resize"),
            channels=_text(value, "channels"),
            scale=(scale[0], scale[1], scale[2]),
            offset=(offset[0], offset[1], offset[2]),
        )


def _scale_and_offset(mode: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    if mode == "tf":
        return (1 / 127.5,) * 3, (-1.0,) * 3
    if mode == "torch":
        red, green, blue = _IMAGENET_DEVIATION
        means = [-mean / deviation for mean, deviation in zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)]
        return (1 / (255 * red), 1 / (255 * green), 1 / (255 * blue)), (means[0], means[1], means[2])
    if mode == "caffe":
        blue, green, red = _CAFFE_MEAN_BGR
        return _IDENTITY[0], (-blue, -green, -red)
    return _IDENTITY


def _numbers(value: Mapping[str, Any], name: str, count: int, kind: type[int] | type[float]) -> list[float]:
    found = value[name]
    kinds = (int,) if kind is int else (int, float)
    if (
        not isinstance(found, list | tuple)
        or len(found) != count
        or not all(isinstance(number, kinds) and not isinstance(number, bool) for number in found)
    ):
        word = "whole numbers" if kind is int else "numbers"
        raise DataError(f"the preprocessing's {name} is {_short(found)}, not {count} {word}", _REMEDY)
    return [kind(number) for number in found]


def _text(value: Mapping[str, Any], name: str) -> str:
    if not isinstance(value[name], str):
        raise DataError(f"the preprocessing's {name} is {_short(value[name])}, not text", _REMEDY)
    return str(value[name])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
