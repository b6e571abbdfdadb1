"""ImageNet weights into a network: all of them or none, whatever the file is."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints.architectures import build
from precbench.checkpoints.pretrained import load_pretrained
from precbench.checkpoints.saving import save_checkpoint
from precbench.errors import ModelError, UsageError

h5py = pytest.importorskip("h5py", reason="h5py is not installed (pip install 'precbench[keras]')")
pytestmark = pytest.mark.slow

_BUILD = {"input_size": 32, "classes": 3, "alpha": 0.35}


@pytest.fixture(scope="module")
def network(keras: ModuleType, randomise: Callable[[Any], Any]) -> Any:
    """MobileNetV2 without its top, whose weights tell it from every other."""
    keras.backend.clear_session()
    options = {"include_top": False, "alpha": 0.35, "weights": None}
    return randomise(keras.applications.MobileNetV2(input_shape=(32, 32, 3), **options))


@pytest.fixture(scope="module")
def older(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights as Keras 2 wrote them: names end in `:0`, depthwise kernels have a name of their own."""
    path = tmp_path_factory.mktemp("imagenet") / "mobilenet_v2_0.35_no_top.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.6"
        for layer in network.layers:
            group = file.create_group(layer.name)
            depthwise = type(layer).__name__ == "DepthwiseConv2D"
            names = [f"{layer.name}/{'depthwise_' if depthwise else ''}{v.name}:0" for v in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, variable in zip(names, layer.weights, strict=True):
                group[name] = np.asarray(variable)
    return path


def _assert_holds(model: Any, network: Any) -> None:
    ours = {variable.path: np.asarray(variable) for variable in model.weights}
    for variable in network.weights:
        assert np.array_equal(ours.pop(variable.path), np.asarray(variable)), variable.path
    assert set(ours) == {"predictions/kernel", "predictions/bias"}


def test_the_older_layout_fills_the_network_and_leaves_the_head_random(network: Any, older: Path) -> None:
    model = build("MobileNetV2", **_BUILD, weights=older, seed=4)
    _assert_holds(model, network)
    assert np.ptp(model.get_layer("predictions").get_weights()[0]) > 0


def test_the_names_are_those_of_the_network_with_its_own_top(older: Path) -> None:
    pretrained, plain = build("MobileNetV2", **_BUILD, weights=older), build("MobileNetV2", **_BUILD)
    assert [layer.name for layer in pretrained.layers] == [layer.name for layer in plain.layers]
    assert [v.path for v in pretrained.variables] == [v.path for v in plain.variables]
    assert pretrained.name == plain.name


def test_the_same_arguments_give_the_same_model(older: Path) -> None:
    one, two = (build("MobileNetV2", **_BUILD, weights=older, dropout=0.2, seed=4) for _ in range(2))
    assert [variable.path for variable in one.variables] == [variable.path for variable in two.variables]
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


def test_a_file_of_todays_keras_fills_the_network_too(network: Any, tmp_path: Path) -> None:
    network.save_weights(tmp_path / "own.weights.h5")
    network.save(tmp_path / "own.keras")
    network.save(tmp_path / "whole.h5")
    save_checkpoint(network, tmp_path / "pair")
    for name in ("own.weights.h5", "own.keras", "whole.h5", "pair/weights.h5"):
        _assert_holds(build("MobileNetV2", **_BUILD, weights=tmp_path / name), network)


def test_layers_whose_names_were_numbered_otherwise_are_matched_in_their_order(
    keras: ModuleType, tmp_path: Path
) -> None:
    """Layers without names of their own, such as InceptionV3's, are numbered by what was built before."""

    def unnamed() -> Any:
        convolutions = [keras.layers.Conv2D(n, 3, padding="same") for n in (2, 3, 3)]
        return keras.Sequential([keras.Input((8, 8, 3)), *convolutions])

    keras.backend.clear_session()
    network = unnamed()
    other = unnamed()
    assert [layer.name for layer in network.layers] == ["conv2d", "conv2d_1", "conv2d_2"]
    assert [layer.name for layer in other.layers] == ["conv2d_3", "conv2d_4", "conv2d_5"]
    save_checkpoint(other, tmp_path)
    load_pretrained(network, tmp_path / "weights.h5", description="three convolutions")
    for ours, theirs in zip(network.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_vgg_loses_its_hidden_dense_layers(keras: ModuleType, tmp_path: Path) -> None:
    vgg = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    save_checkpoint(vgg, tmp_path)
    model = build("VGG16", input_size=32, classes=2, weights=tmp_path / "weights.h5")
    assert [layer.name for layer in model.layers[-2:]] == ["global_average_pooling2d", "predictions"]
    _assert_holds(model, vgg)


def test_dropout_stands_before_the_head_also_without_weights(keras: ModuleType) -> None:
    model = build("MobileNetV2", **_BUILD, dropout=0.25)
    assert [layer.name for layer in model.layers[-2:]] == ["predictions_drop", "predictions"]
    assert model.get_layer("predictions_drop").rate == 0.25
    assert build("MobileNetV2", **_BUILD, dropout=0).count_params() == model.count_params()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_dropout_outside_its_limits_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=f"the dropout is {share}; it must be at least 0 and less than 1"):
        build("MobileNetV2", **_BUILD, dropout=share)


def test_weights_of_another_alpha_are_refused_with_what_differs(older: Path) -> None:
    with pytest.raises(ModelError) as caught:
        build("MobileNetV2", input_size=32, classes=3, alpha=1.0, weights=older)
    assert caught.value.problem == (
        f"the weights {older} are not of MobileNetV2 with alpha 1.0 without its top (both have 104 layers with "
        "weights): the file has Conv1 (kernel 3x3x3x16), the network Conv1 (kernel 3x3x3x32)"
    )
    assert "of this architecture and alpha" in caught.value.remedy


def test_weights_of_another_architecture_are_refused(older: Path) -> None:
    with pytest.raises(ModelError, match=r"are not of VGG16 without its top \(104 and 13 layers with weights\)"):
        build("VGG16", input_size=32, classes=3, weights=older)


def test_weights_with_the_top_are_refused_with_the_name_of_the_right_file(keras: ModuleType, tmp_path: Path) -> None:
    save_checkpoint(build("MobileNetV2", **_BUILD), tmp_path)
    with pytest.raises(ModelError, match=r"the file has predictions \(kernel 1280x3, bias 3\), the network no further"):
        build("MobileNetV2", **_BUILD, weights=tmp_path / "weights.h5")
    with pytest.raises(ModelError) as caught:
        build("MobileNetV2", **_BUILD, weights=tmp_path / "weights.h5")
    assert "no_top or notop" in caught.value.remedy


def test_nothing_is_loaded_where_the_last_layer_does_not_fit(keras: ModuleType, older: Path, tmp_path: Path) -> None:
    path = _with(older, tmp_path, "gamma", np.ones(7, np.float32))
    _assert_refused_whole(keras, path, r"the file has Conv_1_bn \(gamma 7, beta 1280")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(keras: ModuleType, older: Path, tmp_path: Path, value: float) -> None:
    path = shutil.copy(older, tmp_path / "bad.h5")
    with h5py.File(path, "r+") as file:
        file["Conv_1_bn/Conv_1_bn/beta:0"][3] = value
    _assert_refused_whole(keras, path, r"Conv_1_bn/Conv_1_bn/beta:0 in the weights .* holds 1 NaN or infinite values")


def test_text_in_place_of_numbers_is_refused(keras: ModuleType, older: Path, tmp_path: Path) -> None:
    path = _with(older, tmp_path, "beta", np.array([b"text"] * 1280))
    _assert_refused_whole(keras, path, "is of type .*, no number")


def test_names_from_the_file_cannot_steer_a_terminal(keras: ModuleType, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file.attrs["layer_names"] = [b"\x1b[2Jevil"]
        file.create_group("\x1b[2Jevil").attrs["weight_names"] = [b"kernel:0"]
        file["\x1b[2Jevil/kernel:0"] = np.ones(3, np.float32)
    with pytest.raises(ModelError) as caught:
        build("MobileNetV2", **_BUILD, weights=tmp_path / "bad.h5")
    assert "\\x1b[2Jevil (kernel 3)" in caught.value.problem


def test_a_link_to_another_file_is_refused(keras: ModuleType, older: Path, tmp_path: Path) -> None:
    path = _with(older, tmp_path, "beta", h5py.ExternalLink(str(older), "Conv_1_bn/Conv_1_bn/beta:0"))
    _assert_refused_whole(keras, path, "holds an external link")


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "does not exist"), (b"", "is empty"), (b"no weights", "is neither HDF5 nor")]
)
def test_a_file_that_holds_no_weights_is_refused(
    keras: ModuleType, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "bad.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=problem):
        build("MobileNetV2", **_BUILD, weights=path)


def test_a_truncated_file_is_refused(keras: ModuleType, older: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(older.read_bytes()[:-1000])
    _assert_refused_whole(keras, tmp_path / "bad.h5", "bad.h5")


def _with(older: Path, folder: Path, variable: str, value: Any) -> Path:
    """A copy in which a variable of the last layer is something else."""
    path = Path(shutil.copy(older, folder / "bad.h5"))
    name = f"Conv_1_bn/Conv_1_bn/{variable}:0"
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = value
    return path


def _assert_refused_whole(keras: ModuleType, path: Path, problem: str) -> None:
    fresh = keras.applications.MobileNetV2(include_top=False, alpha=0.35, weights=None, input_shape=(32, 32, 3))
    before = [array.copy() for array in fresh.get_weights()]
    with pytest.raises(ModelError, match=problem):
        load_pretrained(fresh, Path(path), description="MobileNetV2 with alpha 0.35")
    assert all(np.array_equal(one, two) for one, two in zip(before, fresh.get_weights(), strict=True))
