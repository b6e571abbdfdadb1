"""How small a true difference the engine calls on this machine within 30, 60 and 120 seconds.

Run: python benchmarks/power.py MODEL.onnx --work FOLDER
It writes benchmarks/results/power.json and .md. Each run measures the base, its control and one variant, which does a
known amount of work after each run of the same model. One run of 120 s is judged as a whole, as two runs of 60 s and as
four of 30 s: its processes are fresh ones throughout. That is a little strict on the shorter times: a run planned for
30 s starts more processes in them than 30 s of a run planned for 120 s do.
"""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from laboratory import (
    BASE,
    CONTROL,
    VARIANT,
    Case,
    RealLab,
    Work,
    add_model,
    design,
    median,
    model_case,
    parser,
    percent,
    seed_of,
    share,
    short,
    table,
    wide,
    with_load,
    write_result,
)

from precbench.timing.engine import measure_processes
from precbench.timing.samples import ProcessSamples
from precbench.timing.schedule import ProcessPlan
from precbench.timing.statistics import estimate
from precbench.timing.verdict import Comparison, judge

EFFECTS = (0.0025, 0.005, 0.01, 0.02)
POWER = 0.95


class Watched:
    """Runs processes and remembers when each had ended, in seconds."""

    def __init__(self, lab: RealLab) -> None:
        """Begin now."""
        self._lab, self._began = lab, lab.clock()
        self.ended_s: list[float] = []

    def __call__(self, plan: ProcessPlan) -> ProcessSamples:
        """Run a process."""
        samples = self._lab.run_process(plan)
        self.ended_s.append((self._lab.clock() - self._began) / 1e9)
        return samples


def measure(job: tuple[Case, int], options: Namespace) -> dict[str, Any]:
    """Do one run, and judge it at each mark."""
    case, run = job
    effects = {CONTROL: 0.0, VARIANT: case["effect"]}
    lab = RealLab(options.model, batch=options.batch, threads=options.threads, effects=effects)
    watched = Watched(lab)

    def measure_and_judge() -> dict[str, Any]:
        asked = design([VARIANT], budget_s=max(case["marks_s"]), seed=seed_of(case, run))
        done = measure_processes(asked, watched)
        marks = [parts_of(done.processes, watched.ended_s, mark_s, max(case["marks_s"])) for mark_s in case["marks_s"]]
        return {"truth": lab.truth[VARIANT], "marks": marks, "ended": done.ended}

    return with_load(measure_and_judge)


def parts_of(
    processes: Sequence[ProcessSamples], ended_s: Sequence[float], mark_s: float, budget_s: float
) -> list[dict[str, Any]]:
    """Return the findings from the processes that ended in each stretch of `mark_s` seconds."""
    found = []
    for part in range(int(budget_s / mark_s)):
        is_last = (part + 2) * mark_s > budget_s
        until_s = float("inf") if is_last else (part + 1) * mark_s
        within = [s for s, end_s in zip(processes, ended_s, strict=True) if part * mark_s < end_s <= until_s]
        found.append(judged(within))
    return found


def judged(processes: Sequence[ProcessSamples]) -> dict[str, Any]:
    """Return the finding from some processes."""
    comparison = Comparison(arm=VARIANT, base=BASE, control=CONTROL)
    arm = estimate(processes, arm=VARIANT, base=BASE, control=CONTROL)
    control = estimate(processes, arm=CONTROL, base=BASE)
    return short(judge([(comparison, arm, control)], margin=0.01, p=0.05)[0])


def rows_of(case: Case, results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count at each mark what the runs of an effect said."""
    truths = sorted(result["truth"] for result in results)
    rows = []
    for index, mark_s in enumerate(case["marks_s"]):
        found = [finding for result in results for finding in result["marks"][index]]
        words = [finding["verdict"] for finding in found]
        rows.append(
            {
                "effect": case["effect"],
                "measured_effect": {"median": median(truths), "least": truths[0], "most": truths[-1]},
                "after_s": mark_s,
                "called": share(words.count("slower"), len(words)),
                "wrong_direction": share(words.count("faster"), len(words)),
                "equivalent": share(words.count("equivalent"), len(words)),
                "median_smallest_effect": median(f["smallest_effect"] or float("inf") for f in found),
                "median_processes": median(finding["units"] for finding in found),
                "median_other_cores": median(result["other_cores"] for result in results),
            }
        )
    return rows


def text_of(row: dict[str, Any]) -> dict[str, str]:
    """Write a row of the table."""
    truth = row["measured_effect"]
    return {
        "true difference": f"{100 * row['effect']:g} %",
        "measured": f"{100 * truth['median']:.2f} % ({100 * truth['least']:.2f} to {100 * truth['most']:.2f})",
        "after": f"{row['after_s']:g} s",
        "called slower": percent(row["called"]),
        "called faster": percent(row["wrong_direction"]),
        "equivalent": percent(row["equivalent"]),
        "median smallest effect": wide(row["median_smallest_effect"]),
        "processes": f"{row['median_processes']:.0f}",
    }


def smallest_called(rows: Sequence[dict[str, Any]], mark_s: float) -> float | None:
    """Return the smallest effect from which on every larger one was called in at least 95 % of the runs."""
    smallest = None
    for row in sorted((row for row in rows if row["after_s"] == mark_s), key=lambda row: -float(row["effect"])):
        if row["called"]["share"] < POWER:
            break
        smallest = row["effect"]
    return smallest


def main() -> None:
    """Do what is missing of the runs, the effects in turn, and write the tables."""
    made = parser(__doc__, runs=20)
    add_model(made)
    made.add_argument("--marks", default="30,60,120", help="seconds, the last is the budget (default: %(default)s)")
    made.add_argument("--effects", default=",".join(map(str, EFFECTS)), help="fractions (default: %(default)s)")
    options = made.parse_args()
    marks_s = [float(mark) for mark in options.marks.split(",")]
    work = Work(options.work, "power")
    effects = [float(effect) for effect in options.effects.split(",")]
    cases = [{**model_case(options), "marks_s": marks_s, "effect": effect} for effect in effects]
    work.carry_out(cases, options.runs, lambda job: measure(job, options), log_each=1)
    rows = [row for case in cases for row in rows_of(case, work.results(case, options.runs))]
    smallest = {f"{mark_s:g}": smallest_called(rows, mark_s) for mark_s in marks_s}
    found = [
        {
            "after": f"{mark} s",
            "smallest difference called in at least 95 % of runs": f"{100 * effect:g} %" if effect else "none of these",
        }
        for mark, effect in smallest.items()
    ]
    text = table([text_of(row) for row in rows]) + "\n" + table(found)
    write_result(options.results, "power", {**model_case(options), "rows": rows, "smallest_called": smallest}, text)


if __name__ == "__main__":
    main()
