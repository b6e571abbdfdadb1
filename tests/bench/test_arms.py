"""Which sessions are timed, under which names, and which share a process."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.bench.arms import arm_names, line_up
from precbench.errors import UsageError

BASE, A, B = Path("base.onnx"), Path("a.onnx"), Path("b.onnx")


def test_base_control_and_variants_share_a_process_and_each_variant_is_held_against_the_control() -> None:
    line = line_up(BASE, [A, B])
    assert line.groups == (("base", "control", "a", "b"),)
    assert {name: arm.model for name, arm in line.arms.items()} == {"base": BASE, "control": BASE, "a": A, "b": B}
    assert [(c.arm, c.base, c.control) for c in line.comparisons] == [
        ("a", "base", "control"),
        ("b", "base", "control"),
    ]


def test_denormals_off_has_processes_of_its_own_with_a_base_and_a_control_of_their_own() -> None:
    line = line_up(BASE, [A], denormals_off=True)
    assert line.groups == (("base", "control", "a"), ("base alone",), ("control alone",), ("denormals-off",))
    assert [name for name, arm in line.arms.items() if arm.denormals_as_zero] == ["denormals-off"]
    assert line.arms["denormals-off"].model == BASE
    last = line.comparisons[-1]
    assert (last.arm, last.base, last.control) == ("denormals-off", "base alone", "control alone")


def test_denormals_off_alone_needs_no_variant() -> None:
    line = line_up(BASE, [], denormals_off=True)
    assert line.groups == (("base alone",), ("control alone",), ("denormals-off",))
    assert len(line.comparisons) == 1


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(UsageError, match="no variant") as caught:
        line_up(BASE, [])
    assert "BASE.onnx VARIANT.onnx" in caught.value.remedy


def test_names_are_stems_or_else_paths_or_else_numbered_paths() -> None:
    assert arm_names([A, B]) == ["a", "b"]
    assert arm_names([Path("x/a.onnx"), Path("y/a.onnx")]) == ["x/a.onnx", "y/a.onnx"]
    assert arm_names([A, A]) == ["1: a.onnx", "2: a.onnx"]


@pytest.mark.parametrize("name", ["base", "control", "base alone", "control alone", "denormals-off"])
def test_a_variant_never_takes_the_name_of_an_arm_that_there_is_anyway(name: str) -> None:
    assert arm_names([Path(f"{name}.onnx")]) == [f"{name}.onnx"]
    assert arm_names([Path(name)]) == [f"1: {name}"]


@given(st.lists(st.sampled_from(["a.onnx", "x/a.onnx", "b", "base", "control.onnx", "1: a.onnx", "denormals-off"])))
def test_names_are_always_all_different_and_none_is_taken(paths: list[str]) -> None:
    names = arm_names([Path(path) for path in paths])
    assert len(set(names)) == len(names) == len(paths)
    assert not {"base", "control", "base alone", "control alone", "denormals-off"} & set(names)


def test_the_base_may_be_compared_with_itself() -> None:
    line = line_up(BASE, [BASE])
    assert line.groups == (("base", "control", "base.onnx"),)
