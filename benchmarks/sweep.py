"""The exact path of a sweep against the obvious loop: each layer of a model at N = 1, 3, 5, 7, 9 decimals.

Run: python benchmarks/sweep.py MODEL.onnx IMAGES.npz
It writes benchmarks/results/sweep.json and .md. The obvious loop is a fresh session per variant with ONNX Runtime's
own defaults (its default threads too), at the batch size at which it is fastest here; the sweep takes the same batches.
Both run in turn, several rounds of them, in processes of their own. A variant takes the obvious loop as long whatever
is rounded, so that it runs a few per round, another few in each; the sweep runs all. The outputs must be equal bit for
bit. Inputs are preprocessed by both, and counted apart: the ratio is told with them, without them on either side, and
with the obvious loop getting them for free.
"""

import resource
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from laboratory import HERE, table, with_load, write_result
from numpy.typing import NDArray

from precbench.datasets import Preprocessing, load_dataset
from precbench.files import file_digest
from precbench.graph import OnnxModel, Plan, Role, list_initializers, load_model, read_metadata
from precbench.graph.partition import cut_model, with_values, write_part
from precbench.runtime import SessionSettings, open_profiled
from precbench.runtime.optimization import as_it_is, save_optimized
from precbench.sweep import Batches, Meter, Variant, rounded_variant, sweep

DECIMALS = (1, 3, 5, 7, 9)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SCAN_S = 1.5
PROFILED_CALLS = 60


def main() -> None:
    """Measure, print, and write the result."""
    options = read_options()
    batch, scan = best_batch(options)
    rounds = []
    for number in range(options.rounds):
        names = sample(options, number)
        turns: list[tuple[str, Callable[[], dict[str, Any]]]] = [
            ("plain", lambda names=names: apart(run_plain_loop, options, batch, names)),
            ("sweep", lambda: apart(run_sweep, options, batch)),
        ]
        found = {what: with_load(turn) for what, turn in (turns if number % 2 == 0 else turns[::-1])}
        rounds.append(compared(found))
        print(f"round {number + 1}: {rounds[-1]['ratio']:.2f}, {rounds[-1]['ratio_runs_only']:.2f}", file=sys.stderr)
    shares = apart(shares_behind, options, batch)
    value = {
        "model": options.model.name,
        "model_digest": file_digest(options.model),
        "images": options.images,
        "workers": options.workers,
        "threads": options.threads,
        "batch": batch,
        "scan_images_per_s": scan,
        "rounds": rounds,
        "floor": shares,
    }
    write_result(options.results, "sweep", value, text(value))
    different = sum(each["different"] for each in rounds)
    if different:
        raise SystemExit(f"{different} variants have other outputs")


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("model", type=Path)
    made.add_argument("data", type=Path, help="an .npz of labelled images")
    made.add_argument("--images", type=int, default=2000, help="of the data (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    made.add_argument("--plain", type=int, default=10, help="variants of the obvious loop per round; 0: all")
    made.add_argument("--workers", type=int, default=physical_cores(), help="of the sweep (default: %(default)s)")
    made.add_argument("--threads", type=int, default=1, help="of each of them (default: %(default)s)")
    made.add_argument("--batch", type=int, help="default: the one at which the obvious loop is fastest")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    options = made.parse_args()
    options.images = min(options.images, len(load_dataset(str(options.data)).images))
    return options


def physical_cores() -> int:
    """Return what ONNX Runtime takes by default."""
    import psutil

    return psutil.cpu_count(logical=False) or 1


# --- what is run ---


def all_variants(model: OnnxModel) -> list[Variant]:
    """Return experiment 4: each layer that the model's groups name (each weight, where it names none) at each N."""
    listed = list_initializers(model)
    names = [i.name for i in listed if i.group] or [i.name for i in listed if i.role is Role.WEIGHT]
    return [
        rounded_variant(f"{name} {number}", model, Plan.of_decimals({name: number}))
        for name in names
        for number in DECIMALS
    ]


def sample(options: Namespace, number: int) -> list[str]:
    """Return the variants of the obvious loop in a round: drawn from all, others in each round."""
    names = [variant.name for variant in all_variants(load_model(options.model))]
    if options.plain == 0:
        return names
    drawn = np.random.default_rng(0).permutation(len(names))
    return [names[index] for index in np.roll(drawn, -number * options.plain)[: options.plain]]


def feeds(options: Namespace, model: OnnxModel) -> Callable[[int, int], dict[str, NDArray[Any]]]:
    """Return what makes the inputs of some images."""
    metadata = read_metadata(model.proto)
    if metadata is None or metadata.preprocessing is None:
        raise SystemExit(f"{options.model} does not say how its images are preprocessed")
    preprocessing = Preprocessing.from_json(metadata.preprocessing)
    images, name = load_dataset(str(options.data)).images[: options.images], model.proto.graph.input[0].name
    return lambda start, stop: {name: preprocessing.apply(images[start:stop])}


def apart(do: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(do, *arguments).result()


def run_sweep(options: Namespace, batch: int) -> dict[str, Any]:
    """Run all variants by the exact path."""
    model = load_model(options.model)
    variants = all_variants(model)
    batches = Batches(rows=options.images, size=batch, make=feeds(options, model))
    meter, began, outputs, ways = Meter(), time.perf_counter(), {}, {}
    settings = SessionSettings(intra_op_threads=options.threads)
    for one in sweep(model, variants, batches, settings, workers=options.workers, meter=meter):
        outputs[one.variant], ways[one.variant] = bits(one.outputs), str(one.way)
    elapsed_s = time.perf_counter() - began
    return {
        "variants": len(variants),
        "workers": options.workers,
        "elapsed_s": elapsed_s,
        "spent_s": meter.spent_s,
        "peak_bytes": peak_bytes(),
        "outputs": outputs,
        "ways": {way: list(ways.values()).count(way) for way in sorted(set(ways.values()))},
    }


def run_plain_loop(options: Namespace, batch: int, names: Sequence[str]) -> dict[str, Any]:
    """Run some variants by the obvious loop: files are written before, and the reading of the model is counted."""
    import onnxruntime

    model = load_model(options.model)
    make, name = feeds(options, model), model.proto.graph.input[0].name
    variants = {variant.name: variant for variant in all_variants(model)}
    spent_s, outputs = {"inputs": 0.0, "sessions": 0.0, "runs": 0.0}, {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in names:
            path = Path(folder) / "variant.onnx"
            write_part(with_values(model, variants[variant].values()), path)
            began = time.perf_counter()
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            spent_s["sessions"] += time.perf_counter() - began
            found = []
            for start in range(0, options.images, batch):
                began = time.perf_counter()
                inputs = make(start, min(start + batch, options.images))
                ready = time.perf_counter()
                found.append(session.run(None, inputs)[0])
                spent_s["runs"] += time.perf_counter() - ready
                spent_s["inputs"] += ready - began
            outputs[variant] = bits({name: np.concatenate(found)})
    return {"variants": len(names), "spent_s": spent_s, "peak_bytes": peak_bytes(), "outputs": outputs}


def best_batch(options: Namespace) -> tuple[int, dict[str, float]]:
    """Return the batch size at which the obvious loop runs most images per second, and what each size runs."""
    found = apart(scan_batches, options)
    return options.batch or int(max(found, key=found.__getitem__)), found


def scan_batches(options: Namespace) -> dict[str, float]:
    """Run the base at each batch size in turn, five times round; return images per second, the median."""
    import onnxruntime

    model = load_model(options.model)
    inputs = feeds(options, model)(0, min(max(BATCHES), options.images))
    session = onnxruntime.InferenceSession(str(options.model), providers=["CPUExecutionProvider"])
    speeds: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(5):
        for batch, found in speeds.items():
            part = {name: array[:batch] for name, array in inputs.items()}
            session.run(None, part)
            began, calls = time.perf_counter(), 0
            while time.perf_counter() - began < SCAN_S / 5:
                session.run(None, part)
                calls += 1
            found.append(calls * len(next(iter(part.values()))) / (time.perf_counter() - began))
    return {str(batch): statistics.median(found) for batch, found in speeds.items()}


def shares_behind(options: Namespace, batch: int) -> dict[str, Any]:
    """Return what part of a forward pass lies behind each layer, the layer itself included, by the nodes' own times."""
    model = load_model(options.model)
    settings = SessionSettings(intra_op_threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "executed.onnx"
        save_optimized(options.model, settings, path)
        executed = load_model(path)
        profiled = open_profiled(path, as_it_is(settings), folder=Path(folder))
        inputs = feeds(options, model)(0, batch)
        for _ in range(PROFILED_CALLS):
            profiled.run(inputs)
        took_ns = {node.name: statistics.median(node.elapsed_ns) for node in profiled.finish(skip=10)}
        whole_ns, shares = sum(took_ns.values()), {}
        for variant in all_variants(model):
            layer, _, number = variant.name.rpartition(" ")
            if number == str(DECIMALS[0]):
                nodes = cut_model(executed, changed_in_executed(model, executed, variant, settings, Path(folder))).nodes
                behind_ns = sum(took_ns.get(executed.proto.graph.node[index].name, 0) for index in nodes)
                shares[layer] = behind_ns / whole_ns
    mean = statistics.fmean(shares.values())
    return {"mean_share": mean, "largest_ratio": 1 / mean, "share_behind": shares}


def changed_in_executed(
    model: OnnxModel, executed: OnnxModel, variant: Variant, settings: SessionSettings, folder: Path
) -> list[int]:
    """Return which constants a variant changes in the graph that ONNX Runtime makes."""
    write_part(with_values(model, variant.values()), folder / "variant.onnx")
    save_optimized(folder / "variant.onnx", settings, folder / "variant.executed.onnx")
    pairs = zip(executed.tensors(), load_model(folder / "variant.executed.onnx").tensors(), strict=True)
    return [mine.position for mine, theirs in pairs if mine.proto != theirs.proto]


def bits(outputs: Mapping[str, NDArray[Any]]) -> str:
    """Return a digest of outputs, whatever their names."""
    import hashlib

    return hashlib.sha256(b"".join(array.tobytes() for array in outputs.values())).hexdigest()


def peak_bytes() -> int:
    """Return the most memory that this process ever took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# --- what came out ---


def compared(found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Compare what a round measured, per variant."""
    plain, fast = found["plain"], found["sweep"]
    runs_s = (plain["spent_s"]["sessions"] + plain["spent_s"]["runs"]) / plain["variants"]
    plain_s, fast_s = runs_s + plain["spent_s"]["inputs"] / plain["variants"], fast["elapsed_s"] / fast["variants"]
    fast_runs_s = fast_s - fast["spent_s"]["inputs"] / fast["workers"] / fast["variants"]
    equal = [fast["outputs"][name] == digest for name, digest in plain["outputs"].items()]
    return {
        "ratio": plain_s / fast_s,
        "ratio_runs_only": runs_s / fast_runs_s,
        "ratio_inputs_free_for_plain": runs_s / fast_s,
        "compared": len(equal),
        "different": equal.count(False),
        "plain": {key: value for key, value in plain.items() if key != "outputs"},
        "sweep": {key: value for key, value in fast.items() if key != "outputs"},
    }


def text(value: Mapping[str, Any]) -> str:
    """Write the result as Markdown."""
    rounds, images = value["rounds"], value["images"]
    last = rounds[-1]["sweep"]

    def middle(key: str) -> str:
        found = sorted(each[key] for each in rounds)
        return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"

    plain_s = statistics.median(sum(r["plain"]["spent_s"].values()) / r["plain"]["variants"] for r in rounds)
    fast_s = statistics.median(r["sweep"]["elapsed_s"] / r["sweep"]["variants"] for r in rounds)
    rows = [
        {"what": "images per second, obvious loop", "value": f"{images / plain_s:,.0f}"},
        {"what": "images per second, sweep", "value": f"{images / fast_s:,.0f}"},
        {"what": "ratio, each preparing its own inputs", "value": middle("ratio")},
        {"what": "ratio, inputs counted on neither side", "value": middle("ratio_runs_only")},
        {"what": "ratio, inputs free for the obvious loop only", "value": middle("ratio_inputs_free_for_plain")},
        {
            "what": "largest ratio that cutting can give, inputs apart",
            "value": f"{value['floor']['largest_ratio']:.2f}",
        },
        {
            "what": "outputs compared, of them different",
            "value": f"{sum(r['compared'] for r in rounds)}, {sum(r['different'] for r in rounds)}",
        },
        {
            "what": "peak memory of the sweep",
            "value": f"{max(r['sweep']['peak_bytes'] for r in rounds) / 2**20:,.0f} MiB",
        },
    ]
    total_s = sum(last["spent_s"].values())
    spent = [
        {"stage": stage, "s": f"{spent_s:.1f}", "share": f"{100 * spent_s / total_s:.1f} %"}
        for stage, spent_s in last["spent_s"].items()
    ]
    head = (
        f"{value['model']}: {last['variants']} variants on {images:,} images in batches of {value['batch']}, "
        f"{value['workers']} workers of {value['threads']} thread(s). "
        f"{len(rounds)} rounds: median, smallest to largest."
    )
    tail = f"Where the sweep's time goes (last round, {last['elapsed_s']:.0f} s; workers' times added up):"
    return f"{head}\n\n{table(rows)}\n{tail}\n\n{table(spent)}"


if __name__ == "__main__":
    main()
