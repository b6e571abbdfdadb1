"""What int8 costs and gives: ours beside ONNX Runtime's own static quantization, and the same files in OpenVINO.

Run: python benchmarks/int8.py BASE.onnx --data cifar10 --data-dir FOLDER
It writes benchmarks/results/int8.json and .md: accuracy on all test images, paired; time at batch 1 and 32 on one
thread, all models interleaved in one measurement per batch size (the timing engine); a profile per operator and layer;
and OpenVINO's times of the same files, interleaved with ONNX Runtime's float32 in one process (no engine: medians).
ONNX Runtime's quantizer needs sympy; OpenVINO is left out where it is not installed.
"""

import importlib.util
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from laboratory import HERE, table, write_result
from numpy.typing import NDArray

from precbench.bench.inputs import inputs_for_batches
from precbench.bench.options import TimingOptions
from precbench.bench.sessions import open_model
from precbench.deploy.data import DeploymentData, load_deployment_data
from precbench.deploy.forms import Form, make
from precbench.deploy.measuring import compare_accuracy, measure_time
from precbench.files import file_digest
from precbench.graph import load_model
from precbench.report.figures import ratio_text
from precbench.report.terminal import TerminalProgress
from precbench.runtime import Session, SessionSettings, open_profiled, open_session, seeded_inputs

BATCHES = (1, 32)
SETTINGS = SessionSettings()
OURS = "int8"
ORT_METHODS = {"ort-min-max": ("MinMax", {}), "ort-percentile": ("Percentile", {"CalibPercentile": 99.99})}
PROFILED_CALLS, SKIPPED_CALLS = 30, 5
OPENVINO_ROUNDS = 25


def main() -> None:
    """Make the models, measure, and write the result."""
    options = read_options()
    session = open_model(options.model, SETTINGS)
    data = load_deployment_data(options.data, session, directory=options.data_dir)
    with tempfile.TemporaryDirectory() as name:
        models = make_models(options, session, data, Path(name))
        value: dict[str, Any] = {
            "base_digest": file_digest(options.model),
            "bytes": {name: path.stat().st_size for name, path in {"base": options.model, **models}.items()},
            "calibration_samples": data.calibration_for(session).samples,
            "accuracy": accuracies(options.model, models, data),
            "time": times(options, models),
            "profile": {str(batch): profiles({"base": options.model, **models}, batch) for batch in BATCHES},
            "openvino": openvino_times(options.model, models),
        }
    write_result(options.results, "int8", value, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("model", type=Path, help="the float32 model")
    made.add_argument("--data", default="cifar10", help="see precbench deploy (default: %(default)s)")
    made.add_argument("--data-dir", type=Path, help="where cifar10 lies")
    made.add_argument("--budget", type=float, default=120.0, help="seconds for all batch sizes (default: %(default)s)")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def make_models(options: Namespace, session: Session, data: DeploymentData, folder: Path) -> dict[str, Path]:
    """Make ours and ONNX Runtime's own, calibrated on the same samples."""
    path = folder / f"{OURS}.onnx"
    make(
        Form.INT8,
        load_model(options.model),
        path,
        session=session,
        data=data,
        method="min-max",
        progress=TerminalProgress(),
    )
    models = {OURS: path}
    for name in ORT_METHODS:
        models[name] = folder / f"{name}.onnx"
        quantize_with_onnxruntime(options.model, models[name], name, session, data)
    return models


def quantize_with_onnxruntime(model: Path, output: Path, name: str, session: Session, data: DeploymentData) -> None:
    """Quantize as its documentation says for convolutional networks on x86: QDQ, U8S8, per channel, preprocessed."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._chunks: Iterator[Mapping[str, NDArray[Any]]] = iter(data.calibration_for(session).chunks())

        def get_next(self) -> Mapping[str, NDArray[Any]] | None:
            return next(self._chunks, None)

    method, extra = ORT_METHODS[name]
    prepared = output.with_name(f"{name}.prepared.onnx")
    quant_pre_process(str(model), str(prepared))
    quantize_static(
        str(prepared),
        str(output),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, method),
        extra_options=extra,
    )


def accuracies(base: Path, models: Mapping[str, Path], data: DeploymentData) -> dict[str, Any]:
    """Evaluate each on the test part beside the base."""
    found = {}
    for name, path in models.items():
        if data.test is None:
            raise SystemExit("the data have no labels")
        evaluation = compare_accuracy(path, base, data.test, SETTINGS, preprocessing=data.preprocessing)
        found[name] = evaluation.in_short()
        print(name, found[name]["flips"], flush=True)
    return found


def times(options: Namespace, models: Mapping[str, Path]) -> dict[str, Any]:
    """Time all against the base with the engine."""
    inputs = inputs_for_batches(options.model, SETTINGS, BATCHES, file=None, seed=0, shapes={})
    timing = TimingOptions(budget_s=options.budget)
    ratios, record = measure_time(options.model, models, SETTINGS, inputs, timing, progress=TerminalProgress())
    return {
        "budget_s": options.budget,
        "ratios": {name: [ratio.to_json() for ratio in found] for name, found in ratios.items()},
        "base_median_ns": {str(one["batch"]): one["arms"]["base"]["median_ns"] for one in record["measurements"]},
        "processes": {str(one["batch"]): len(one["processes"]) for one in record["measurements"]},
        "other_cores": record["environment"]["other_cores"],
        "warnings": [w["problem"] for one in record["measurements"] for w in one["warnings"]],
    }


def profiles(models: Mapping[str, Path], batch: int) -> dict[str, Any]:
    """Microseconds a call by operator type and by the ten slowest nodes of ours; ONNX Runtime's own times."""
    found: dict[str, Any] = {}
    for name, path in models.items():
        with tempfile.TemporaryDirectory() as folder:
            session = open_profiled(path, SETTINGS, Path(folder))
            feeds = seeded_inputs(open_session(path, SETTINGS).inputs, seed=0, batch=batch)
            for _ in range(PROFILED_CALLS):
                session.run(feeds)
            nodes = session.finish(skip=SKIPPED_CALLS)
        usual = {node.name: (node.op_type, float(np.median(node.elapsed_ns)) / 1e3) for node in nodes}
        found[name] = {"by_part": by_part(usual), "nodes": len(usual)}
        if name == OURS:
            slowest = sorted(usual.items(), key=lambda item: -item[1][1])[:10]
            found[name]["slowest"] = [{"node": node, "op_type": op, "us": us} for node, (op, us) in slowest]
    return found


def by_part(nodes: Mapping[str, tuple[str, float]]) -> dict[str, float]:
    """Sum by the part of MobileNetV2 that a convolution is; other nodes by their operator."""
    sums: dict[str, float] = {}
    for name, (op_type, elapsed_us) in nodes.items():
        part = next((part for part in ("depthwise", "expand_", "expand/", "project") if part in name), None)
        is_stem = part is None and name.startswith(("Conv1", "bn_Conv1"))
        key = "stem" if is_stem else (part or op_type).rstrip("_/")
        sums[key] = sums.get(key, 0.0) + elapsed_us
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def openvino_times(base: Path, models: Mapping[str, Path]) -> dict[str, Any] | None:
    """Medians of OpenVINO's times over those of ONNX Runtime's float32, calls interleaved in one process."""
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    reference = open_session(base, SETTINGS)
    result: dict[str, Any] = {"version": openvino.__version__}
    for batch in BATCHES:
        feeds = seeded_inputs(reference.inputs, seed=0, batch=batch)
        calls: dict[str, Callable[[], Any]] = {"base": lambda feeds=feeds: reference.run(feeds)}
        for name, path in {"float32": base, **models}.items():
            calls[f"openvino {name}"] = _openvino_call(openvino, path, feeds)
        result[str(batch)] = _interleaved(calls, max(1, 32 // batch))
    return result


def _openvino_call(openvino: Any, path: Path, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], Any]:
    core = openvino.Core()
    model = core.read_model(str(path))
    model.reshape({name: array.shape for name, array in feeds.items()})
    one_thread = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", one_thread).create_infer_request()
    return lambda: request.infer(dict(feeds))


def _interleaved(calls: Mapping[str, Callable[[], Any]], inner: int) -> dict[str, float]:
    elapsed: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(OPENVINO_ROUNDS):
        for name, call in calls.items() if number % 2 else reversed(calls.items()):
            start = time.perf_counter()
            for _ in range(inner):
                call()
            elapsed[name].append(time.perf_counter() - start)
    base = np.array(elapsed.pop("base")[3:])
    return {name: float(np.median(np.array(values[3:]) / base)) for name, values in elapsed.items()}


def text(value: Mapping[str, Any]) -> str:
    """Write the tables."""
    rows = []
    for name, accuracy in value["accuracy"].items():
        flips = accuracy["flips"]
        ratios = {one["batch"]: one for one in value["time"]["ratios"][name]}
        rows.append(
            {
                "model": name,
                "accuracy": f"{100 * accuracy['accuracy']['fraction']:.2f} %",
                "points": _points(flips),
                "gained / lost": f"{flips['gained']} / {flips['lost']}",
                **{f"time, batch {b}": ratio_text(ratios[b]["ratio"]) for b in BATCHES},
                "MB": f"{value['bytes'][name] / 1e6:.2f}",
            }
        )
    base = next(iter(value["accuracy"].values()))
    parts = [
        f"Full precision: {100 * base['reference_accuracy']['fraction']:.2f} % of {base['samples']:,} test images, "
        f"{value['bytes']['base'] / 1e6:.2f} MB. Time: ratio to full precision in ONNX Runtime, one thread, "
        f"{value['time']['budget_s']:g} s; other work kept {value['time']['other_cores']:.2f} cores busy.\n",
        table(rows),
        *(_profile_text(value["profile"][str(batch)], batch) for batch in BATCHES),
        _openvino_text(value["openvino"]),
    ]
    return "\n".join(parts)


def _points(flips: Mapping[str, Any]) -> str:
    return f"{flips['difference_points']:+.2f} [{flips['low_points']:+.2f}, {flips['high_points']:+.2f}]"


def _profile_text(profile: Mapping[str, Any], batch: int) -> str:
    kinds = list(dict.fromkeys([*profile["base"]["by_part"], *profile[OURS]["by_part"]]))
    rows = []
    for kind in kinds:
        times = {name: one["by_part"].get(kind, 0.0) for name, one in profile.items() if name != "ort-percentile"}
        if max(times.values()) > 0.005 * sum(profile["base"]["by_part"].values()):
            rows.append({"part": kind, **{f"{name}, us": f"{us:.0f}" for name, us in times.items()}})
    sums = {name: sum(profile[name]["by_part"].values()) for name in profile if name != "ort-percentile"}
    rows.append({"part": "all", **{f"{name}, us": f"{us:.0f}" for name, us in sums.items()}})
    return f"Profile at batch {batch} (ONNX Runtime's own times, in sessions apart):\n\n{table(rows)}"


def _openvino_text(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "OpenVINO was not installed.\n"
    names = found[str(BATCHES[0])]
    rows = [{"model": name, **{f"batch {b}": f"{found[str(b)][name]:.3f}" for b in BATCHES}} for name in names]
    return (
        f"The same files in OpenVINO {found['version']}, one thread, over full precision in ONNX Runtime (medians of "
        f"interleaved calls in one process, no interval):\n\n{table(rows)}"
    )


if __name__ == "__main__":
    main()
