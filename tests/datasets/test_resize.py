import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from precbench.datasets import crop_centred, resize_bilinear

_SIDES = st.integers(1, 12)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


@given(_SIDES, _SIDES)
def test_images_of_this_size_come_back_exact(height: int, width: int) -> None:
    images = _random(2, height, width, 3)
    assert np.array_equal(resize_bilinear(images, (height, width)), images)


@given(_SIDES, _SIDES, _SIDES, _SIDES, st.integers(0, 255))
def test_a_constant_image_stays_constant(height: int, width: int, rows: int, columns: int, level: int) -> None:
    resized = resize_bilinear(np.full((1, height, width, 3), level, np.uint8), (rows, columns))
    assert resized.shape == (1, rows, columns, 3)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, level, rtol=1e-6)


@given(_SIDES, _SIDES, st.integers(1, 4), st.integers(1, 4))
def test_enlarging_is_scipys_bilinear_with_pixel_centres_at_half_pixels(
    height: int, width: int, down: int, right: int
) -> None:
    images = _random(1, height, width, 3).astype(np.float32)
    expected = ndimage.zoom(images, (1, down, right, 1), order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(resize_bilinear(images, (height * down, width * right)), expected, atol=1e-3)


@given(_SIDES, _SIDES, _SIDES, _SIDES)
def test_mirrored_images_resize_to_mirrored_images(height: int, width: int, rows: int, columns: int) -> None:
    images = _random(1, height, width, 3)
    mirrored = resize_bilinear(images[:, :, ::-1], (rows, columns))
    np.testing.assert_allclose(mirrored[:, :, ::-1], resize_bilinear(images, (rows, columns)), atol=1e-3)


def test_shrinking_weighs_every_source_pixel_so_that_fine_stripes_become_grey() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), 32)[None, None, :, None].repeat(64, axis=1).repeat(3, axis=3)
    inner = resize_bilinear(stripes, (8, 8))[:, :, 1:-1]
    np.testing.assert_allclose(inner, 127.5, atol=1e-3)


def test_shrinking_equals_pillows_bilinear_up_to_its_rounding_to_bytes() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = _random(1, 37, 23, 3)
    expected = np.asarray(image.fromarray(pixels[0]).resize((11, 9), image.Resampling.BILINEAR), np.float32)
    assert np.abs(resize_bilinear(pixels, (9, 11))[0] - expected).max() <= 1.01


@pytest.mark.parametrize(("height", "width", "top", "left"), [(4, 6, 0, 1), (6, 4, 1, 0), (5, 4, 0, 0)])
def test_a_square_size_crops_the_centred_square(height: int, width: int, top: int, left: int) -> None:
    images = _random(2, height, width, 3)
    side = min(height, width)
    assert np.array_equal(crop_centred(images, (8, 8)), images[:, top : top + side, left : left + side])


def test_a_wide_size_crops_a_wide_window() -> None:
    assert crop_centred(_random(1, 100, 100, 3), (10, 20)).shape == (1, 50, 100, 3)


@given(_SIDES, _SIDES, _SIDES, _SIDES)
def test_a_crop_is_never_empty_and_never_larger(height: int, width: int, rows: int, columns: int) -> None:
    _, down, right, _ = crop_centred(_random(1, height, width, 3), (rows, columns)).shape
    assert 1 <= down <= height
    assert 1 <= right <= width
