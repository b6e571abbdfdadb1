"""Each warning is there where it should be, once and with a remedy, and nowhere else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from precbench.bench.arms import line_up
from precbench.bench.caveats import (
    Caveat,
    about_the_batches,
    about_the_machine,
    about_the_measurement,
    about_the_models,
    about_the_profile,
    about_the_session,
)
from precbench.bench.gate import Gate, GatedModel
from precbench.errors import ModelError
from precbench.runtime.load import Load
from precbench.timing.statistics import BATCH
from precbench.timing.verdict import Verdict

BASE, VARIANT = Path("base.onnx"), Path("v.onnx")
QUIET = Load(other_cores=0.05, steal_share=0.001, wall_s=10.0)
HERE = {"cpu_count": 4, "affinity": [0, 1, 2, 3], "cpu_limit": None, "governor": "performance",
        "denormals_are_zero": False}  # fmt: skip
STEADY = [[10**6] * 3] * 9
Make = Callable[..., Any]


def only(caveats: list[Caveat], problem: str, remedy: str) -> None:
    assert len(caveats) == 1, caveats
    assert problem in caveats[0].problem
    assert remedy in caveats[0].remedy
    assert caveats[0].to_json() == {"problem": caveats[0].problem, "remedy": caveats[0].remedy}


def gate(*, subnormals: int = 0, of_the_base: int = 0, difference: str | None = None, provider: str = "cpu") -> Gate:
    def model(path: Path, count: int, different: str | None) -> GatedModel:
        return GatedModel(path=path, digest="sha256:0", file_bytes=1, subnormals=count, difference=different, files=())

    models = {BASE: model(BASE, of_the_base, None), VARIANT: model(VARIANT, subnormals, difference)}
    return Gate(models=models, session={}, provider=provider)


LINE = line_up(BASE, [VARIANT])


def test_models_that_are_the_base_rounded_need_no_warning() -> None:
    assert about_the_models(LINE, gate()) == []


def test_another_graph_is_said_to_be_one() -> None:
    only(about_the_models(LINE, gate(difference="node 3 is Relu")), "v is another graph than the base (node 3", "read")


def test_subnormal_weights_on_the_cpu_are_said_once() -> None:
    only(about_the_models(LINE, gate(of_the_base=7)), "base has 7 subnormal weights", "add --arm denormals-off")
    only(about_the_models(LINE, gate(subnormals=1234)), "v has 1,234 subnormal weights", "give v as the base")
    assert about_the_models(line_up(BASE, [VARIANT], denormals_off=True), gate(subnormals=1234)) == []
    assert about_the_models(LINE, gate(subnormals=1234, provider="cuda")) == []


def test_a_quiet_machine_needs_no_warning() -> None:
    assert about_the_machine(HERE, QUIET, 4) == []


@pytest.mark.parametrize(
    ("environment", "load", "threads", "problem", "remedy"),
    [
        ({}, Load(other_cores=0.7, steal_share=None, wall_s=9.0), 1, "other processes used 0.70 cores", "stop them"),
        ({}, Load(other_cores=0, steal_share=0.2, wall_s=9.0), 1, "the hypervisor gave 20.0 %", "of your own"),
        ({}, QUIET, 5, "5 threads share 4 cores", "--threads 4"),
        ({"cpu_limit": 1.5}, QUIET, 2, "2 threads share 1.5 cores", "--threads 1"),
        ({"affinity": [0]}, QUIET, 2, "2 threads share 1 cores", "--threads 1"),
        ({"cpu_limit": 0.5}, QUIET, 1, "1 threads share 0.5 cores", "--threads 1"),
        ({"governor": "powersave"}, QUIET, 1, "the CPU governor is powersave", "cpupower"),
        ({"denormals_are_zero": True}, QUIET, 1, "flushes subnormal numbers", "a fresh process"),
    ],
)
def test_a_busy_or_odd_machine_is_named(
    environment: dict[str, Any], load: Load, threads: int, problem: str, remedy: str
) -> None:
    only(about_the_machine({**HERE, **environment}, load, threads), problem, remedy)


def test_a_machine_of_which_nothing_is_known_needs_no_warning() -> None:
    assert about_the_machine({}, QUIET, 64) == []


def test_tf32_is_said_where_it_is_allowed() -> None:
    placed = {"placement": {"CUDAExecutionProvider": 3}}
    only(about_the_session({**placed, "tf32": "allowed"}), "TF32 is allowed", "--ep-option use_tf32=0")
    assert about_the_session({**placed, "tf32": "off"}) == about_the_session({**placed, "tf32": "no GPU"}) == []


def test_a_model_of_which_nothing_is_left_to_run_is_said_to_be_one() -> None:
    only(about_the_session({"placement": {}, "tf32": "no GPU"}), "no node is left to run", "an empty call")


def test_batch_sizes_of_which_nothing_was_measured_are_named() -> None:
    only(about_the_batches([1, 32, None], 1), "nothing was measured at batch 32, ?", "--budget")
    assert about_the_batches([1, 32], 2) == []


def test_a_good_measurement_needs_no_warning(measurement_of: Make) -> None:
    assert about_the_measurement(measurement_of()) == []


@pytest.mark.parametrize("ended", ["budget spent", "width reached", "plan done"])
def test_what_ended_as_it_should_is_not_partial(measurement_of: Make, ended: str) -> None:
    assert about_the_measurement(measurement_of(ended=ended)) == []


@pytest.mark.parametrize("ended", ["interrupted", "failed: it broke"])
def test_what_ended_early_is_partial(measurement_of: Make, ended: str) -> None:
    only(about_the_measurement(measurement_of(ended=ended)), f"partial: it ended before its time ({ended})", "wider")


def test_fewer_processes_than_asked_for_are_said(measurement_of: Make) -> None:
    only(about_the_measurement(measurement_of(asked=5)), "room for 1 of the 5 processes", "--budget")
    assert about_the_measurement(measurement_of(asked=1)) == []


def test_lost_processes_are_named_three_at_most(measurement_of: Make, process_of: Make) -> None:
    lost = [process_of(STEADY, process=n, ended="killed by SIGKILL") for n in range(5)]
    found = about_the_measurement(measurement_of(lost))
    assert [caveat.problem for caveat in found] == [
        f"process {n} was killed by SIGKILL in block 9, which is lost" for n in range(3)
    ]
    assert all("--batch" in caveat.remedy for caveat in found)


def test_what_was_interrupted_or_failed_is_not_lost(measurement_of: Make, process_of: Make) -> None:
    for more in ({"ended": "interrupted"}, {"ended": "failed: x", "failure": ModelError("x", "y")}):
        assert about_the_measurement(measurement_of([process_of(STEADY, **more)])) == []


def test_a_single_process_has_seen_no_other(measurement_of: Make, finding_of: Make, ratio_of: Make) -> None:
    one = finding_of(ratio=ratio_of(1.0, 0.999, 1.001, BATCH))
    only(
        about_the_measurement(measurement_of(findings=[one])), "one process: how processes differ", "a longer --budget"
    )
    asked = about_the_measurement(measurement_of(findings=[one, one], asked=1))
    only(asked, "the session made first takes longest", "5 or more")


@pytest.mark.parametrize("processes", [2, 4, 5])
def test_few_processes_are_said_to_be_few(measurement_of: Make, process_of: Make, processes: int) -> None:
    found = about_the_measurement(measurement_of([process_of(STEADY, process=number) for number in range(processes)]))
    if processes < 5:
        only(found, f"{processes} processes alone", "a longer --budget")
    else:
        assert found == []
    assert ("made first" in str(found)) is (processes < 3)


def test_processes_that_never_were_steady_are_counted(measurement_of: Make, process_of: Make) -> None:
    mixed = [process_of(STEADY, process=n, steady=n > 1) for n in range(5)]
    only(about_the_measurement(measurement_of(mixed)), "2 of 5 processes saw no steady state", "--budget")
    assert about_the_measurement(measurement_of(mixed[1:])) != []
    steady = [process_of(STEADY, process=n) for n in range(5, 7)]
    assert about_the_measurement(measurement_of([*mixed[1:], *steady])) == []


def test_an_arm_that_is_far_off_in_a_few_processes_is_named(measurement_of: Make, process_of: Make) -> None:
    calm = [process_of([[10**6, 10**6, 10**6 + 100 * number]] * 3, process=number) for number in range(19)]
    wild = process_of([[10**6, 10**6, 2 * 10**6]] * 3, process=19)
    assert about_the_measurement(measurement_of(calm)) == []
    problem = "variant was far off its usual ratio in 1 of 20 processes, furthest 2.00"
    only(about_the_measurement(measurement_of([*calm, wild])), problem, "look at these processes")


@pytest.mark.parametrize(("last", "word"), [(1_100_000, "slower"), (900_000, "faster")])
def test_drift_within_processes_is_said(measurement_of: Make, process_of: Make, last: int, word: str) -> None:
    times = [[10**6] * 3] * 3 + [[(10**6 + last) // 2] * 3] * 3 + [[last] * 3] * 3
    only(about_the_measurement(measurement_of([process_of(times)])), f"% {word} within a process", "--budget")


def test_calls_of_a_few_microseconds_are_said_to_be_short(measurement_of: Make, process_of: Make) -> None:
    short = measurement_of([process_of([[3_000] * 3] * 9)])
    only(about_the_measurement(short), "a call takes 3.0 µs", "--batch")


def test_a_base_that_differs_from_itself_is_said_once(measurement_of: Make, finding_of: Make, ratio_of: Make) -> None:
    apart = ratio_of(1.01, 1.005, 1.015)
    findings = [finding_of(arm=name, control=apart) for name in ("variant", "other")]
    only(about_the_measurement(measurement_of(findings=findings)), "[1.0050, 1.0150]", "--seed")


def test_a_margin_that_cannot_be_resolved_names_the_budget_that_would(measurement_of: Make, finding_of: Make) -> None:
    findings = [finding_of(Verdict.INCONCLUSIVE, widening=3.0), finding_of(Verdict.INCONCLUSIVE, widening=12.6)]
    only(about_the_measurement(measurement_of(findings=findings)), "could not resolve a margin of 1 %", "--budget 130s")
    findings = [finding_of(Verdict.INCONCLUSIVE, widening=60.0)]
    only(about_the_measurement(measurement_of(findings=findings)), "a margin of 1 % for variant", "--budget 10m")


def test_with_so_many_processes_and_no_more_a_longer_budget_is_not_advised(
    measurement_of: Make, finding_of: Make
) -> None:
    findings = [finding_of(Verdict.INCONCLUSIVE, widening=12.6)]
    found = about_the_measurement(measurement_of(findings=findings, asked=1))
    only(found, "could not resolve a margin of 1 %", "leave --processes out, or give more")
    assert "--budget" not in found[0].remedy


def test_a_budget_that_batch_sizes_share_is_named_for_all_of_them(measurement_of: Make, finding_of: Make) -> None:
    findings = [finding_of(Verdict.INCONCLUSIVE, widening=12.6)]
    only(about_the_measurement(measurement_of(findings=findings, family=2)), "could not resolve", "--budget 250s")


def test_a_target_width_that_was_not_reached_is_said_with_the_budget_that_would_do(
    measurement_of: Make, finding_of: Make, ratio_of: Make
) -> None:
    wide, narrow = ratio_of(1.0, 0.995, 1.005), ratio_of(1.0, 0.999, 1.001)
    findings = [finding_of(arm="a", ratio=narrow), finding_of(arm="b", ratio=wide)]
    missed = measurement_of(findings=findings, target_width=0.005)
    only(about_the_measurement(missed), "0.5 % was asked for and 1.00 % reached: the interval of b", "--budget 40s")
    controlled = measurement_of(findings=[finding_of(ratio=narrow, control=wide)], target_width=0.005)
    only(about_the_measurement(controlled), "the interval of control is the widest", "--budget 40s")


def test_a_target_width_missed_with_so_many_processes_asks_for_more_of_them(
    measurement_of: Make, finding_of: Make, ratio_of: Make
) -> None:
    findings = [finding_of(ratio=ratio_of(1.0, 0.995, 1.005))]
    found = about_the_measurement(measurement_of(findings=findings, target_width=0.005, asked=1))
    only(found, "0.5 % was asked for", "leave --processes out, or give more")
    assert "--budget" not in found[0].remedy


def test_a_target_width_that_was_reached_or_has_no_interval_needs_no_such_warning(
    measurement_of: Make, finding_of: Make, ratio_of: Make
) -> None:
    assert about_the_measurement(measurement_of(target_width=0.005)) == []
    none = ratio_of(1.0, None, None)
    bare = measurement_of(findings=[finding_of(ratio=none, control=none)], target_width=0.005)
    only(about_the_measurement(bare), "too little was measured", "--budget")


def test_too_little_for_an_interval_is_said_with_what_to_do(
    measurement_of: Make, finding_of: Make, ratio_of: Make
) -> None:
    bare = finding_of(Verdict.INCONCLUSIVE, ratio=ratio_of(1.0, None, None), control=ratio_of(1.0, None, None))
    only(about_the_measurement(measurement_of(findings=[bare])), "too little was measured for an interval", "--budget")


def test_a_gpu_that_was_held_back_is_said_with_its_reasons(measurement_of: Make, process_of: Make) -> None:
    def reading(*reasons: str) -> dict[str, Any]:
        return {"throttle_reasons": list(reasons)}

    idle = [reading("gpu_idle"), reading(), {"throttle_reasons": None}] * 3
    assert about_the_measurement(measurement_of([process_of(STEADY, readings=idle)])) == []
    hot = [*idle[:-1], reading("gpu_idle", "sw_power_cap", "hw_slowdown")]
    only(
        about_the_measurement(measurement_of([process_of(STEADY, readings=hot)])),
        "held back after 1 of 9 blocks (hw_slowdown, sw_power_cap)",
        "lock its clocks",
    )


def profile_of(*, accounted_ns: float, share: float | None) -> dict[str, Any]:
    return {"comparisons": [{"arm": "variant", "accounted_ns": accounted_ns, "accounted_share": share}]}


def test_a_gap_that_no_node_accounts_for_is_flagged(measurement_of: Make, finding_of: Make) -> None:
    slower = measurement_of(findings=[finding_of(Verdict.SLOWER)])
    for nothing in (
        profile_of(accounted_ns=0.0, share=0.0),
        profile_of(accounted_ns=0.0, share=None),
        profile_of(accounted_ns=-500.0, share=1.0),
    ):
        only(about_the_profile(slower, nothing), "variant is slower, and no node's time accounts", "do not believe it")
    faster = measurement_of(findings=[finding_of(Verdict.FASTER)])
    only(about_the_profile(faster, profile_of(accounted_ns=9.0, share=1.0)), "variant is faster", "do not believe it")


def test_a_gap_of_which_nodes_account_for_less_than_half_is_flagged_with_the_share(
    measurement_of: Make, finding_of: Make
) -> None:
    slower = measurement_of(findings=[finding_of(Verdict.SLOWER)])
    for share, words in ((0.001, "0.1 %"), (0.4, "40 %"), (-0.2, "-20 %")):
        found = about_the_profile(slower, profile_of(accounted_ns=1000.0, share=share))
        only(found, f"variant is slower, and the nodes that differ account for {words} of its gap", "do not believe it")


def test_a_gap_that_nodes_account_for_and_no_gap_are_not_flagged(measurement_of: Make, finding_of: Make) -> None:
    slower = measurement_of(findings=[finding_of(Verdict.SLOWER)])
    for share in (0.5, 1.0, 1.7):
        assert about_the_profile(slower, profile_of(accounted_ns=500.0, share=share)) == []
    for verdict in (Verdict.EQUIVALENT, Verdict.INCONCLUSIVE):
        equal = measurement_of(findings=[finding_of(verdict)])
        assert about_the_profile(equal, profile_of(accounted_ns=0.0, share=None)) == []


def test_a_profile_that_there_is_not_is_said(measurement_of: Make) -> None:
    only(about_the_profile(measurement_of(), None), "there is no profile", "--profile")
