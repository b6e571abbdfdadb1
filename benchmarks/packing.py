"""What packing gives: bytes beside zstd and the codes' entropy, latency and session creation beside the float file.

Run: python benchmarks/packing.py MODEL.onnx
MODEL is a float32 model as exported, batch normalisation apart (for the project's figures: MobileNetV2 at 96 x 96 with
ImageNet weights, without its top). It is rounded to each number of decimals and packed, as it is and, where a file of
opset 21 has INT4 to gain from, converted to that. It writes benchmarks/results/packing.json and .md. Latency is
measured by the timing engine against the rounded float file; sessions are created alternately, one kind after the
other, in fresh processes.
"""

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from laboratory import HERE, table, write_result
from numpy.typing import NDArray
from onnx import numpy_helper, version_converter
from scipy import stats

from precbench.bench.inputs import inputs_for_batches
from precbench.bench.options import TimingOptions
from precbench.deploy.measuring import measure_time
from precbench.deploy.packed.packing import pack
from precbench.deploy.sizes import zstd_bytes
from precbench.files import file_digest
from precbench.graph import list_initializers, load_model, save_model
from precbench.grids import DecimalGrid
from precbench.report.figures import ratio_text
from precbench.report.terminal import TerminalProgress
from precbench.runtime import SessionSettings
from precbench.study.rounding import round_file

DECIMALS = (4, 3, 2)
BATCHES = (1, 32)
CREATIONS, PROCESSES = 40, 6
SETTINGS = SessionSettings()
_CHILD = """
import json, sys, time
from pathlib import Path
from precbench.runtime import SessionSettings, open_session
paths, count = [Path(p) for p in sys.argv[1:3]], int(sys.argv[3])
found = [[], []]
for number in range(count):
    for index in ((0, 1), (1, 0))[number % 2]:
        start = time.perf_counter_ns()
        session = open_session(paths[index], SessionSettings())
        found[index].append(time.perf_counter_ns() - start)
        del session
print(json.dumps(found))
"""


def main() -> None:
    """Round, pack, measure, and write the result."""
    options = read_options()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        newer = with_int4(options.model, folder / "newer.onnx")
        for model in (options.model, newer):
            for decimals in options.decimals:
                row = measured(model, decimals, options.budget, folder)
                if model == newer and row["int4_tensors"] == 0:
                    continue
                rows.append(row)
                print(json.dumps({key: row[key] for key in ("decimals", "file_ratio", "creation_ratio")}), flush=True)
        small = with_small_casts(options.model, folder / "small.onnx")
        value = {
            "model_digest": file_digest(options.model),
            "model_bytes": options.model.stat().st_size,
            "model_zstd_bytes": zstd_bytes(options.model),
            "rows": rows,
            "small_casts": {"count": small, **creation_ratio(options.model, folder / "small.onnx")},
        }
    write_result(options.results, "packing", value, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("model", type=Path, help="the float32 model")
    made.add_argument("--decimals", type=int, nargs="+", default=list(DECIMALS), help="to round to")
    made.add_argument("--budget", type=float, default=60.0, help="seconds of each timing (default: %(default)s)")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def with_int4(model: Path, path: Path) -> Path:
    """Write the model in opset 21 and IR version 10, which have INT4."""
    proto = version_converter.convert_version(onnx.load(model), 21)
    proto.ir_version = 10
    onnx.save(proto, path)
    return path


def with_small_casts(model: Path, path: Path) -> int:
    """Write the model with the scale of each batch normalisation cast from float16, and return how many there are.

    Nothing that is packed has fewer nodes or bytes to fold: what that costs at creation, packing cannot do without.
    """
    proto = onnx.load(model)
    held = {tensor.name: tensor for tensor in proto.graph.initializer}
    names = {node.input[1] for node in proto.graph.node if node.op_type == "BatchNormalization"}
    for name in sorted(names):
        half = numpy_helper.from_array(numpy_helper.to_array(held[name]).astype(np.float16), f"{name}/half")
        held[name].CopyFrom(half)
        proto.graph.node.insert(0, onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    onnx.save(proto, path)
    return len(names)


def measured(model: Path, decimals: int, budget_s: float, folder: Path) -> dict[str, Any]:
    """Return the figures at one number of decimals."""
    rounded, packed = folder / f"{model.stem}.dp{decimals}.onnx", folder / f"{model.stem}.packed{decimals}.onnx"
    round_file(model, rounded, grid=DecimalGrid(decimals))
    made = pack(load_model(rounded))
    save_model(made.model, packed)
    inputs = inputs_for_batches(rounded, SETTINGS, BATCHES, file=None, seed=0, shapes={})
    timing = TimingOptions(budget_s=budget_s)
    ratios, record = measure_time(rounded, {"packed": packed}, SETTINGS, inputs, timing, progress=TerminalProgress())
    size = rounded.stat().st_size
    return {
        "decimals": decimals,
        "opset": made.model.proto.opset_import[0].version,
        "data_bytes": sum(initializer_bytes(packed)),
        "file_bytes": packed.stat().st_size,
        "file_ratio": packed.stat().st_size / size,
        "zstd_packed": zstd_bytes(packed),
        "zstd_float": zstd_bytes(rounded),
        "entropy_bytes": entropy_bytes(rounded, decimals),
        "packed_tensors": sum(tensor.kept is None for tensor in made.tensors),
        "int4_tensors": sum(tensor.bits == 4 for tensor in made.tensors),
        "exceptions": sum(tensor.exceptions for tensor in made.tensors),
        "latency": [ratio.to_json() for ratio in ratios["packed"]],
        "creation_ratio": creation_ratio(rounded, packed),
        "other_cores": record["environment"]["other_cores"],
    }


def initializer_bytes(path: Path) -> list[int]:
    """Return the bytes of each initializer's elements: the file without names, nodes and metadata."""
    return [len(tensor.raw_data) for tensor in onnx.load(path).graph.initializer]


def entropy_bytes(rounded: Path, decimals: int) -> float:
    """Return the bytes of the rounded kernels if each code took its tensor's zeroth-order entropy, all else in float32.

    What any code of single weights needs at least; zstd may need less where neighbours tell something of each other.
    """
    model = load_model(rounded)
    kinds = {one.position: one for one in list_initializers(model)}
    total = 0.0
    for held in model.tensors():
        values = model.values(held)
        one = kinds.get(held.position)
        if one is not None and one.role == "weight" and values.dtype == np.float32:
            total += values.size * _entropy_bits(np.rint(values.astype(np.float64) * 10**decimals)) / 8
        else:
            total += values.nbytes
    return total


def _entropy_bits(codes: NDArray[np.float64]) -> float:
    counts = np.unique(codes, return_counts=True)[1]
    return float(stats.entropy(counts, base=2))


def creation_ratio(rounded: Path, packed: Path) -> dict[str, Any]:
    """Return the ratio of medians of creation times, with a t interval over processes."""
    logs, medians = [], []
    for _ in range(PROCESSES):
        command = [sys.executable, "-c", _CHILD, str(rounded), str(packed), str(CREATIONS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        plain, other = (float(np.median(times[2:])) for times in json.loads(done.stdout))
        logs.append(np.log(other / plain))
        medians.append((plain, other))
    half = float(stats.t.isf(0.025, len(logs) - 1) * np.std(logs, ddof=1) / len(logs) ** 0.5)
    middle = float(np.mean(logs))
    return {
        "point": float(np.exp(middle)),
        "low": float(np.exp(middle - half)),
        "high": float(np.exp(middle + half)),
        "float_ms": float(np.median([plain for plain, _ in medians]) / 1e6),
        "packed_ms": float(np.median([other for _, other in medians]) / 1e6),
    }


def text(value: Mapping[str, Any]) -> str:
    """Write the table."""
    head = (
        f"The float file: {value['model_bytes'] / 1e6:.2f} MB, {value['model_zstd_bytes'] / 1e6:.2f} after zstd. "
        "Ratios are to the rounded float file; entropy: the kernels' codes at their zeroth-order entropy, all else "
        "in float32; data: the elements alone, without names, nodes and metadata.\n"
    )
    small = value["small_casts"]
    foot = (
        f"\nThe float model with no more than {small['count']} vectors, the scales of batch normalisation, cast from "
        f"float16: its session takes {ratio_text(small)} of the time to create. Each node that ONNX Runtime folds has "
        "that price, before its elements have theirs.\n"
    )
    return f"{head}\n{table(_rows(value['rows'], value['model_bytes']))}{foot}"


def _rows(rows: Sequence[Mapping[str, Any]], size: int) -> list[dict[str, str]]:
    return [
        {
            "N": str(row["decimals"]),
            "opset": str(row["opset"]),
            "packed / float": f"{row['file_ratio']:.4f}",
            "data": f"{row['data_bytes'] / size:.4f}",
            "packed, zstd": f"{row['zstd_packed'] / size:.3f}",
            "float, zstd": f"{row['zstd_float'] / size:.3f}",
            "entropy": f"{row['entropy_bytes'] / size:.3f}",
            "exceptions": f"{row['exceptions']:,}",
            **{f"latency, batch {one['batch']}": _latency(one) for one in row["latency"]},
            "creation": f"{ratio_text(row['creation_ratio'])} ({row['creation_ratio']['float_ms']:.1f} ms)",
        }
        for row in rows
    ]


def _latency(one: Mapping[str, Any]) -> str:
    return f"{ratio_text(one['ratio'])}, {one['verdict']}"


if __name__ == "__main__":
    main()
