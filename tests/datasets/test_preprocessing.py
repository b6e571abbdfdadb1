import importlib.util
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.datasets import Preprocessing
from precbench.errors import DataError

_FINITE = st.floats(-1e6, 1e6)
_TRIPLES = st.tuples(_FINITE, _FINITE, _FINITE)
_SIZES = st.tuples(st.integers(1, 16384), st.integers(1, 16384))
_VALID = Preprocessing.for_mode("torch", 8).to_json()


def _images(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


@given(_SIZES, st.sampled_from(["rgb", "bgr"]), _TRIPLES, _TRIPLES)
def test_it_comes_back_from_its_json_equal(
    size: tuple[int, int], channels: str, scale: tuple[float, float, float], offset: tuple[float, float, float]
) -> None:
    preprocessing = Preprocessing(size=size, channels=channels, scale=scale, offset=offset)
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


def test_images_that_fit_pass_unchanged_in_mode_none() -> None:
    images = _images(2, 6, 6, 3)
    result = Preprocessing.for_mode("none", 6).apply(images)
    assert result.dtype == np.float32
    assert np.array_equal(result, images)


def test_mode_tf_takes_0_to_minus_1_and_255_to_1() -> None:
    images = np.array([0, 255, 0], np.uint8).reshape(1, 1, 1, 3)
    assert Preprocessing.for_mode("tf", 1).apply(images).ravel().tolist() == [-1.0, 1.0, -1.0]


def test_mode_caffe_gives_blue_first() -> None:
    images = np.array([1, 2, 3], np.uint8).reshape(1, 1, 1, 3)
    expected = np.array([3, 2, 1], np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    assert Preprocessing.for_mode("caffe", 1).apply(images).ravel().tolist() == expected.tolist()


def test_a_wide_image_loses_its_sides_and_is_scaled_to_the_size() -> None:
    images = _images(3, 4, 10, 3)
    middle = images[:, :, 3:7]
    assert np.array_equal(Preprocessing.for_mode("none", (4, 4)).apply(images), middle)
    assert Preprocessing.for_mode("tf", 9).apply(images).shape == (3, 9, 9, 3)


def test_the_result_is_contiguous_whatever_the_channel_order() -> None:
    for mode in ("tf", "torch", "caffe", "none"):
        assert Preprocessing.for_mode(mode, 4).apply(_images(2, 4, 4, 3)).flags.c_contiguous


def test_every_mode_equals_keras_within_a_millionth() -> None:
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("tensorflow") is None:
        pytest.skip("Keras is not installed")
    script = (
        "import numpy as np, keras\n"
        "from precbench.datasets import Preprocessing\n"
        "x = np.arange(256 * 3, dtype=np.int64).reshape(16, 4, 4, 3) % 256\n"
        "x = np.concatenate([x, np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3))]).astype(np.uint8)\n"
        "for mode in ('tf', 'torch', 'caffe'):\n"
        "    theirs = keras.applications.imagenet_utils.preprocess_input(x.astype('float32'), mode=mode)\n"
        "    ours = Preprocessing.for_mode(mode, 4).apply(x)\n"
        "    assert np.abs(ours - theirs).max() <= 1e-6, (mode, np.abs(ours - theirs).max())\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="mode 'tensorflow' is unknown") as caught:
        Preprocessing.for_mode("tensorflow", 32)
    assert caught.value.remedy == "choose tf, torch, caffe or none"


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 1), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
    ],
)
def test_anything_but_byte_images_is_refused(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="images to preprocess are"):
        Preprocessing.for_mode("tf", 4).apply(images)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"size": [8]}, "size is .8., not 2 whole numbers"),
        ({"size": [8.0, 8.0]}, "not 2 whole numbers"),
        ({"size": [True, 8]}, "not 2 whole numbers"),
        ({"size": [0, 8]}, "is not a height and a width of 1 to 16384 pixels"),
        ({"size": [8, 16385]}, "is not a height and a width"),
        ({"resize": "lanczos"}, "resize 'lanczos' is unknown"),
        ({"resize": 3}, "resize is 3, not text"),
        ({"channels": "gbr"}, "channel order 'gbr' is unknown"),
        ({"channels": None}, "channels is None, not text"),
        ({"scale": [1, 2]}, "scale is .1, 2., not 3 numbers"),
        ({"scale": [1, 2, "3"]}, "not 3 numbers"),
        ({"scale": [1, 2, float("nan")]}, "is not three finite numbers"),
        ({"offset": [0, 0, float("inf")]}, "is not three finite numbers"),
        ({"mean": 1}, "is not an object with the keys size, resize, channels, scale, offset"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        Preprocessing.from_json({**_VALID, **change})
    assert "export the model again" in caught.value.remedy


@pytest.mark.parametrize("value", [None, [], "tf", 3, {}, {"size": [8, 8]}])
def test_garbage_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="is not an object with the keys"):
        Preprocessing.from_json(value)
