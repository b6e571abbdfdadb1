"""Which nodes account for a gap."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from precbench.bench import profile as profile_module
from precbench.bench.arms import line_up
from precbench.bench.benchmark import benchmark
from precbench.bench.options import TimingOptions
from precbench.bench.profile import MOST_NODES, REPLICATES, account, profile
from precbench.bench.profile_child import _usual
from precbench.errors import ModelError
from precbench.runtime.profiling import NodeTime
from precbench.timing.processes import Outcome

from .conftest import CPU, batches_of, network

Nodes = dict[tuple[str, str], float]


def replicates(*pairs: tuple[Nodes, Nodes]) -> list[dict[str, Nodes]]:
    """With a control that is just like the base."""
    return [{"base": base, "arm": arm, "control": base} for base, arm in pairs]


def nodes(**times_ns: float) -> Nodes:
    return {(name, "Conv"): time_ns for name, time_ns in times_ns.items()}


NOISE = (-3.0, 2.0, 1.0, -2.0, 3.0, -1.0, 2.0, -2.0)


def test_a_node_that_is_slower_is_found_and_noise_is_not() -> None:
    told = account(
        replicates(*((nodes(a=100, b=50), nodes(a=200 + noise, b=50 + noise)) for noise in NOISE)),
        "arm",
        "base",
        "control",
    )
    assert told["nodes_that_differ"] == 1
    first, second = told["nodes"]
    assert (first["name"], first["op_type"], first["differs"]) == ("a", "Conv", True)
    assert (second["name"], second["differs"]) == ("b", False)
    assert (first["base_ns"], first["arm_ns"], first["difference_ns"]["point"]) == (100, 200, 100)
    assert told["accounted_ns"] == pytest.approx(100)
    assert told["accounted_share"] == pytest.approx(1.0)
    assert told["base_ns"] == 150
    json.dumps(told, allow_nan=False)


def test_the_interval_of_a_node_is_students_at_a_level_shared_among_the_nodes() -> None:
    told = account(replicates(*((nodes(a=0, b=0), nodes(a=noise, b=0)) for noise in NOISE)), "arm", "base", "control")
    node = next(node for node in told["nodes"] if node["name"] == "a")
    deviation = math.sqrt(sum(noise**2 for noise in NOISE) / 7)  # their mean is 0
    half = deviation / math.sqrt(8) * stats.t.isf(0.05 / 2 / 2, 7)
    assert node["difference_ns"] == pytest.approx({"point": 0, "low": -half, "high": half})
    whole = deviation / math.sqrt(8) * stats.t.isf(0.05 / 2, 7)
    assert told["gap_ns"] == pytest.approx({"point": 0, "low": -whole, "high": whole})


def test_many_comparisons_share_the_level_as_nodes_do() -> None:
    times = replicates(*((nodes(a=100, b=0), nodes(a=102 + noise, b=noise)) for noise in NOISE))
    one, nine = (account(times, "arm", "base", "control", comparisons=n) for n in (1, 9))
    deviation = math.sqrt(sum(noise**2 for noise in NOISE) / 7)
    half = deviation / math.sqrt(8) * stats.t.isf(0.05 / 2 / 2 / 9, 7)
    node = next(node for node in nine["nodes"] if node["name"] == "a")
    assert node["difference_ns"] == pytest.approx({"point": 2, "low": 2 - half, "high": 2 + half})
    assert one["gap_ns"] == nine["gap_ns"]


def test_what_would_differ_in_one_comparison_does_not_in_one_of_nine() -> None:
    times = replicates(*((nodes(a=100), nodes(a=102.5 + noise)) for noise in NOISE))
    assert account(times, "arm", "base", "control")["nodes_that_differ"] == 1
    assert account(times, "arm", "base", "control", comparisons=9)["nodes_that_differ"] == 0


def test_a_profile_tells_account_how_many_comparisons_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = ("base", "control", "a", "b")
    times = [{arm: nodes(n=102.5 + noise if arm in "ab" else 100) for arm in arms} for noise in NOISE]
    monkeypatch.setattr(profile_module, "_profile_once", lambda _line, _request, number, _seed: times[number])
    told = profile(line_up(Path("base.onnx"), [Path("a.onnx"), Path("b.onnx")]), {}, seed=0)["comparisons"]
    lone = account(times, "a", "base", "control")["nodes"][0]["difference_ns"]
    assert [one["nodes"][0]["difference_ns"]["low"] < lone["low"] for one in told] == [True, True]


def test_the_share_of_the_gap_that_nodes_account_for_is_told() -> None:
    alternating = (-3000.0, 3000.0)
    pairs = [(nodes(a=100, b=9000), nodes(a=101, b=10000 + noise)) for noise in alternating * 4]
    told = account(replicates(*pairs), "arm", "base", "control")
    assert (told["nodes_that_differ"], told["accounted_ns"]) == (1, 1)
    assert told["accounted_share"] == pytest.approx(1 / 1001)


def test_nodes_that_only_one_side_has_count_as_nothing_on_the_other() -> None:
    told = account(replicates(*[(nodes(old=70), nodes(new=100))] * 3), "arm", "base", "control")
    assert {node["name"]: node["difference_ns"]["point"] for node in told["nodes"]} == {"new": 100, "old": -70}
    assert told["nodes_that_differ"] == 2
    assert told["accounted_ns"] == told["gap_ns"]["point"] == 30


def test_nodes_of_one_name_and_two_kinds_are_two_nodes() -> None:
    pairs = [({("n", "Conv"): 10.0}, {("n", "FusedConv"): 30.0})] * 3
    assert {node["op_type"] for node in account(replicates(*pairs), "arm", "base", "control")["nodes"]} == {
        "Conv",
        "FusedConv",
    }


def test_the_same_nodes_do_not_differ() -> None:
    told = account(replicates(*[(nodes(a=9, b=8), nodes(a=9, b=8))] * 4), "arm", "base", "control")
    assert (told["nodes_that_differ"], told["accounted_ns"], told["gap_ns"]["point"]) == (0, 0, 0)
    assert told["accounted_share"] is None


def test_a_node_that_differs_no_more_than_the_control_s_does_not_differ() -> None:
    times = [{"base": nodes(a=100), "arm": nodes(a=104), "control": nodes(a=control)} for control in (97, 103, 99, 96)]
    assert account(times, "arm", "base", "control")["nodes_that_differ"] == 0
    assert account(times, "arm", "base", "base")["nodes_that_differ"] == 1


def test_one_replicate_tells_nothing_apart() -> None:
    told = account(replicates((nodes(a=1), nodes(a=900))), "arm", "base", "control")
    assert told["nodes_that_differ"] == 0
    assert told["gap_ns"] == {"point": 899, "low": None, "high": None}
    json.dumps(told, allow_nan=False)


def test_of_many_nodes_those_that_differ_come_first_and_ten_are_kept() -> None:
    base = nodes(**{f"n{i}": 100.0 for i in range(30)})
    arms = [nodes(**{f"n{i}": 100.0 + (1000 + i if i > 24 else 50 * noise) for i in range(30)}) for noise in NOISE]
    told = account(replicates(*((base, arm) for arm in arms)), "arm", "base", "control")
    assert told["nodes_that_differ"] == 5
    assert len(told["nodes"]) == MOST_NODES
    assert [node["name"] for node in told["nodes"][:5]] == ["n29", "n28", "n27", "n26", "n25"]


def test_models_without_a_node_have_no_gap() -> None:
    told = account(replicates(({}, {}), ({}, {})), "arm", "base", "control")
    assert (told["nodes"], told["gap_ns"]["point"], told["base_ns"]) == ([], 0, 0)


def test_a_profiling_process_tells_of_a_node_what_is_read() -> None:
    node = NodeTime(name="a", op_type="Conv", provider="CPUExecutionProvider", elapsed_ns=[9000, 10, 20, 30] * 2)
    assert _usual(node) == {"name": "a", "op_type": "Conv", "usual_ns": 20.0}


def outcome(**changes: Any) -> Outcome:
    return Outcome(**{"ended": "done", "failure": None, "records": [], "result": None, **changes})


def test_a_replicate_whose_process_is_killed_is_left_out(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {arm: [{"name": "a", "op_type": "Conv", "usual_ns": 5.0}] for arm in ("base", "control", "net.dp1")}
    outcomes = iter([outcome(ended="killed by SIGKILL"), *[outcome(result=told)] * REPLICATES])
    monkeypatch.setattr(profile_module, "run_child", lambda *_arguments: next(outcomes))
    line = line_up(models / "net.onnx", [models / "net.dp1.onnx"])
    assert profile(line, {}, seed=0)["replicates"] == REPLICATES - 1


def test_groups_take_turns_in_an_order_drawn_from_the_seed_per_replicate(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = list[tuple[int, tuple[str, ...]]]()

    def run(_module: str, call: Any) -> Outcome:
        plan = call["plan"]
        orders.append((plan["process"], tuple(plan["arms"])))
        node = {"name": "a", "op_type": "Conv", "usual_ns": 5.0}
        return outcome(result={arm: [node] for arm in plan["arms"]})

    monkeypatch.setattr(profile_module, "run_child", run)
    line = line_up(models / "net.onnx", [models / "net.dp1.onnx"], denormals_off=True)
    drawn = []
    for seed in (0, 0, 1):
        orders.clear()
        profile(line, {}, seed=seed)
        assert [process for process, _ in orders] == list(range(4 * REPLICATES))
        drawn.append([tuple(arms for _, arms in orders[4 * i : 4 * i + 4]) for i in range(REPLICATES)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) > REPLICATES // 2
    assert all(sorted(order) == sorted(line.groups) for order in drawn[0])


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ({"ended": "killed by SIGKILL"}, ModelError),
        ({"ended": "interrupted"}, KeyboardInterrupt),
        ({"ended": "failed: x", "failure": ModelError("x", "y")}, ModelError),
    ],
)
def test_a_profile_that_cannot_be_made_is_an_error(
    models: Path, monkeypatch: pytest.MonkeyPatch, ending: dict[str, Any], error: type[BaseException]
) -> None:
    monkeypatch.setattr(profile_module, "run_child", lambda *_arguments: outcome(**ending))
    with pytest.raises(error):
        profile(line_up(models / "net.onnx", [models / "net.dp1.onnx"]), {}, seed=0)


@pytest.mark.slow
def test_a_variant_that_is_truly_heavier_is_found_by_its_heavy_node(models: Path, tmp_path: Path) -> None:
    heavy = network(tmp_path / "heavy.onnx", width=2048)
    base = models / "net.onnx"
    options = TimingOptions(budget_s=5.0, profile=True)
    result = benchmark(base, [heavy], settings=CPU, inputs=batches_of(base, 64), options=options)
    (batch,) = result.batches
    assert (batch.measurement.findings[0].ratio.point or 0) > 2
    assert batch.profile is not None
    (told,) = batch.profile["comparisons"]
    assert batch.profile["replicates"] == REPLICATES
    assert told["gap_ns"]["low"] > 0
    assert told["nodes"][0]["differs"]
    assert told["accounted_ns"] > 0.8 * told["gap_ns"]["point"]
    assert {node["name"] for node in told["nodes"] if node["differs"]} >= {"second"}
    assert not any("accounts for it" in caveat.problem for caveat in batch.caveats)
    json.dumps(result.to_json(), allow_nan=False)
