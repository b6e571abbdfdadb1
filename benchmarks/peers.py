"""The same pairs judged the way each peer would, at equal wall time: false alarms and misses in one table.

Run: python benchmarks/peers.py simulated --work FOLDER
     python benchmarks/peers.py real MODEL.onnx --work FOLDER
They write benchmarks/results/peers_simulated.* and peers_real.*. Each way is measured as its tool would, in processes
of its own, with its defaults scaled to the same seconds; what the tool or its reader calls a difference is a rule, and
one way of measuring may have several. Nothing of the tools is run: they time commands, Python, Rust or C++ functions,
and here all are given calls of one session. Where a tool leaves a choice, the one that helps it is made, and said.
"""

import math
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from arms import Pass
from laboratory import (
    BASE,
    CONTROL,
    KINDS,
    VARIANT,
    Case,
    Lab,
    RealLab,
    SimulatedLab,
    Work,
    design,
    median,
    model_case,
    parts,
    percent,
    seed_of,
    share,
    table,
    with_load,
    write_result,
)
from numpy.typing import NDArray
from scipy import stats

from precbench.timing.engine import measure_processes

EFFECTS = (0.0, 0.005, 0.01, 0.02)
BUDGETS_S = (10, 30, 60)
OURS = "precbench"
NEVER = 1_000_000_000  # calls; the seconds end such a pass
RESAMPLES = 10_000

Values = NDArray[np.float64]
Pair = tuple[Values, Values]
"""What a tool's statistics see of the base and of the variant, in nanoseconds per call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What counts as a call.

    Args:
        words: the definition.
        source: where it is from: repository and file, or that it is a reader's.
        judge: gives 1 for "slower", -1 for "faster", 0 for no call.
    """

    words: str
    source: str
    judge: Callable[[Any], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to measure a pair.

    Args:
        words: what is measured.
        measure: takes a machine, seconds and a seed, and returns what the rules judge.
        rules: by the name of their row in the table.
    """

    words: str
    measure: Callable[[Lab, float, int], Any]
    rules: Mapping[str, Rule]


# --- ours ---


def ours(lab: Lab, seconds: float, seed: int) -> str:
    """Return the engine's verdict; a third of its calls go to the control."""
    asked = design([VARIANT], budget_s=seconds, seed=seed)
    return str(measure_processes(asked, lab.run_process, clock=lab.clock).findings[0].verdict)


# --- a process per model, one after the other ---


def calls_in(lab: Lab, seconds: float) -> int:
    """Return how many calls fit into seconds, at least one."""
    return max(1, int(seconds / lab.call_s))


def hyperfine(lab: Lab, seconds: float, seed: int) -> Pair:
    """Ten runs of a command, then ten of the other; a command is a process that makes so many calls.

    Its start is left out of its time: a gift, since start-up would hide the difference.
    """
    del seed
    calls = calls_in(lab, seconds / 20 - lab.start_s)
    base, variant = (
        np.array([lab.passes([Pass(arm=arm, calls=calls)])[0].mean() for _ in range(10)]) for arm in (BASE, VARIANT)
    )
    return base, variant


def pyperf(lab: Lab, seconds: float, seed: int) -> Pair:
    """Twenty processes of one warm-up and three values, then as many of the other; a value is 0.1 s of calls.

    Where the seconds do not allow twenty, as many as they do; where they allow more, the values are longer.
    """
    del seed
    processes = max(2, min(20, int(seconds / 2 / (lab.start_s + 4 * 0.1))))
    calls = calls_in(lab, max(0.1, (seconds / 2 / processes - lab.start_s) / 4))

    def values(arm: str) -> Values:
        passes = [Pass(arm=arm, calls=calls)] * 4
        return np.concatenate([[t.mean() for t in lab.passes(passes)[1:]] for _ in range(processes)])

    return values(BASE), values(VARIANT)


def perf_test(lab: Lab, seconds: float, seed: int) -> Pair:
    """One process per model: ten calls to warm up, then calls until its half of the seconds is over."""
    del seed
    measuring_s = max(lab.call_s, seconds / 2 - lab.start_s - 10 * lab.call_s)
    passes = partial(_warmed, warm_up=10, measure=[(NEVER, measuring_s)])
    (base,), (variant,) = (lab.passes(passes(arm))[1:] for arm in (BASE, VARIANT))
    return base.astype(float), variant.astype(float)


def _warmed(arm: str, *, warm_up: int, measure: Sequence[tuple[int, float | None]]) -> list[Pass]:
    return [Pass(arm=arm, calls=warm_up), *(Pass(arm=arm, calls=calls, most_s=most_s) for calls, most_s in measure)]


def criterion(lab: Lab, seconds: float, seed: int) -> Pair:
    """One process per model, the first one's saved as baseline: 3/8 of its time warms up, 5/8 make 100 samples.

    A sample of `linear` sampling has 1, 2, 3... 100 times as many calls; where that takes over twice the time, all
    have as many (`flat`).
    """
    del seed
    own_s = max(lab.call_s, seconds / 2 - lab.start_s)
    counts = _criterion_counts(own_s * 5 / 8 / lab.call_s)

    def values(arm: str) -> Values:
        passes = [Pass(arm=arm, calls=NEVER, most_s=own_s * 3 / 8), *(Pass(arm=arm, calls=n) for n in counts)]
        return np.array([elapsed.mean() for elapsed in lab.passes(passes)[1:]])

    return values(BASE), values(VARIANT)


def _criterion_counts(calls: float) -> list[int]:
    samples, runs = 100, 100 * 101 // 2
    step = max(1, math.ceil(calls / runs))
    if step * runs > 2 * calls:
        return [max(1, math.ceil(calls / samples))] * samples
    return [step * number for number in range(1, samples + 1)]


def google(lab: Lab, seconds: float, seed: int) -> Pair:
    """One process per model, nine repetitions of equal length each."""
    del seed
    each_s = max(lab.call_s, (seconds / 2 - lab.start_s) / 9)
    passes = partial(_warmed, warm_up=1, measure=[(NEVER, each_s)] * 9)
    base, variant = (np.array([t.mean() for t in lab.passes(passes(arm))[1:]]) for arm in (BASE, VARIANT))
    return base, variant


# --- both in one process ---


def google_interleaved(lab: Lab, seconds: float, seed: int) -> Pair:
    """Both models in one process, nine repetitions of each in random order."""
    each_s = max(lab.call_s, (seconds - 2 * lab.start_s) / 18)
    drawn = np.random.default_rng(seed).permutation([BASE, VARIANT] * 9).tolist()
    warm_up = [Pass(arm=arm, calls=1) for arm in (BASE, VARIANT)]
    times = lab.passes([*warm_up, *(Pass(arm=arm, calls=NEVER, most_s=each_s) for arm in drawn)])[2:]
    base, variant = (
        np.array([t.mean() for t, own in zip(times, drawn, strict=True) if own == arm]) for arm in (BASE, VARIANT)
    )
    return base, variant


def tango(lab: Lab, seconds: float, seed: int) -> Pair:
    """Base and variant in turn, samples of 10 ms."""
    del seed
    calls = max(1, round(0.01 / lab.call_s))
    pairs = max(2, int(seconds / (2 * calls * lab.call_s)))
    in_turn = [Pass(arm=arm, calls=calls) for _ in range(pairs) for arm in (BASE, VARIANT)]
    means = np.array([elapsed.mean() for elapsed in lab.passes(in_turn, most_s=seconds - lab.start_s)])
    variant = means[1::2]
    return means[0::2][: len(variant)], variant


def paper(lab: Lab, seconds: float, seed: int) -> Pair:
    """One process: the base is made, and makes its pass, cold; then the variant. Nothing is repeated or warmed up."""
    del seed
    calls = calls_in(lab, seconds / 2 - lab.start_s)
    base, variant = lab.passes([Pass(arm=arm, calls=calls) for arm in (BASE, VARIANT)])
    return base.astype(float), variant.astype(float)


# --- rules ---


def beyond(ratio: float, reach: float) -> int:
    """Call a ratio that is further from 1 than `reach`."""
    return int(ratio > 1 + reach) - int(ratio < 1 - reach)


def propagated(pair: Pair, *, sigmas: float) -> int:
    """Call where 1 lies outside ratio +- sigmas * its propagated standard deviation; the faster one is divided by."""
    base, variant = pair
    sign = 1 if variant.mean() >= base.mean() else -1
    ratio = (variant.mean() / base.mean()) ** sign
    deviation = ratio * math.hypot(*(times.std(ddof=1) / times.mean() for times in pair))
    return sign if ratio - sigmas * deviation > 1 else 0


def student(pair: Pair) -> int:
    """Call by Student's t test at 95 %, all values taken for independent."""
    test = stats.ttest_ind(pair[1], pair[0])
    return int(np.sign(test.statistic)) if test.pvalue <= 0.05 else 0


def medians(pair: Pair, *, reach: float) -> int:
    """Call medians that differ by more than `reach`."""
    return beyond(float(np.median(pair[1]) / np.median(pair[0])), reach)


def totals(pair: Pair, *, reach: float) -> int:
    """Call totals that differ by more than `reach`."""
    return beyond(float(pair[1].sum() / pair[0].sum()), reach)


def bootstrapped(pair: Pair) -> int:
    """Call where p < 0.05 in a bootstrapped t test and the change's 95 % interval lies beyond 1 %."""
    base, variant = pair
    generator = np.random.default_rng(0)
    pooled = generator.choice(np.concatenate([variant, base]), (RESAMPLES, len(variant) + len(base)))
    resampled = _t(pooled[:, : len(variant)], pooled[:, len(variant) :])
    p = 2 * min(np.mean(resampled < _t(variant, base)), np.mean(resampled > _t(variant, base)))
    means = [generator.choice(times, (RESAMPLES, len(times))).mean(axis=1) for times in (variant, base)]
    low, high = np.quantile(means[0] / means[1] - 1, [0.025, 0.975])
    return (int(low > 0.01) - int(high < -0.01)) if p < 0.05 else 0


def _t(a: Values, b: Values) -> Any:
    error = np.sqrt(a.var(axis=-1, ddof=1) / a.shape[-1] + b.var(axis=-1, ddof=1) / b.shape[-1])
    return (a.mean(axis=-1) - b.mean(axis=-1)) / error


def mann_whitney(pair: Pair) -> int:
    """Call by the Mann-Whitney U test, p < 0.05; the direction is the medians'."""
    p = stats.mannwhitneyu(pair[1], pair[0], alternative="two-sided").pvalue
    return int(np.sign(np.median(pair[1]) - np.median(pair[0]))) if p < 0.05 else 0


def paired_z(pair: Pair, *, reach: float) -> int:
    """Call where the mean difference is 2.6 standard errors from 0, and beyond `reach` of the base."""
    difference = pair[1] - pair[0]
    z = difference.mean() / (difference.std(ddof=1) / math.sqrt(len(difference)))
    return beyond(1 + difference.mean() / pair[0].mean(), reach) if abs(z) >= 2.6 else 0


WAYS: tuple[Way, ...] = (
    Way(
        words="fresh processes, blocks of base, control and variant",
        measure=ours,
        rules={
            OURS: Rule(
                words='its verdict is "faster" or "slower"',
                source="precbench, timing/verdict.py",
                judge=lambda word: {"slower": 1, "faster": -1}.get(word, 0),
            )
        },
    ),
    Way(
        words="10 processes each, A then B",
        measure=hyperfine,
        rules={
            "hyperfine": Rule(
                words="1 lies outside ratio ± σ, as it prints them",
                source="sharkdp/hyperfine, src/benchmark/relative_speed.rs; the reading is its users'",
                judge=partial(propagated, sigmas=1),
            ),
            "hyperfine, careful": Rule(
                words="1 lies outside ratio ± 2 σ",
                source="the same",
                judge=partial(propagated, sigmas=2),
            ),
        },
    ),
    Way(
        words="up to 20 processes of 3 values each, A then B",
        measure=pyperf,
        rules={
            "pyperf": Rule(
                words="significant: Student's t, two-tailed, 95 %, over all values",
                source="psf/pyperf, doc/runner.rst; pyperf/_utils.py is_significant",
                judge=student,
            )
        },
    ),
    Way(
        words="one process each, A then B, 10 calls to warm up (perf_test: 1)",
        measure=perf_test,
        rules={
            f"perf_test, Olive, winml: {100 * reach:g} %": Rule(
                words=f"medians differ by more than {100 * reach:g} %",
                source="microsoft/onnxruntime, onnxruntime/test/perftest/performance_runner.cc; microsoft/Olive, "
                "olive/evaluator/metric_config.py; microsoft/winml-cli, docs/commands/perf.md. They print times and "
                "define no call; the threshold is a reader's",
                judge=partial(medians, reach=reach),
            )
            for reach in (0.01, 0.005)
        },
    ),
    Way(
        words="one process each, A saved as baseline, then B; 100 samples",
        measure=criterion,
        rules={
            "criterion.rs": Rule(
                words='"improved" or "regressed": bootstrapped t test p < 0.05, and the interval beyond 1 %',
                source="bheisler/criterion.rs, src/analysis/compare.rs; src/report.rs compare_to_threshold; src/lib.rs",
                judge=bootstrapped,
            )
        },
    ),
    Way(
        words="one process each, A then B, 9 repetitions",
        measure=google,
        rules={
            "Google Benchmark": Rule(
                words="compare.py: Mann-Whitney U, p < 0.05",
                source="google/benchmark, tools/gbench/report.py calc_utest; tools/compare.py; docs/tools.md",
                judge=mann_whitney,
            )
        },
    ),
    Way(
        words="both in one process, 9 repetitions each in random order (an option, off by default)",
        measure=google_interleaved,
        rules={
            "Google Benchmark, interleaved": Rule(
                words="compare.py: Mann-Whitney U, p < 0.05",
                source="google/benchmark, docs/random_interleaving.md; tools/gbench/report.py calc_utest",
                judge=mann_whitney,
            )
        },
    ),
    Way(
        words="in turn, samples of 10 ms (its newest version: at the same time, in two processes)",
        measure=tango,
        rules={
            "tango.rs": Rule(
                words="z of the paired differences beyond ± 2.6, and the change beyond 1 %",
                source="bazhenov/tango, tango-bench/src/lib.rs DiffEstimate; src/cli.rs noise_threshold",
                judge=partial(paired_z, reach=0.01),
            ),
            "tango.rs, threshold 0": Rule(
                words="z of the paired differences beyond ± 2.6",
                source="the same, --noise-threshold 0",
                judge=partial(paired_z, reach=0.0),
            ),
        },
    ),
    Way(
        words="one process, one pass each, the base first and cold",
        measure=paper,
        rules={
            "the paper": Rule(
                words="totals differ by more than 1 %",
                source="the study's description; it defines no call, the threshold is a reader's",
                judge=partial(totals, reach=0.01),
            )
        },
    ),
)
RULES = {name: (way, rule) for way in WAYS for name, rule in way.rules.items()}


# --- runs and tables ---


def all_ways(lab: Lab, seconds: float, seed: int) -> dict[str, Any]:
    """Measure every way once, in drawn order, so that the machine's mood hits all alike."""
    calls, spent_s = {}, {}
    for index in np.random.default_rng(seed).permutation(len(WAYS)).tolist():
        way, began = WAYS[index], lab.clock()
        measured = way.measure(lab, seconds, seed)
        for name, rule in way.rules.items():
            calls[name], spent_s[name] = rule.judge(measured), (lab.clock() - began) / 1e9
    return {"calls": calls, "spent_s": spent_s}


def simulate(job: tuple[Case, int]) -> dict[str, Any]:
    """Do one run on a simulated machine."""
    case, run = job
    seed = seed_of(case, run)
    effects = {BASE: 0.0, CONTROL: 0.0, VARIANT: case["effect"]}
    return all_ways(SimulatedLab(effects=effects, kind=KINDS[case["noise"]], seed=seed), case["budget_s"], seed)


def measure_here(job: tuple[Case, int], options: Namespace) -> dict[str, Any]:
    """Do one run on this machine."""
    case, run = job
    effects = {CONTROL: 0.0, VARIANT: case["effect"]}
    lab = RealLab(options.model, batch=options.batch, threads=options.threads, effects=effects)
    measured = with_load(lambda: all_ways(lab, case["budget_s"], seed_of(case, run)))
    return {**measured, "truth": lab.truth[VARIANT]}


def rows_of(results: Sequence[tuple[float, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Count each rule's false alarms, misses (a call in the wrong direction is one too) and wrong directions.

    Args:
        results: the true effect and what a run gave.
    """
    return [_row(name, results) for name in RULES]


def _row(name: str, results: Sequence[tuple[float, dict[str, Any]]]) -> dict[str, Any]:
    calls = {effect: [r["calls"][name] for e, r in results if e == effect] for effect in EFFECTS}
    differing = EFFECTS[1:]
    return {
        "rule": name,
        "runs_per_effect": len(calls[0.0]),
        "false_alarms": sum(call != 0 for call in calls[0.0]),
        "misses": {f"{effect:g}": sum(call <= 0 for call in calls[effect]) for effect in differing},
        "wrong_directions": sum(call < 0 for effect in differing for call in calls[effect]),
        "median_s": median(result["spent_s"][name] for _, result in results),
    }


def missed(row: Mapping[str, Any]) -> float:
    """Return the share of misses over all differences."""
    return float(sum(row["misses"].values()) / max(1, len(row["misses"]) * row["runs_per_effect"]))


def alarmed(row: Mapping[str, Any]) -> float:
    """Return the share of false alarms."""
    return float(row["false_alarms"] / max(1, row["runs_per_effect"]))


def text_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table, and who has the fewest misses of those that raise at most 5 % false alarms."""
    runs = max(1, rows[0]["runs_per_effect"])
    lines = [
        {
            "judged as": row["rule"],
            "a call": RULES[row["rule"]][1].words,
            "false alarms": percent(share(row["false_alarms"], row["runs_per_effect"])),
            **{f"misses {100 * float(e):g} %": f"{100 * count / runs:.1f} %" for e, count in row["misses"].items()},
            "wrong direction": f"{100 * row['wrong_directions'] / runs / len(row['misses']):.1f} %",
            "seconds": f"{row['median_s']:.0f}",
        }
        for row in rows
    ]
    return table(lines) + "\n" + best(rows) + "\n"


def best(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how the misses rank of those that raise at most 5 % false alarms."""
    ranked = sorted((row for row in rows if alarmed(row) <= 0.05), key=missed)
    words = ", ".join(f"{row['rule']} {100 * missed(row):.1f} %" for row in ranked)
    return f"At most 5 % false alarms; misses over all differences: {words or 'none'}."


def by_kind(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Write a table of false alarms / misses over all differences, a column per kind of noise."""

    def cell(row: Mapping[str, Any]) -> str:
        return f"{100 * alarmed(row):.0f} / {100 * missed(row):.0f} %"

    return table(
        [
            {"false alarms / misses": name, **{kind: cell(rows[kind][index]) for kind in rows}}
            for index, name in enumerate(RULES)
        ]
    )


def sources() -> str:
    """Write what each row measures and where its definition is from."""
    return table([{"judged as": name, "measures": w.words, "source": r.source} for name, (w, r) in RULES.items()])


def simulated(options: Namespace) -> None:
    """Do what is missing of the simulated runs, and write the tables."""
    work = Work(options.work, "peers_simulated")
    cases: list[Case] = [
        {"noise": kind, "budget_s": budget_s, "effect": effect}
        for budget_s in BUDGETS_S
        for kind in KINDS
        for effect in EFFECTS
    ]
    work.carry_out(cases, options.runs, simulate, jobs=options.jobs, log_each=100)

    def rows(budget_s: float, kinds: Sequence[str]) -> list[dict[str, Any]]:
        chosen = [case for case in cases if case["budget_s"] == budget_s and case["noise"] in kinds]
        return rows_of([(case["effect"], r) for case in chosen for r in work.results(case, options.runs)])

    texts, tables = [], []
    for budget_s in BUDGETS_S:
        all_kinds, each_kind = rows(budget_s, [*KINDS]), {kind: rows(budget_s, [kind]) for kind in KINDS}
        texts.append(f"## {budget_s} s\n\n{text_of(all_kinds)}\n{by_kind(each_kind)}\n")
        tables.append({"budget_s": budget_s, "every_kind": all_kinds, **each_kind})
    text = "".join(texts) + "## Sources\n\n" + sources()
    write_result(options.results, "peers_simulated", {"tables": tables}, text)


def real(options: Namespace) -> None:
    """Do what is missing of the runs here, and write the table."""
    work = Work(options.work, "peers_real")
    cases: list[Case] = [{**model_case(options), "budget_s": options.budget, "effect": effect} for effect in EFFECTS]
    work.carry_out(cases, options.runs, lambda job: measure_here(job, options), log_each=1)
    results = [(case["effect"], result) for case in cases for result in work.results(case, options.runs)]
    truths = {
        f"{effect:g}": sorted(result["truth"] for e, result in results if e == effect)[:: max(1, options.runs - 1)]
        for effect in EFFECTS[1:]
    }
    value = {
        **model_case(options),
        "budget_s": options.budget,
        "measured_effects": truths,
        "median_other_cores": median(result["other_cores"] for _, result in results),
        "rows": rows_of(results),
    }
    write_result(options.results, "peers_real", value, f"{text_of(value['rows'])}\n## Sources\n\n{sources()}")


def main() -> None:
    """Read the options and do what they say."""
    made, _, on_real = parts(__doc__, runs=200)
    on_real.add_argument("--budget", type=float, default=10, help="seconds of each way (default: %(default)s)")
    options = made.parse_args()
    simulated(options) if options.part == "simulated" else real(options)


if __name__ == "__main__":
    main()
