"""Whether the verdicts and intervals of the engine hold what they say: on machines of known truth, and on this one.

Run: python benchmarks/calibration.py simulated --work FOLDER
     python benchmarks/calibration.py real MODEL.onnx --work FOLDER
They write benchmarks/results/calibration_simulated.* and calibration_real.*. A false alarm is "faster" or "slower"
where nothing differs. Coverage is the share of 95 % intervals that hold the true ratio; variants of one run share its
base and its processes, so that the interval of a coverage counts runs, not variants.

A second table of the simulated part has variants whose usual call takes as long as the base's and whose mean call does
not: a fifth of their calls, or all calls in a twentieth of their processes, take longer. What should not be said of
them is "equivalent". (A fifth of slow calls moves the median of the others too, up to their 62nd percentile: by a third
of their standard deviation, 0.5 %.)
"""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from laboratory import (
    KINDS,
    OWN_KINDS,
    Case,
    RealLab,
    SimulatedLab,
    Work,
    covers,
    design,
    median,
    model_case,
    parts,
    percent,
    seed_of,
    share,
    short,
    table,
    wide,
    width,
    with_load,
    write_result,
)

from precbench.timing.engine import measure_processes
from precbench.timing.verdict import Verdict

BUDGETS_S = (20, 60)
EFFECTS = (0.0, 0.005, 0.01, -0.02)
TARGET_WIDTH = 0.005
CALLS = ("faster", "slower")
VERDICTS = tuple(str(word) for word in Verdict)
OWN_WORDS = (
    "Verdicts on a variant whose usual call takes as long as the base's and whose mean call does not. Own spikes: 20 % "
    "of its calls take 1.5 times as long; own slow mode: in 5 % of its processes all of its calls take twice as long."
)


def simulated_cases() -> list[Case]:
    """Return every kind of noise with: each effect at each budget; a target width; nine A/A variants in one call."""

    def case(kind: str, budget_s: float, effect: float, variants: int = 1, target: float | None = None) -> Case:
        return {"noise": kind, "budget_s": budget_s, "effect": effect, "variants": variants, "target_width": target}

    return [
        one
        for kind in KINDS
        for one in (
            *(case(kind, budget_s, effect) for budget_s in BUDGETS_S for effect in EFFECTS),
            *(case(kind, 60, effect, target=TARGET_WIDTH) for effect in (0.0, 0.01)),
            case(kind, 60, 0.0, variants=9),
        )
    ]


def own_cases() -> list[Case]:
    """Return every kind in which only the variant is disturbed, at each budget."""
    return [
        {"noise": kind, "budget_s": budget_s, "effect": 0.0, "variants": 1, "target_width": None}
        for kind in OWN_KINDS
        for budget_s in BUDGETS_S
    ]


def simulate(job: tuple[Case, int]) -> dict[str, Any]:
    """Do one run on a simulated machine."""
    case, run = job
    seed = seed_of(case, run)
    variants = [f"variant {number}" for number in range(case["variants"])]
    effects = {"base": 0.0, "control": 0.0} | {arm: float(case["effect"]) for arm in variants}
    lab = SimulatedLab(effects=effects, kind={**KINDS, **OWN_KINDS}[case["noise"]], seed=seed)
    asked = design(variants, budget_s=case["budget_s"], seed=seed, target_width=case["target_width"])
    done = measure_processes(asked, lab.run_process, clock=lab.clock)
    return {
        "findings": [short(finding) for finding in done.findings],
        "ended": done.ended,
        "looks": list(done.looks),
        "elapsed_s": done.elapsed_s,
    }


def measure_twins(job: tuple[Case, int], options: Namespace) -> dict[str, Any]:
    """Do one run here: the base, its control and A/A twins, all sessions of the same model."""
    case, run = job
    twins = [f"twin {number}" for number in range(case["twins"])]
    lab = RealLab(
        options.model, batch=options.batch, threads=options.threads, effects=dict.fromkeys(("control", *twins), 0.0)
    )
    asked = design(twins, budget_s=case["budget_s"], seed=seed_of(case, run))

    def measure() -> dict[str, Any]:
        done = measure_processes(asked, lab.run_process)
        steady = sum(samples.steady for samples in done.processes) / len(done.processes)
        findings = [short(finding) for finding in done.findings]
        return {"findings": findings, "ended": done.ended, "elapsed_s": done.elapsed_s, "steady": steady}

    return with_load(measure)


def row_of(case: Case, results: Sequence[dict[str, Any]], effect: float) -> dict[str, Any]:
    """Count what the runs of a case said."""
    found = [finding for result in results for finding in result["findings"]]
    right = "slower" if effect > 0 else "faster"

    def said(words: Sequence[str]) -> dict[str, Any]:
        """Runs in which any variant got one of the words."""
        return share(sum(any(f["verdict"] in words for f in r["findings"]) for r in results), len(results))

    return {
        **case,
        "false_calls": said(CALLS if effect == 0 else [word for word in CALLS if word != right]),
        "right_calls": None if effect == 0 else said([right]),
        "equivalent": said(["equivalent"]),
        "coverage": share(sum(covers(f, 1 + effect) for f in found), len(found), runs=len(results)),
        "median_width": median(width(finding) for finding in found),
        "median_smallest_effect": median(f["smallest_effect"] for f in found if f["smallest_effect"] is not None),
        "median_processes": median(finding["units"] for finding in found),
        "median_elapsed_s": median(result["elapsed_s"] for result in results),
        "width_reached": share(sum(result["ended"] == "width reached" for result in results), len(results)),
    }


def cells(row: dict[str, Any]) -> dict[str, str]:
    """Write a row's figures."""
    return {
        "false or wrong calls": percent(row["false_calls"]),
        "called rightly": percent(row["right_calls"]) if row["right_calls"] else "",
        "equivalent": percent(row["equivalent"]),
        "coverage": percent(row["coverage"]),
        "median width": wide(row["median_width"]),
        "median smallest effect": wide(row["median_smallest_effect"]),
        "processes": f"{row['median_processes']:.0f}",
        "seconds": f"{row['median_elapsed_s']:.0f}",
    }


def own_row_of(case: Case, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count the verdicts on a variant whose usual call is the base's and whose mean call is not."""
    own = OWN_KINDS[case["noise"]].own
    assert own is not None
    found = [finding for result in results for finding in result["findings"]]
    means = [finding["mean"] for finding in found]
    return {
        **case,
        "true_mean_ratio": own.mean_ratio,
        "verdicts": {word: share(sum(f["verdict"] == word for f in found), len(found)) for word in VERDICTS},
        "median_ratio": median(finding["point"] for finding in found),
        "median_mean_ratio": median(mean["point"] for mean in means),
        "mean_coverage": share(sum(covers(mean, own.mean_ratio) for mean in means), len(means)),
        "median_mean_width": median(width(mean) for mean in means),
        "median_processes": median(finding["units"] for finding in found),
    }


def own_text(row: dict[str, Any]) -> dict[str, str]:
    """Write a row of the table of variants that are disturbed alone."""
    return {
        "noise": row["noise"],
        "asked": f"{row['budget_s']} s",
        **{word: percent(counted) for word, counted in row["verdicts"].items()},
        "median ratio": f"{row['median_ratio']:.4f}",
        "true ratio of means": f"{row['true_mean_ratio']:.4f}",
        "median ratio of means": f"{row['median_mean_ratio']:.4f}",
        "its coverage": percent(row["mean_coverage"]),
        "its median width": wide(row["median_mean_width"]),
        "processes": f"{row['median_processes']:.0f}",
    }


def simulated_text(row: dict[str, Any]) -> dict[str, str]:
    """Write a row of the simulated table."""
    until = f", until {100 * row['target_width']:g} % wide" if row["target_width"] else ""
    variants = "" if row["variants"] == 1 else f", {row['variants']} variants"
    head = {"noise": row["noise"], "asked": f"{row['budget_s']} s{until}{variants}"}
    return {**head, "effect": f"{100 * row['effect']:+g} %" if row["effect"] else "0 (A/A)", **cells(row)}


def simulated(options: Namespace) -> None:
    """Do what is missing of the simulated runs, and write the table."""
    work = Work(options.work, "calibration_simulated")
    cases, disturbed = simulated_cases(), own_cases()
    work.carry_out([*cases, *disturbed], options.runs, simulate, jobs=options.jobs, log_each=200)
    rows = [row_of(case, work.results(case, options.runs), case["effect"]) for case in cases]
    own_rows = [own_row_of(case, work.results(case, options.runs)) for case in disturbed]
    text = (
        f"{table([simulated_text(row) for row in rows])}\n{OWN_WORDS}\n\n{table([own_text(row) for row in own_rows])}"
    )
    value = {"kind": "simulated machines", "rows": rows, "own_rows": own_rows}
    write_result(options.results, "calibration_simulated", value, text)


def real(options: Namespace) -> None:
    """Do what is missing of the runs here, and write the table."""
    work = Work(options.work, "calibration_real")
    case = {**model_case(options), "budget_s": options.budget, "twins": options.twins}
    work.carry_out([case], options.runs, lambda job: measure_twins(job, options), log_each=1)
    results = work.results(case, options.runs)
    row = {
        **row_of(case, results, 0.0),
        "median_other_cores": median(result["other_cores"] for result in results),
        "most_other_cores": max(result["other_cores"] for result in results),
        "steady_processes": median(result["steady"] for result in results),
    }
    asked = f"{case['model']}, batch {case['batch']}, {case['threads']} thread(s), {case['budget_s']:g} s"
    text = table([{"A/A pairs": asked, **cells(row)}])
    write_result(options.results, "calibration_real", {"kind": "this machine", "rows": [row]}, text)


def main() -> None:
    """Read the options and do what they say."""
    made, _, on_real = parts(__doc__, runs=200)
    on_real.add_argument("--budget", type=float, default=6, help="seconds of a run (default: %(default)s)")
    on_real.add_argument("--twins", type=int, default=1, help="A/A variants in a run (default: %(default)s)")
    options = made.parse_args()
    simulated(options) if options.part == "simulated" else real(options)


if __name__ == "__main__":
    main()
