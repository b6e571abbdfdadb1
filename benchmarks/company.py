"""Whether sessions that share a process time like each of them alone: what idle thread pools cost, and the cure.

Run: python benchmarks/company.py MODEL.onnx --work FOLDER
It writes benchmarks/results/company.json and .md. Sessions of one model share a process, are called in blocks as
`precbench bench` calls them, and are compared with processes that have one session. Per case (threads, batch, whether
idle pools stop spinning, sessions in the process) the engine's figure is the median over all its sessions of the calls
that count: the second and later ones of each position. The first, after the switch, finds the caches full of another
session's data and is kept apart; its ratio is given too. A ratio of 1 means that company does no harm.

Processes alone and in company take turns; one run is a process of each number of sessions.
"""

import itertools
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from laboratory import HERE, Case, Work, model_case, parser, seed_of, table, with_load, write_result
from numpy.typing import NDArray
from scipy import stats

from precbench.timing.processes import ProcessRunner
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan

SESSIONS = (1, 2, 4, 11)
LEVEL = 0.95


def measure(job: tuple[Case, int], options: Namespace) -> dict[str, Any]:
    """Do one run of a case: one process per number of sessions, in a drawn order."""
    case, run = job
    order = np.random.default_rng(seed_of(case, run)).permutation(SESSIONS).tolist()
    return with_load(lambda: {"sessions": {str(count): times_of(case, count, run, options) for count in order}})


def times_of(case: Case, sessions: int, run: int, options: Namespace) -> dict[str, Any]:
    """Return what a process with so many sessions of the model shows, in nanoseconds."""
    names = tuple(f"session {number}" for number in range(sessions))
    spec = {
        "model": str(options.model.resolve()),
        "threads": case["threads"],
        "batch": case["batch"],
        "force_spinning_stop": case["force_spinning_stop"],
    }
    plan = ProcessPlan(
        replicate=run,
        process=run,
        arms=names,
        seed=seed_of(case, run),
        measure_s=options.seconds,
        warmup_s=options.seconds,
    )
    samples = ProcessRunner("company_arms", spec, folder=HERE)(plan)
    if not samples.blocks:
        raise SystemExit(f"{sessions} sessions measured nothing: {samples.ended}")
    return {
        "call_ns": median_ns(samples, samples.elapsed_ns[:, :, 1:]),
        "switch_ns": median_ns(samples, samples.elapsed_ns[:, :, :1]),
        "calls_per_position": samples.calls,
        "blocks": samples.blocks,
        "steady": samples.steady,
    }


def median_ns(samples: ProcessSamples, elapsed_ns: NDArray[np.int64]) -> float:
    """Return the median over the sessions of the median of each one's calls."""
    return float(np.median([np.median(elapsed_ns[samples.order == arm]) for arm in range(len(samples.plan.arms))]))


def rows_of(case: Case, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare each number of sessions with one alone, run by run."""
    rows = []
    for count in SESSIONS:
        mine, alone = ([result["sessions"][str(number)] for result in results] for number in (count, 1))
        rows.append(
            {
                **{key: case[key] for key in ("threads", "batch", "force_spinning_stop")},
                "sessions": count,
                "call_ms": float(np.median([one["call_ns"] for one in mine])) / 1e6,
                "ratio": ratio([m["call_ns"] / a["call_ns"] for m, a in zip(mine, alone, strict=True)]),
                "switch_ratio": ratio([m["switch_ns"] / a["call_ns"] for m, a in zip(mine, alone, strict=True)]),
                "calls_per_position": int(np.median([one["calls_per_position"] for one in mine])),
                "runs": len(results),
                "median_other_cores": float(np.median([result["other_cores"] for result in results])),
            }
        )
    return rows


def ratio(values: list[float]) -> dict[str, Any]:
    """Return the geometric mean of ratios with its t interval over the runs."""
    logs = np.log(values)
    half = stats.t.isf((1 - LEVEL) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else 0.0
    low, high = (float(np.exp(logs.mean() + sign * half)) for sign in (-1, 1))
    return {"point": float(np.exp(logs.mean())), "low": low, "high": high, "level": LEVEL}


def text_of(row: dict[str, Any]) -> dict[str, str]:
    """Write a row of the table."""
    return {
        "threads": str(row["threads"]),
        "batch": str(row["batch"]),
        "idle pools": "stop" if row["force_spinning_stop"] else "spin",
        "sessions": str(row["sessions"]),
        "ms per call": f"{row['call_ms']:.3f}",
        "over one alone": "1" if row["sessions"] == 1 else written(row["ratio"]),
        "first call after a switch": written(row["switch_ratio"]),
    }


def written(value: dict[str, Any]) -> str:
    """Write a ratio: 1.003 [0.998, 1.008]."""
    return f"{value['point']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def cases_of(options: Namespace) -> list[Case]:
    """Return every case: threads, batch, spinning or not; idle pools of one thread have nothing to spin."""
    told = model_case(options)
    return [
        {**told, "threads": threads, "batch": batch, "force_spinning_stop": stop, "seconds": options.seconds}
        for threads, batch, stop in itertools.product((1, 2), (1, 32), (True, False))
    ]


def main() -> None:
    """Do what is missing of the runs, and write the table."""
    made = parser(__doc__, runs=10)
    made.add_argument("model", type=Path, help="an ONNX model")
    made.add_argument("--seconds", type=float, default=1.0, help="of measuring per process (default: %(default)s)")
    made.set_defaults(batch=0, threads=0)
    options = made.parse_args()
    cases, work = cases_of(options), Work(options.work, "company")
    work.carry_out(cases, options.runs, lambda job: measure(job, options), log_each=1)
    rows = [row for case in cases for row in rows_of(case, work.results(case, options.runs))]
    write_result(options.results, "company", {"rows": rows}, table([text_of(row) for row in rows]))


if __name__ == "__main__":
    main()
