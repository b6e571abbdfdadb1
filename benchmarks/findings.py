"""The findings that docs/method.md tells, measured on a real model: by default the digits study's MobileNetV2.

Run: precbench run; python benchmarks/findings.py [--model BASE.onnx] [rounding|sequential|subnormals …]
It writes benchmarks/results/finding_NAME.json, each with its environment.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from precbench.bench.benchmark import benchmark
from precbench.bench.inputs import inputs_for_batches
from precbench.bench.options import TimingOptions
from precbench.bench.sequential import benchmark_sequentially
from precbench.files import write_json
from precbench.graph import list_initializers, load_model, select
from precbench.grids import DecimalGrid
from precbench.runtime import SessionSettings
from precbench.study.rounding import round_onnx

RESULTS = Path(__file__).parent / "results"
DECIMALS = range(1, 10)
SETTINGS = SessionSettings(intra_op_threads=1)
SUBNORMAL_SCALE = 1e-40  # puts every kernel weight below float32's smallest normal number, 1.2e-38
RUNS = 20
BUDGET_S = 240.0
NO_CUT_S = 86_400.0  # of budget: more than any pass over 10,000 samples takes


def rounding(base: Path, folder: Path, budget_s: float | None) -> dict[str, Any]:
    """Time the model rounded to 1…9 decimals against full precision, at batch 1 and 32."""
    return timed(base, [rounded(base, folder, decimals) for decimals in DECIMALS], (1, 32), budget_s or BUDGET_S)


def sequential(base: Path, folder: Path, budget_s: float | None) -> dict[str, Any]:
    """Let the paper's protocol compare the model with itself, twenty times in fresh processes.

    A pass is 10,000 samples, as the paper's; a budget may cut it, and the result says whether it did.
    """
    del folder
    options = TimingOptions(budget_s=NO_CUT_S if budget_s is None else budget_s / RUNS)
    inputs = inputs_for_batches(base, SETTINGS, (32,), file=None, seed=0, shapes={})
    gains, calls = list[float](), list[int]()
    for _ in range(RUNS):
        done = benchmark_sequentially(base, [], settings=SETTINGS, inputs=inputs, options=options)
        if not done.complete:
            raise done.failure or KeyboardInterrupt
        record = done.to_json()
        (measurement,) = record["measurements"]
        passes = measurement["passes"]
        gains.append(100 * (1 - passes["control"]["total_over_base"]))
        calls.append(passes["base"]["calls"])
        print(f"the base against itself: {gains[-1]:+.2f} % faster")
    return {
        "speed_up_of_nothing_percent": gains,
        "median": float(np.median(gains)),
        "least": min(gains),
        "most": max(gains),
        "calls_of_each_pass": calls,
        "calls_of_a_whole_pass": measurement["calls_asked"],
        "cut": min(calls) < measurement["calls_asked"],
        "environment": record["environment"],
    }


def subnormals(base: Path, folder: Path, budget_s: float | None) -> dict[str, Any]:
    """Scale every kernel into the subnormal range, and time that, the same rounded to 4 decimals, and denormals off.

    Weights of 1e-40 rounded to 4 decimals are 0: so are all that `precbench round` takes by default in the rounded
    model. So its verdict shows whether zeros are as slow as subnormals, and nothing of what rounding does to weights of
    a usual size.
    """
    scaled = folder / "subnormal.onnx"
    scale_kernels(base, scaled)
    zeroed = rounded(scaled, folder, 4)
    record = timed(scaled, [zeroed, base], (1, 32), budget_s or BUDGET_S, denormals_off=True)
    values = np.concatenate([numpy_helper.to_array(tensor).ravel() for tensor in kernels_of(onnx.load(str(zeroed)))])
    note = (
        f"rounding weights of about {SUBNORMAL_SCALE:g} to 4 decimals makes them 0: of the {values.size} kernel "
        f"weights of {zeroed.stem}, {np.count_nonzero(values)} are not 0; it stands for zeros, not for rounding"
    )
    print(note)
    return {"note": note, **record}


def rounded(model: Path, folder: Path, decimals: int) -> Path:
    """Round the weights of a model (those that `precbench round` takes by default) into a folder."""
    output = folder / f"{model.stem}.dp{decimals}.onnx"
    loaded = load_model(model)
    round_onnx(loaded, select(list_initializers(loaded), grid=DecimalGrid(decimals)), output)
    return output


def scale_kernels(model: Path, output: Path) -> None:
    """Multiply every convolution kernel by `SUBNORMAL_SCALE`. Its outputs then say nothing; its calls are as many."""
    proto = onnx.load(str(model))
    for tensor in kernels_of(proto):
        scaled = (numpy_helper.to_array(tensor).astype(np.float64) * SUBNORMAL_SCALE).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    onnx.save(proto, str(output))


def kernels_of(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return the initializers that are kernels of convolutions."""
    names = {node.input[1] for node in proto.graph.node if node.op_type == "Conv"}
    return [tensor for tensor in proto.graph.initializer if tensor.name in names]


def timed(
    base: Path, variants: Sequence[Path], batches: Sequence[int], budget_s: float, *, denormals_off: bool = False
) -> dict[str, Any]:
    """Benchmark, print the verdicts, and return the record without plan and processes."""
    inputs = inputs_for_batches(base, SETTINGS, batches, file=None, seed=0, shapes={})
    options = TimingOptions(budget_s=budget_s, denormals_off=denormals_off)
    record = benchmark(base, variants, settings=SETTINGS, inputs=inputs, options=options).to_json()
    for measurement in record["measurements"]:
        for one in measurement["comparisons"]:
            print(measurement["batch"], one["arm"], ratio_text(one["ratio"]), one["verdict"])
        print(measurement["batch"], "A/A", ratio_text(measurement["comparisons"][0]["control_ratio"]))
        measurement["processes"] = sum(bool(process["blocks"]) for process in measurement["processes"])
        del measurement["plan"]
    return record


def ratio_text(ratio: Mapping[str, Any]) -> str:
    """Write a ratio with its interval."""
    return f"{ratio['point']:.4f} [{ratio['low']:.4f}, {ratio['high']:.4f}]"


FINDINGS: Mapping[str, Callable[[Path, Path, float | None], dict[str, Any]]] = {
    "rounding": rounding,
    "sequential": sequential,
    "subnormals": subnormals,
}


def main() -> None:
    """Measure the findings asked for, and write each result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*FINDINGS, []], help="which; all where none is named")
    parser.add_argument("--model", type=Path, default=Path("runs/mobilenetv2-digits/base.onnx"))
    parser.add_argument(
        "--budget", type=float, help=f"seconds for each; {BUDGET_S:g} where not given, and as long as passes take"
    )
    asked = parser.parse_args()
    for name in asked.names or FINDINGS:
        with tempfile.TemporaryDirectory() as folder:
            result = FINDINGS[name](asked.model, Path(folder), asked.budget)
            result = json.loads(json.dumps(result).replace(f"{folder}/", ""))  # a folder that is gone says nothing
        budget = "" if asked.budget is None else f"--budget {asked.budget:g} "
        command = f"python benchmarks/findings.py {budget}{name}"
        write_json(RESULTS / f"finding_{name}.json", {"schema_version": 1, "command": command, **result})


if __name__ == "__main__":
    main()
