"""Time a model, its rounded forms and its float16 form on an NVIDIA GPU: TF32 off and on, three clocks, two batches.

    python benchmarks/gpu/measure.py --model base.onnx -o OUT/

It runs the tests of tests/gpu, then measures one combination after another (see `combinations`), writes each as soon as
it is done, and sums all up in OUT/gpu.json and OUT/gpu.md, which it copies to benchmarks/results/ when nothing is
missing. The same command again goes on where the last one stopped. benchmarks/gpu/run.sh prepares the packages first.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from combinations import Combination, all_combinations, chosen
from store import FAILED, MEASURED, Store, digests_of, read
from summary import summarize, write_summary
from variants import Models, make_models

from precbench.bench.benchmark import benchmark
from precbench.bench.inputs import inputs_for_batches
from precbench.bench.options import TimingOptions
from precbench.cli.quantities import parse_batches, parse_duration_s
from precbench.errors import DataError, PrecbenchError, UsageError
from precbench.files import write_json, write_text
from precbench.report.terminal import TerminalProgress
from precbench.runtime import SessionSettings, fixed_batch, open_session
from precbench.timing.samples import INTERRUPTED

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TESTS = ("pytest", "tests/gpu", "-m", "gpu", "-q", "-p", "no:cacheprovider")
_COUNTS = re.compile(r"\d+ (passed|failed|skipped|error|deselected|xfailed)|no tests ran")
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, sum up, and return the exit status: 1 where a test or a combination failed."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # a time limit ends it like Ctrl-C: what was measured is kept
    try:
        return _run(options)
    except PrecbenchError as error:
        print(f"error: {error.problem}\n  try: {error.remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return _INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--model", type=Path, required=True, help="the full-precision ONNX model")
    add("-o", "--output", type=Path, required=True, help="folder for the models and the records; gone on with")
    add("--ep", choices=("cuda", "cpu"), default="cuda", help="cpu rehearses, with the end-to-end clock only")
    add("--budget", default="35s", help="of each combination (default: %(default)s)")
    add("--within", help="begin no combination that would end later than this after the start, such as 570s")
    add("--only", help="measure a part: tf32=0,clock=device; a key named twice takes either value")
    add("--batch", default="32,1", help="samples per call (default: %(default)s)")
    add("--decimals", default="1,2,3,4,5,6,7,8,9", help="to round to (default: %(default)s)")
    add("--no-fp16", dest="fp16", action="store_false", help="leave the float16 form out")
    add("--also", action="append", metavar="NAME=MODEL", help="another form to time beside them; repeatable")
    add("--no-tests", dest="tests", action="store_false", help="leave out tests/gpu")
    add("--seed", type=int, default=0)
    add("--results", type=Path, help="folder for a copy of a complete result (cuda: benchmarks/results)")
    add("--summarize", action="store_true", help="measure nothing, sum up what is in the folder: needs no GPU")
    return parser


def _run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    budget_s = parse_duration_s(options.budget)
    within_s = parse_duration_s(options.within) if options.within else float("inf")
    decimals = _decimals(options.decimals)
    store = Store(options.output)
    settings = SessionSettings() if options.summarize else SessionSettings(provider=options.ep)
    session = open_session(options.model, settings)  # so that a machine that cannot says so at once
    fixed = fixed_batch(session.inputs)
    del session
    every = all_combinations(options.ep, [fixed] if fixed else parse_batches(options.batch))
    wanted = chosen(every, options.only)
    if options.summarize:
        return _sum_up(options, store, every)
    progress = TerminalProgress()
    models = make_models(
        options.model,
        options.output / "models",
        decimals=decimals,
        fp16=options.fp16,
        provider=options.ep,
        also=_also(options.also),
        progress=progress,
    )
    _check_same(store, every, models)
    if options.tests:
        _run_tests(options.output / "tests.json")
    left = [combination for combination in wanted if store.find(combination).state != MEASURED]
    print(f"{len(wanted) - len(left)} of {len(wanted)} combinations are there, {len(left)} to measure", flush=True)
    longest_s = budget_s
    try:
        for combination in left:
            start = time.monotonic()
            if start - began + longest_s > within_s:
                print(f"no time for {combination.name} within {options.within}: run the same command again")
                break
            _measure(combination, models, store, options, budget_s)
            longest_s = max(longest_s, time.monotonic() - start)
            _sum_up(options, store, every)
    finally:
        status = _sum_up(options, store, every)
    done = sum(store.find(combination).state == MEASURED for combination in every)
    print(f"{done} of all {len(every)} combinations are measured; summed up in {store.folder}", flush=True)
    return status


def _decimals(text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 0:
        raise UsageError(f"{text!r} is no list of decimals", "write whole numbers with commas between, such as 1,4,9")
    return found


def _also(texts: Sequence[str] | None) -> dict[str, Path]:
    found = {name: Path(path) for name, _, path in (text.partition("=") for text in texts or ())}
    missing = next((str(path) for path in found.values() if not path.is_file()), None)
    if missing is not None or len(found) < len(texts or ()):
        raise UsageError(f"there is no model {missing!r}, or a name comes twice", "write --also NAME=MODEL.onnx")
    return found


def _check_same(store: Store, every: Sequence[Combination], models: Models) -> None:
    """Refuse a folder that holds measurements of other models."""
    for combination in every:
        record = store.find(combination).record
        arms = {"base", *models.timed_by(combination.provider)}
        if record is not None and digests_of(record) != {arm: models.digests[arm] for arm in arms}:
            raise DataError(
                f"{store.folder} holds measurements of other models, or of other decimals ({combination.name})",
                "name another folder with -o, or give the options of then",
            )


def _run_tests(path: Path) -> None:
    """Run the GPU tests and keep their last line; not again once they passed."""
    if path.is_file() and read(path)["status"] == 0:
        return
    print("running the tests of tests/gpu", flush=True)
    command = [sys.executable, "-m", *TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line.strip(" =") for line in done.stdout.splitlines() if _COUNTS.search(line)]
    summary = lines[-1] if lines else (done.stderr.strip().splitlines() or ["no output"])[-1]
    write_text(path.with_suffix(".txt"), done.stdout + done.stderr)
    write_json(path, {"command": " ".join(TESTS[:4]), "status": done.returncode, "summary": summary})
    print(summary, flush=True)


def _measure(
    combination: Combination, models: Models, store: Store, options: argparse.Namespace, budget_s: float
) -> None:
    """Measure one combination and keep it, or why it cannot be. Only Ctrl-C raises."""
    print(f"{combination.name} …", flush=True)
    variants = models.timed_by(combination.provider)
    cache = options.output / "tensorrt" / models.digests["base"].removeprefix("sha256:")[:16]
    settings = combination.settings(cache)
    if combination.provider == "tensorrt":
        cache.mkdir(parents=True, exist_ok=True)
    try:
        inputs = inputs_for_batches(models.base, settings, [combination.batch], file=None, seed=options.seed, shapes={})
        result = benchmark(
            models.base,
            list(variants.values()),
            settings=settings,
            inputs=inputs,
            options=TimingOptions(budget_s=budget_s, clock=combination.clock, seed=options.seed),
            progress=TerminalProgress(),
        )
    except (PrecbenchError, RuntimeError) as error:
        print(f"  failed: {store.keep_failure(combination, error)}", flush=True)
        return
    state = store.keep(combination, result, command=command_line())
    print(f"  {state}: {_in_words(result.to_json())}", flush=True)
    if result.ended == INTERRUPTED:
        raise KeyboardInterrupt


def _in_words(record: dict[str, Any]) -> str:
    found = [f"{c['arm']} {c['ratio']['point']:.3f} {c['verdict']}" for c in record["measurements"][0]["comparisons"]]
    return ", ".join(found)


def _sum_up(options: argparse.Namespace, store: Store, every: Sequence[Combination]) -> int:
    """Write the summary of what there is; return the exit status."""
    stored = [store.find(combination) for combination in every]
    tests_path, models_path = options.output / "tests.json", options.output / "models" / "models.json"
    tests = read(tests_path) if tests_path.is_file() else None
    fp16 = read(models_path)["fp16"] if models_path.is_file() else {}
    value = summarize(stored, command=command_line(), tests=tests, fp16=fp16)
    name = "gpu" if options.ep == "cuda" else "rehearsal"
    write_summary(value, options.output, name)
    results = options.results or (RESULTS if options.ep == "cuda" else None)
    if value["complete"] and results is not None:
        write_summary(value, results, name)
    failed = [one for one in stored if one.state == FAILED and one.combination.provider != "tensorrt"]
    return 1 if failed or (tests is not None and tests["status"] != 0) else 0


def command_line() -> str:
    """Return the command without the folders of this machine."""
    words = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    return " ".join(["python benchmarks/gpu/measure.py", *words])


if __name__ == "__main__":
    sys.exit(main())
