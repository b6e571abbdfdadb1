from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precbench.checkpoints.augmentation import erase_squares, flip_images, shift_images

Change = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


def _noise(count: int = 20, height: int = 5, width: int = 6) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 127, (count, height, width, 3), dtype=np.uint8)


def test_shifted_images_are_windows_of_the_images_with_black_around_them() -> None:
    images = _noise()
    moved = shift_images(images, 2, np.random.default_rng(1))
    assert moved.shape == images.shape
    for image, result in zip(images, moved, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        windows = [padded[down : down + 5, right : right + 6] for down in range(5) for right in range(5)]
        assert any(np.array_equal(result, window) for window in windows)


def test_flipped_images_are_the_images_or_their_mirror_images_and_both_occur() -> None:
    images = _noise()
    flipped = flip_images(images, np.random.default_rng(1))
    same = [np.array_equal(one, two) for one, two in zip(images, flipped, strict=True)]
    mirrored = [np.array_equal(one[:, ::-1], two) for one, two in zip(images, flipped, strict=True)]
    assert all(one != two for one, two in zip(same, mirrored, strict=True))
    assert 0 < sum(same) < 20


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_an_erased_square_is_grey_and_whole_but_for_what_the_border_cuts_off(
    pixels: int, height: int, width: int, seed: int
) -> None:
    images = _noise(4, height, width)
    for image, result in zip(images, erase_squares(images, pixels, np.random.default_rng(seed)), strict=True):
        grey = (result == 128).all(axis=2)
        assert np.array_equal(result[~grey], image[~grey])
        for side, length in ((grey.any(axis=1), height), (grey.any(axis=0), width)):
            places = np.flatnonzero(side)
            assert np.array_equal(places, np.arange(places[0], places[-1] + 1))
            at_border = places[0] == 0 or places[-1] == length - 1
            assert len(places) == pixels or (at_border and 1 <= len(places) <= pixels)
        assert grey.sum() == grey.any(axis=1).sum() * grey.any(axis=0).sum()


def test_every_pixel_is_as_likely_the_centre_of_an_erased_square() -> None:
    erased = erase_squares(_noise(20_000, 3, 4), 1, np.random.default_rng(0))
    shares = (erased == 128).all(axis=3).mean(axis=0)
    np.testing.assert_allclose(shares, 1 / 12, atol=0.01)


@pytest.mark.parametrize("change", [shift_images, erase_squares])
def test_a_change_by_no_pixels_draws_nothing_and_changes_nothing(
    change: Callable[[NDArray[np.uint8], int, np.random.Generator], NDArray[np.uint8]],
) -> None:
    images, rng = _noise(), np.random.default_rng(0)
    assert change(images, 0, rng) is images
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize(
    "change", [lambda x, rng: shift_images(x, 2, rng), flip_images, lambda x, rng: erase_squares(x, 3, rng)]
)
def test_the_images_given_are_not_modified_and_the_same_generator_state_gives_the_same(change: Change) -> None:
    images = _noise()
    one = change(images, np.random.default_rng(5))
    assert np.array_equal(images, _noise())
    assert np.array_equal(one, change(images, np.random.default_rng(5)))
    assert one.dtype == np.uint8
