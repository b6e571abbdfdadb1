"""From an experiment to its points."""

import pytest

from precbench.errors import TargetError, UsageError
from precbench.graph import Initializer, Role
from precbench.study.definition import ExperimentSection
from precbench.study.experiments import points_of

GROUPS = {"stem": "stem/kernel", "expand": "b1_expand/kernel", "expand#": "b2_expand/kernel", None: "head/kernel"}


def initializers(*, grouped: bool = True) -> list[Initializer]:
    return [
        Initializer(
            position=position,
            name=name,
            layer=name.partition("/")[0],
            group=group.rstrip("#") if group and grouped else None,
            role=Role.WEIGHT,
            op_types=("Conv",),
            dtype="FLOAT",
            shape=(2, 2),
        )
        for position, (group, name) in enumerate(GROUPS.items())
    ]


def plans(experiment: ExperimentSection, **options: bool) -> dict[str, dict[str, int]]:
    return {
        point.name: {name: int(str(grid).removeprefix("decimal:")) for name, grid in point.plan.grids.items()}
        for point in points_of(experiment, initializers(**options))
    }


def test_all_is_every_target_at_each_number_of_decimals() -> None:
    asked = ExperimentSection(name="1", targets="all", decimals=(4, 1))
    targets = ["stem/kernel", "b1_expand/kernel", "b2_expand/kernel"]
    assert plans(asked) == {"dp4": dict.fromkeys(targets, 4), "dp1": dict.fromkeys(targets, 1)}
    assert plans(asked, grouped=False)["dp1"] == dict.fromkeys([*targets, "head/kernel"], 1)


def test_each_group_alone() -> None:
    assert plans(ExperimentSection(name="2", targets="each-group", decimals=(1, 2))) == {
        "stem.dp1": {"stem/kernel": 1},
        "stem.dp2": {"stem/kernel": 2},
        "expand.dp1": {"b1_expand/kernel": 1, "b2_expand/kernel": 1},
        "expand.dp2": {"b1_expand/kernel": 2, "b2_expand/kernel": 2},
    }


def test_each_layer_that_has_a_target_alone() -> None:
    assert plans(ExperimentSection(name="4", targets="each-layer", decimals=(3,))) == {
        "stem.dp3": {"stem/kernel": 3},
        "b1_expand.dp3": {"b1_expand/kernel": 3},
        "b2_expand.dp3": {"b2_expand/kernel": 3},
    }


def test_combinations_are_those_listed_and_those_crossed() -> None:
    asked = ExperimentSection(
        name="3", targets="combinations", combinations=({"stem": 9},), factorial={"stem": (1, 2), "expand": (5,)}
    )
    assert plans(asked) == {
        "stem.dp9": {"stem/kernel": 9},
        "stem.dp1,expand.dp5": {"stem/kernel": 1, "b1_expand/kernel": 5, "b2_expand/kernel": 5},
        "stem.dp2,expand.dp5": {"stem/kernel": 2, "b1_expand/kernel": 5, "b2_expand/kernel": 5},
    }


def test_a_group_that_the_model_lacks_is_named_with_the_nearest() -> None:
    asked = ExperimentSection(name="mine", targets="combinations", combinations=({"expnd": 4},))
    with pytest.raises(TargetError, match=r"experiment 'mine' names the group 'expnd'.*\nthe nearest is expand"):
        points_of(asked, initializers())


def test_each_group_of_a_model_without_groups_is_refused() -> None:
    with pytest.raises(TargetError, match=r"the model names no groups\nname them in \[groups\]"):
        points_of(ExperimentSection(name="2", targets="each-group", decimals=(1,)), initializers(grouped=False))


def test_a_design_without_end_is_refused() -> None:
    many = [
        Initializer(
            position=n,
            name=f"l{n}/kernel",
            layer=f"l{n}",
            group=f"g{n}",
            role=Role.WEIGHT,
            op_types=("Conv",),
            dtype="FLOAT",
            shape=(1,),
        )
        for n in range(5)
    ]
    asked = ExperimentSection(
        name="3", targets="combinations", factorial={f"g{n}": tuple(range(1, 10)) for n in range(5)}
    )
    with pytest.raises(UsageError, match=r"more than 10,000 points\ngive fewer levels"):
        points_of(asked, many)


def test_a_combination_that_is_listed_and_crossed_is_one_point() -> None:
    asked = ExperimentSection(
        name="3",
        targets="combinations",
        combinations=({"stem": 2, "expand": 3}, {"expand": 3, "stem": 2}),
        factorial={"stem": (2, 3), "expand": (3,)},
    )
    assert [*plans(asked)] == ["stem.dp2,expand.dp3", "stem.dp3,expand.dp3"]
