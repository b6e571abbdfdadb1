"""What the scripts of this folder share: machines to measure on, simulated and real, and work that can be gone on with.

A machine runs the engine's processes (`run_process`) and, for the peers' ways, processes that make passes (`passes`).
"""

import ast
import gc
import json
import statistics
import subprocess
import sys
import time
import zlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from arms import PASSES, Pass, passes_request, run_passes
from numpy.typing import NDArray
from scipy import stats

import precbench.timing
from precbench.files import file_digest, value_digest, write_json, write_text
from precbench.runtime import cpu_times_now, environment, own_cpu_s, used_by_others
from precbench.timing.engine import Design
from precbench.timing.processes import ProcessRunner
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan
from precbench.timing.simulation import Machine, Noise
from precbench.timing.verdict import Comparison, Finding

HERE = Path(__file__).parent
BASE, CONTROL, VARIANT = "base", "control", "variant"
CALL_S = 0.005  # of a simulated call


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What disturbs the variants alone: their usual call takes as long as without it, their mean call does not.

    Args:
        calls: share of their calls that take longer.
        call_extra: by how much, as a fraction.
        processes: share of processes in which all of a variant's calls take longer.
        process_extra: by how much, as a fraction.
    """

    calls: float = 0.0
    call_extra: float = 0.0
    processes: float = 0.0
    process_extra: float = 0.0

    @property
    def mean_ratio(self) -> float:
        """Mean time of a variant's call over that without the disturbance."""
        return (1 + self.calls * self.call_extra) * (1 + self.processes * self.process_extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of noise.

    Args:
        noise: what disturbs the machine.
        rough: share of processes whose arms differ eight times as much as in the others.
        own: what disturbs the variants alone.
    """

    noise: Noise
    rough: float = 0.0
    own: Own | None = None


_USUAL = {"jitter": 0.015, "cold": 1.0, "warming": 0.1, "switch": 0.3}  # what any real process shows
_DRIFT = {"walk": 0.03}
_SPIKES = {"spikes": 0.05, "spike_size": 0.5}
_CLOCKS = {"slow_mode": 0.1, "mode_s": 2.0}
_OFFSETS = {"offset": 0.004}  # as found between processes here
KINDS: Mapping[str, Kind] = {
    "quiet": Kind(noise=Noise(**_USUAL)),
    "drift": Kind(noise=Noise(**_USUAL, **_DRIFT)),
    "spikes": Kind(noise=Noise(**_USUAL, **_SPIKES)),
    "two clocks": Kind(noise=Noise(**_USUAL, **_CLOCKS)),
    "process offsets": Kind(noise=Noise(**_USUAL, **_OFFSETS)),
    "all together": Kind(noise=Noise(**_USUAL, **_DRIFT, **_SPIKES, **_CLOCKS, **_OFFSETS)),
    "heavy tails": Kind(noise=Noise(**_USUAL, **_OFFSETS, spikes=0.3, spike_size=0.3), rough=0.1),
}
OWN_KINDS: Mapping[str, Kind] = {
    "own spikes": Kind(noise=Noise(**_USUAL, **_OFFSETS), own=Own(calls=0.2, call_extra=0.5)),
    "own slow mode": Kind(noise=Noise(**_USUAL, **_OFFSETS), own=Own(processes=0.05, process_extra=1.0)),
}
"""Kinds in which nothing but the variants is disturbed: their usual call is the base's, their mean call is not."""


class Lab(Protocol):
    """A machine to measure on.

    Attributes:
        call_s: about how long a call of the base takes.
        start_s: about how long a process takes that makes one arm and calls nothing.
    """

    call_s: float
    start_s: float

    def clock(self) -> int:
        """Return nanoseconds."""
        ...

    def run_process(self, plan: ProcessPlan) -> ProcessSamples:
        """Run one of the engine's processes."""
        ...

    def passes(self, passes: Sequence[Pass], *, most_s: float | None = None) -> list[NDArray[np.int64]]:
        """Run passes in a fresh process, until `most_s` is over; return each call's nanoseconds, pass by pass."""
        ...


class SimulatedLab(Machine):
    """A simulated machine that can run passes too, and whose processes differ as a `Kind` says."""

    def __init__(self, *, effects: Mapping[str, float], kind: Kind, seed: int) -> None:
        """Make one on which an arm takes 1 + its effect times as long as the base."""
        times_s = {arm: CALL_S * (1 + effect) for arm, effect in effects.items()}
        super().__init__(times_s=times_s, noise=kind.noise, seed=seed)
        self._kind, noise = kind, kind.noise
        self._own_generator = np.random.default_rng([seed, 11])
        self.call_s = CALL_S * (1 + noise.spikes * noise.spike_size + noise.slow_mode / 2)

    def run_process(self, plan: ProcessPlan) -> ProcessSamples:
        """Run one of the engine's processes."""
        self._draw_offset()
        return super().run_process(plan)

    def passes(self, passes: Sequence[Pass], *, most_s: float | None = None) -> list[NDArray[np.int64]]:
        """Run passes in a fresh process."""
        self._draw_offset()
        self.now_ns += int(1e9 * self.start_s * self._generator.uniform(0.9, 1.3))
        return [np.array(elapsed) for elapsed in run_passes(self._maker(), passes, self.clock, most_s)]

    def _maker(self) -> Callable[[str], Callable[[], object]]:
        make, own = super()._maker(), self._kind.own
        if own is None:
            return make
        return lambda arm: make(arm) if arm in (BASE, CONTROL) else self._disturbed(make(arm), own)

    def _disturbed(self, call: Callable[[], object], own: Own) -> Callable[[], object]:
        """Make a variant's callable in a process: after its call passes what it takes longer."""
        draw = self._own_generator.random
        in_process = 1 + own.process_extra * (draw() < own.processes)

        def disturbed() -> None:
            began = self.now_ns
            call()
            factor = in_process * (1 + own.call_extra * (draw() < own.calls))
            self.now_ns += int((factor - 1) * (self.now_ns - began))

        return disturbed

    def _draw_offset(self) -> None:
        factor = 8 if self._generator.random() < self._kind.rough else 1
        self.noise = replace(self._kind.noise, offset=factor * self._kind.noise.offset)


class RealLab:
    """This machine, with ONNX Runtime sessions of one model on the CPU; the variants do extra work after each run."""

    def __init__(self, model: Path, *, batch: int, threads: int, effects: Mapping[str, float]) -> None:
        """Find out how many turns make the extra work of each arm, and how true that is.

        The turns are counted in one process; their time is then measured in three others, next to the session's:
        `truth` is by how much an arm's time really exceeds the base's, as a fraction.
        """
        self._onnx = {"kind": "onnx", "model": str(model.resolve()), "batch": batch, "threads": threads}
        self._specs: dict[str, dict[str, Any]] = {BASE: {**self._onnx, "turns": 0}}
        self._calibrate(effects)
        self.truth = {arm: self._measured(self._specs[arm]["turns"]) for arm in effects}

    def clock(self) -> int:
        """Return nanoseconds."""
        return time.perf_counter_ns()

    def run_process(self, plan: ProcessPlan) -> ProcessSamples:
        """Run one of the engine's processes."""
        return ProcessRunner("arms", {"arms": self._specs}, folder=HERE)(plan)

    def passes(self, passes: Sequence[Pass], *, most_s: float | None = None) -> list[NDArray[np.int64]]:
        """Run passes in a fresh process."""
        return self._run(self._specs, passes, most_s)

    def _calibrate(self, effects: Mapping[str, float]) -> None:
        few, many, began = 50, 1000, self.clock()
        base_ns, (few_ns, many_ns), spent_ns = self._side_by_side((few, many))
        self.call_s, self.start_s = base_ns / 1e9, (self.clock() - began - spent_ns) / 1e9
        turn_ns = (many_ns - few_ns) / (many - few)
        begin_ns = few_ns - few * turn_ns  # the session has emptied the caches: the first turn takes longer
        for arm, effect in effects.items():
            turns = max(1, round((effect * base_ns - begin_ns) / turn_ns)) if effect else 0
            self._specs[arm] = {**self._onnx, "turns": turns}

    def _measured(self, turns: int) -> float:
        found = [self._side_by_side((turns,)) for _ in range(3 if turns else 0)]
        return statistics.median(work_ns / base_ns for base_ns, (work_ns,), _ in found) if found else 0.0

    def _side_by_side(self, turns: Sequence[int]) -> tuple[float, list[float], int]:
        """Return the median times of the base and of each amount of work, in one process; and the time of all calls."""
        works = {f"work {number}": {"kind": "work", "turns": number} for number in turns}
        warm_up = Pass(arm=BASE, calls=1_000_000, most_s=0.3)
        in_turn = [Pass(arm=arm, calls=1) for _ in range(50) for work in works for arm in (BASE, work)]
        times = self._run({BASE: self._specs[BASE], **works}, [warm_up, *in_turn], None)
        by_arm = {
            arm: np.concatenate([t for t, p in zip(times[1:], in_turn, strict=True) if p.arm == arm])
            for arm in (BASE, *works)
        }
        works_ns = [float(np.median(by_arm[work])) for work in works]
        return float(np.median(by_arm[BASE])), works_ns, sum(int(time_ns.sum()) for time_ns in times)

    @staticmethod
    def _run(specs: Mapping[str, Any], passes: Sequence[Pass], most_s: float | None) -> list[NDArray[np.int64]]:
        command = [sys.executable, "-P", str(HERE / "arms.py"), PASSES]
        request = passes_request(specs, passes, most_s)
        done = subprocess.run(command, input=request, stdout=subprocess.PIPE, text=True, check=True)
        return [np.array(elapsed) for elapsed in json.loads(done.stdout)]


def design(variants: Sequence[str], *, budget_s: float, seed: int, target_width: float | None = None) -> Design:
    """Return the design that `precbench bench` makes for so many variants of one base."""
    return Design(
        groups=((BASE, CONTROL, *variants),),
        comparisons=tuple(Comparison(arm=arm, base=BASE, control=CONTROL) for arm in variants),
        budget_s=budget_s,
        target_width=target_width,
        seed=seed,
    )


def short(finding: Finding) -> dict[str, Any]:
    """Return what the scripts keep of a finding."""
    return {
        "verdict": str(finding.verdict),
        "point": finding.ratio.point,
        "low": finding.ratio.low,
        "high": finding.ratio.high,
        "outer_bound": finding.outer_bound,
        "smallest_effect": finding.smallest_effect,
        "units": finding.ratio.units,
        "mean": None if finding.mean_ratio is None else finding.mean_ratio.to_json(),
    }


def covers(finding: Mapping[str, Any], truth: float) -> bool:
    """Whether a finding's interval holds the true ratio; an interval without ends holds everything."""
    return finding["low"] is None or finding["low"] <= truth <= finding["high"]


def width(finding: Mapping[str, Any]) -> float:
    """Return the width of a finding's interval."""
    return float("inf") if finding["low"] is None else finding["high"] - finding["low"]


# --- work that is saved after each run and gone on with ---

Case = dict[str, Any]
Do = Callable[[tuple[Case, int]], dict[str, Any]]


class Work:
    """The runs done so far: a file of JSON lines, and a log beside it.

    Runs of another engine do not count: the digest of its source is saved with each.

    Args:
        folder: made where it is missing; outside the repository.
        name: of the script and its part.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Read what is there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._log = folder / f"{name}.jsonl", folder / f"{name}.log"
        self._results: dict[str, dict[int, dict[str, Any]]] = {}
        self._engine = engine_digest()
        saved = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        for line in saved.splitlines():
            self._remember(_whole(line))
        if saved and not saved.endswith("\n"):  # killed while writing
            self._append("")

    def carry_out(self, cases: Sequence[Case], runs: int, do: Do, *, jobs: int | None = None, log_each: int) -> None:
        """Do every run of every case that is not done yet, case after case in each run, and save each at once.

        Args:
            cases: JSON values; runs of equal cases are runs of the same thing, today's and yesterday's.
            runs: of each case.
            do: does one run of one case.
            jobs: processes to do it in, at the same time; None does it in this one.
            log_each: after so many runs a line is logged.
        """
        wanted = ((case, run) for run in range(runs) for case in cases)
        todo = [(case, run) for case, run in wanted if run not in self._results.get(_key(case), {})]
        self.say(f"{len(todo)} of {runs * len(cases)} runs to do")
        began = time.monotonic()
        with _mapper(jobs) as do_all:
            for number, ((case, run), result) in enumerate(zip(todo, do_all(do, todo), strict=True), 1):
                if engine_digest() != self._engine:
                    raise SystemExit("the engine's source has changed meanwhile; start again, with a fresh count")
                line = {"engine": self._engine, "case": case, "run": run, "result": result}
                self._append(json.dumps(line, allow_nan=False))
                self._remember(line)
                if number % log_each == 0 or number == len(todo):
                    left_s = (time.monotonic() - began) / number * (len(todo) - number)
                    told = ", ".join(str(value) for name, value in case.items() if name != "digest")
                    self.say(f"{number}/{len(todo)}, about {left_s / 60:.1f} min left: run {run} of {told}")

    def results(self, case: Case, runs: int) -> list[dict[str, Any]]:
        """Return the results of a case's first runs."""
        done = self._results.get(_key(case), {})
        return [done[run] for run in range(runs) if run in done]

    def say(self, words: str) -> None:
        """Write a line to standard error and to the log."""
        line = f"{time.strftime('%H:%M:%S')} {words}"
        print(line, file=sys.stderr, flush=True)
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def _append(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def _remember(self, line: Mapping[str, Any] | None) -> None:
        if line is not None and line.get("engine") == self._engine:
            self._results.setdefault(_key(line["case"]), {})[line["run"]] = line["result"]


def engine_digest() -> str:
    """Return a digest of the code that is measured here, whatever its comments and layout."""
    files = [*sorted(Path(precbench.timing.__file__).parent.glob("*.py")), HERE / "arms.py"]
    return _digest(tuple((path, path.stat().st_mtime_ns) for path in files))


@cache
def _digest(files: tuple[tuple[Path, int], ...]) -> str:
    return value_digest([ast.dump(ast.parse(path.read_text(encoding="utf-8"))) for path, _ in files])


def _whole(line: str) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:  # the last one, cut off
        return None
    return value


def _key(case: Case) -> str:
    return json.dumps(case, sort_keys=True)


@contextmanager
def _mapper(jobs: int | None) -> Iterator[Callable[[Do, Iterable[tuple[Case, int]]], Iterable[dict[str, Any]]]]:
    if jobs is None:
        yield map
        return
    with ProcessPoolExecutor(jobs, initializer=_be_a_worker) as pool:
        yield lambda do, todo: pool.map(do, todo, chunksize=10)


def _be_a_worker() -> None:
    # The engine collects garbage before each process; of what SciPy loaded that is 13 ms, more than the simulation.
    gc.collect()
    gc.freeze()


def seed_of(case: Case, run: int) -> int:
    """Return a seed of its own for each run of each case."""
    return zlib.crc32(f"{_key(case)} {run}".encode())


def with_load(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `do` returns, and how many cores others kept busy meanwhile."""
    before, own_before = cpu_times_now(), own_cpu_s()
    result = do()
    load = used_by_others(before, cpu_times_now(), own_cpu_s() - own_before)
    return {**result, "other_cores": load.other_cores}


# --- options and results ---


def parser(description: str | None, *, runs: int, add_help: bool = True) -> ArgumentParser:
    """Return a parser with the options that all scripts have."""
    made = ArgumentParser(description=(description or "").split("\n")[0], add_help=add_help)
    made.add_argument("--runs", type=int, default=runs, help="of each case (default: %(default)s)")
    made.add_argument("--work", type=Path, required=True, help="folder for the runs' file and log; gone on with")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made


def parts(description: str | None, *, runs: int) -> tuple[ArgumentParser, ArgumentParser, ArgumentParser]:
    """Return a parser whose first argument is `simulated` or `real` (its `part`), and the parsers of these two."""
    made = ArgumentParser(description=(description or "").split("\n")[0])
    each = made.add_subparsers(dest="part", required=True)
    common = parser(None, runs=runs, add_help=False)
    on_simulated = each.add_parser("simulated", parents=[common], help="on simulated machines of known truth")
    on_simulated.add_argument("--jobs", type=int, default=1, help="processes at a time (default: %(default)s)")
    on_real = each.add_parser("real", parents=[common], help="on this machine, which should do nothing else")
    add_model(on_real)
    return made, on_simulated, on_real


def add_model(made: ArgumentParser) -> None:
    """Add the options of a script that measures a real model."""
    made.add_argument("model", type=Path, help="an ONNX model")
    made.add_argument("--batch", type=int, default=1)
    made.add_argument("--threads", type=int, default=1)


def model_case(options: Namespace) -> Case:
    """Return what tells runs of one model from runs of another."""
    return {
        "model": options.model.name,
        "digest": file_digest(options.model),
        "batch": options.batch,
        "threads": options.threads,
    }


def share(count: int, of: int, *, runs: int | None = None) -> dict[str, Any]:
    """Return a share with its exact 95 % interval (Clopper and Pearson, Biometrika 26, 1934).

    Args:
        count: how many did.
        of: how many could.
        runs: independent runs that they are from, where several of one run depend on each other: the interval is of
            the share of that many, as if all of one run were one. (A count need not be whole for that: E. Korn, B.
            Graubard, Survey Methodology 24, 1998.) None: all are independent.
    """
    part, trials = count / of if of else 0.0, of if runs is None else runs
    did = part * trials
    low = float(stats.beta.ppf(0.025, did, trials - did + 1)) if count else 0.0
    high = float(stats.beta.ppf(0.975, did + 1, trials - did)) if count < of else 1.0
    return {"count": count, "of": of, "runs": trials, "share": part, "low": low, "high": high}


def percent(value: Mapping[str, Any]) -> str:
    """Write a share: 1.5 % (3/200; 0.3 to 4.3), or, where several are of one run, 1.5 % (27/1800 in 200 runs; ...)."""
    low, high = 100 * value["low"], 100 * value["high"]
    runs = "" if value["runs"] == value["of"] else f" in {value['runs']} runs"
    return f"{100 * value['share']:.1f} % ({value['count']}/{value['of']}{runs}; {low:.1f} to {high:.1f})"


def wide(value: float | None) -> str:
    """Write a width or an effect in percent; above 100 % its figures say nothing."""
    return "" if value is None else "> 100 %" if value > 1 else f"{100 * value:.2f} %"


def median(values: Iterable[float]) -> float | None:
    """Return the median of finite values; None where there are none."""
    finite = [value for value in values if np.isfinite(value)]
    return statistics.median(finite) if finite else None


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Write rows as a Markdown table."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([row[head] for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write rows, each as long as the heads, as a Markdown table."""
    return table([dict(zip(heads, row, strict=True)) for row in rows])


def write_result(folder: Path, name: str, value: Mapping[str, Any], text: str) -> None:
    """Write NAME.json, with the environment and the command, and NAME.md; print the latter."""
    command = _command()
    head = {"schema_version": 1, "command": command, "engine": engine_digest()}
    write_json(folder / f"{name}.json", {**head, **value, "environment": environment()})
    write_text(folder / f"{name}.md", f"`{command}`\n\n{text}")
    print(text)


def _command() -> str:
    """Return the command without the folders of this machine."""
    words = [f"benchmarks/{Path(sys.argv[0]).name}"]
    rest = iter(sys.argv[1:])
    for word in rest:
        if word == "--results":
            next(rest)
        elif word == "--work":
            words += ["--work", "WORK"]
            next(rest)
        else:
            words.append(Path(word).name if "/" in word else word)
    return " ".join(["python", *words])
