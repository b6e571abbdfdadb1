"""From a float model and calibration data to a model that executes in integers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from precbench.deploy.int8.activation_grid import ActivationGrid
from precbench.deploy.int8.cut_offs import Range
from precbench.deploy.int8.equalising import equalise
from precbench.deploy.int8.folding import fold
from precbench.deploy.int8.grouped_pixels import group_pixels
from precbench.deploy.int8.integer_layer import IntegerLayer
from precbench.deploy.int8.plain_graph import PlainGraph, has_subgraph
from precbench.deploy.int8.planning import Part, Plan, plan
from precbench.deploy.int8.qdq import to_qdq
from precbench.deploy.int8.ranges import Calibration, check_method, observe
from precbench.deploy.int8.reconstruction import reconstruct
from precbench.deploy.stored import StoredTensor
from precbench.errors import DataError, ModelError
from precbench.graph import OnnxModel, with_constant_initializers
from precbench.progress import SILENT, Progress

LEAST_SAMPLES = 16
"""Fewer give ranges that the next images leave."""
DEFAULT_METHOD = "min-max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """An integer model with what was done.

    Args:
        model: in QDQ form.
        tensors: one entry per kernel: codes, steps.
        about: facts for the record: calibration, channels equalised, nodes in integers and in float32.
    """

    model: OnnxModel
    tensors: tuple[StoredTensor, ...]
    about: Mapping[str, Any]


def quantize(
    model: OnnxModel,
    calibration: Calibration,
    *,
    method: str = DEFAULT_METHOD,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Quantized:
    """Return the integer form of a model, which is not modified.

    The laws: an integer kernel's codes times its steps are weights on a decimal grid per output channel; the model is
    plain ONNX that computes nearly the same in any runtime, to one level of eight bits.

    Args:
        model: any float32 model with Conv, Gemm or MatMul of constant weights; opset 11 or newer.
        calibration: at least 16 samples; some hundred are better.
        method: see `ranges.observe`.
        seed: draws the patches that layers are fitted on.

    Raises:
        DataError: too few samples.
        UsageError: the method is unknown.
        ModelError: nothing in the model can run in integers, or it cannot be taken apart.
    """
    check_method(method)
    if calibration.samples < LEAST_SAMPLES:
        raise DataError(
            f"{calibration.samples} samples are too few to calibrate with, at least {LEAST_SAMPLES} are needed",
            "give more images with --data; some hundred are good",
        )
    model = with_constant_initializers(model)
    graph = _prepared(model)
    planned = plan(graph)
    if Part.WEIGHTED not in planned.parts:
        raise ModelError(
            "nothing in the model can run in integers: it has no Conv, Gemm or MatMul with constant float32 weights",
            "deploy it in another form",
        )
    scaled = equalise(graph, planned, calibration)
    grids = _grids(graph, planned, calibration, method, progress)
    made = reconstruct(graph, planned, grids, calibration, seed=seed, progress=progress)
    proto = to_qdq(graph, planned, grids, made.layers)
    _check(proto)
    return Quantized(
        model=OnnxModel(proto=proto, folder=model.folder),
        tensors=tuple(_stored(graph, made.layers)),
        about={
            "calibration": {**calibration.description, "samples": calibration.samples, "method": method},
            "fitted_on_samples": made.samples,
            "equalised_channels": scaled,
            "fixed_inputs": _with_defaults(model),
            "nodes": {part.value: planned.parts.count(part) for part in Part},
            "seed": seed,
        },
    )


def _with_defaults(model: OnnxModel) -> list[str]:
    """Return the inputs that had a default, which a caller could override: they are constants now."""
    names = {tensor.name for tensor in model.proto.graph.initializer}
    return [value.name for value in model.proto.graph.input if value.name in names]


def _prepared(model: OnnxModel) -> PlainGraph:
    graph = PlainGraph.of(model)
    nested = next((node for node in graph.nodes if has_subgraph(node)), None)
    if nested is not None:
        raise ModelError(
            f"the model has control flow ({nested.op_type} {nested.name!r}), which int8 does not take apart",
            "deploy it in another form: --form packed",
        )
    fold(graph)
    group_pixels(graph)
    return graph


def _grids(
    graph: PlainGraph, planned: Plan, calibration: Calibration, method: str, progress: Progress
) -> dict[str, ActivationGrid]:
    own = sorted(planned.held - planned.origin.keys())
    observed = observe(graph.to_proto(), own, calibration, method=method, progress=progress)
    return {name: ActivationGrid.over(*_limited(observed[name], planned.limits.get(name))) for name in own}


def _limited(observed: Range, limits: tuple[float, float] | None) -> Range:
    if limits is None:
        return observed
    return max(observed[0], limits[0]), min(observed[1], limits[1])


def _check(proto: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the int8 form is no valid model: {error}", "deploy it in another form") from error


def _stored(graph: PlainGraph, layers: Mapping[str, IntegerLayer]) -> list[StoredTensor]:
    makers = graph.makers()
    rows = []
    for output, layer in layers.items():
        steps = layer.steps
        rows.append(
            StoredTensor(
                name=makers[output].input[1],
                elements=layer.codes.size,
                dtype="INT8",
                grid={
                    "series": "R10",
                    "channels": len(steps),
                    "smallest_step": float(steps.min()),
                    "largest_step": float(steps.max()),
                    "largest_code": int(np.abs(layer.codes.astype(np.int16)).max()),
                },
                bits=8,
                exceptions=0,
                bytes_before=4 * layer.codes.size,
                bytes_after=layer.codes.nbytes + 5 * len(steps),
                kept=None,
            )
        )
    return rows
