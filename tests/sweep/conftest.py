"""Small models with the traits that make cutting hard, and batches for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from precbench.graph import OnnxModel
from precbench.runtime import SessionSettings
from precbench.sweep import Batches, Finished, Variant, run_plain, sweep

SETTINGS = SessionSettings()


def as_model(proto: onnx.ModelProto) -> OnnxModel:
    return OnnxModel(proto=proto, folder=Path())


def parsed(graph: str, *, more: str = "") -> OnnxModel:
    return as_model(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17{more}]> {graph}'))


def position(model: OnnxModel, name: str) -> int:
    return next(held.position for held in model.tensors() if held.value == name)


def changed(model: OnnxModel, *names: str, to: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> Variant:
    """A variant in which some tensors have other values: halved, if nothing else is said."""
    values = {h.position: (to or _halved)(model.values(h)) for h in model.tensors() if h.value in names}
    return Variant(name=" + ".join(names), values=lambda: values)


def _halved(values: NDArray[Any]) -> NDArray[Any]:
    return (values / 2).astype(values.dtype)


def batches(model: OnnxModel, *, rows: int = 5, size: int = 2, seed: int = 1) -> Batches:
    """Standard normal rows for each input that is not an initializer; their sizes are those declared."""
    generator = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.proto.graph.initializer}
    data = {}
    for value in model.proto.graph.input:
        if value.name not in constants:
            shape = [size.dim_value for size in value.type.tensor_type.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            data[value.name] = generator.normal(size=(rows, *shape[1:])).astype(dtype)
    return Batches(
        rows=rows, size=size, make=lambda start, stop: {name: array[start:stop] for name, array in data.items()}
    )


def assert_law(
    model: OnnxModel, variants: Sequence[Variant], rows: Batches | None = None, **options: Any
) -> dict[str, Finished]:
    """Sweep, and see that each variant's outputs are the plain path's bit for bit, in the same order."""
    rows = rows or batches(model)
    found = {one.variant: one for one in sweep(model, variants, rows, options.pop("settings", SETTINGS), **options)}
    assert found.keys() == {variant.name for variant in variants}
    for variant in variants:
        assert_equal(found[variant.name].outputs, run_plain(model, variant, rows, SETTINGS))
    return found


def assert_equal(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


class Counting:
    """Progress that counts."""

    def __init__(self) -> None:
        self.total = self.done = 0

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        assert label
        self.total += total
        yield self._step

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def _step(self, steps: int) -> None:
        self.done += steps


def residual_network(*, batch: int | str = "batch", channels: int = 16, seed: int = 0) -> OnnxModel:
    """What ONNX Runtime fuses most of: stem, padded depthwise Conv, BN, Clip, two residual blocks, head.

    Channels are a multiple of 16 by default, so that its blocked layout is taken.
    """
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    arrays: dict[str, NDArray[Any]] = {
        "zero": np.array(0, np.float32), "six": np.array(6, np.float32), "axes": np.array([2, 3], np.int64),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "head/kernel": rng.normal(0, 0.3, (channels, 5)).astype(np.float32),
        "head/bias": rng.normal(0, 0.3, 5).astype(np.float32),
    }  # fmt: skip

    def conv(name: str, source: str, shape: tuple[int, ...], *, clip: bool, **attributes: Any) -> str:
        arrays[f"{name}/kernel"] = rng.normal(0, 0.3, shape).astype(np.float32)
        for part, low, high in (("gamma", 0.5, 2), ("beta", -1, 1), ("mean", -1, 1), ("variance", 0.5, 2)):
            arrays[f"{name}/{part}"] = rng.uniform(low, high, shape[0]).astype(np.float32)
        nodes.append(helper.make_node("Conv", [source, f"{name}/kernel"], [f"{name}/conv"], **attributes))
        parts = [f"{name}/{part}" for part in ("gamma", "beta", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", [f"{name}/conv", *parts], [f"{name}/bn"]))
        if clip:
            nodes.append(helper.make_node("Clip", [f"{name}/bn", "zero", "six"], [f"{name}/clip"]))
        return f"{name}/{'clip' if clip else 'bn'}"

    value = conv("stem", "x", (channels, 3, 3, 3), clip=True, strides=[2, 2], pads=[1, 1, 1, 1])
    for block in ("one", "two"):
        inner = conv(f"{block}/expand", value, (2 * channels, channels, 1, 1), clip=True)
        nodes.append(helper.make_node("Pad", [inner, "pads"], [f"{block}/pad"]))
        inner = conv(f"{block}/depth", f"{block}/pad", (2 * channels, 1, 3, 3), clip=True, group=2 * channels)
        inner = conv(f"{block}/project", inner, (channels, 2 * channels, 1, 1), clip=False)
        nodes.append(helper.make_node("Add", [value, inner], [f"{block}/add"]))
        value = f"{block}/add"
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["pool"]),
        helper.make_node("Squeeze", ["pool", "axes"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head/kernel"], ["product"]),
        helper.make_node("Add", ["product", "head/bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return as_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.fixture
def network() -> OnnxModel:
    return residual_network()


@pytest.fixture(scope="session", autouse=True)
def always_cut() -> Iterator[None]:
    """These models are so small that to cut them never pays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precbench.sweep.passes.cutting_pays", lambda *_what: True)
        yield
