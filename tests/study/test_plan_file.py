"""A plan file says what a person wrote, and what was written is read back."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.errors import TargetError, UsageError
from precbench.graph.initializers import Initializer, Role
from precbench.grids import DecimalGrid, parse_grid
from precbench.grids.parsing import EXAMPLES
from precbench.study.plan_file import plan_text, read_plan

SCALARS = st.characters(exclude_categories=["Cs"])
DIGEST = f"sha256:{'ab' * 32}"


def initializer(position: int, name: str) -> Initializer:
    return Initializer(
        position=position, name=name, layer=name.rpartition("/")[0], group=None, role=Role.WEIGHT, op_types=("Conv",),
        dtype="FLOAT", shape=(2, 2),
    )  # fmt: skip


INITIALIZERS = [initializer(n, f"{layer}/kernel") for n, layer in enumerate(["stem", "block_1", "block_2", "head"])]


def written(path: Path, text: str) -> Path:
    path.write_text(f"schema_version = 1\n{text}", encoding="utf-8")
    return path


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(EXAMPLES), min_size=1
    ),
    st.lists(st.text(SCALARS)),
)
def test_what_is_written_is_read_back(tmp_path_factory: Any, texts: dict[str, str], about: list[str]) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    grids = {name: parse_grid(text) for name, text in texts.items()}
    path.write_text(plan_text(grids, model=DIGEST, about=about), encoding="utf-8", newline="")
    found = read_plan(path)
    assert list(found.grids.items()) == list(grids.items())
    assert found.model == DIGEST


def test_layers_initializers_and_globs_name_weights_and_the_later_decides(tmp_path: Path) -> None:
    lines = ["[grids]", "stem = 4", '"block_*/kernel" = "int:8"', '"block_2/kernel" = "decimal:1"']
    path = written(tmp_path / "plan.toml", "\n".join(lines))
    plan = read_plan(path).plan(INITIALIZERS, DIGEST)
    assert {name: str(grid) for name, grid in plan.grids.items()} == {
        "stem/kernel": "decimal:4",
        "block_1/kernel": "int:8",
        "block_2/kernel": "decimal:1",
    }
    assert plan.grids["stem/kernel"] == DecimalGrid(4)


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("[grids]\nstem = 13\n", "stem: the number of decimals is 13", "0 to 12"),
        ("[grids]\nstem = 2.5\n", "stem: the number of decimals is 2.5", "whole number"),
        ("[grids]\nstem = true\n", "stem: the number of decimals is True", "whole number"),
        ('[grids]\nstem = "decimel:2"\n', "stem: 'decimel:2' is no grid", "the nearest is decimal:4"),
        ("[grid]\nstem = 2\n", "a plan has no 'grid'", "the nearest is grids"),
        ("model = 3\n[grids]\nstem = 2\n", "model is 3", "in quotes"),
        ("", "names no grid", r"\[grids\]"),
        ("grids = 3\n", "names no grid", r"\[grids\]"),
        ("[grids]\nconv1.weight = 2\n", "conv1 is a table with 'weight' in it", 'quotes: "conv1.weight"'),
        ('[grids]\nstem = "2"\n', "'2' is in quotes", "write 2 without them"),
        ("[grids]\n" + "a." * 20_000 + "a = 1\n", "keys of more than 16 parts", "in quotes"),
        ("[grids]\na = " + "[" * 20_000, "is no plan, which is TOML", "give a plan"),
        ("[grids]\na = " + "[1," * 20_000, "is no plan, which is TOML", "give a plan"),
        ("[grids]\na = " + "1" * 5_000, "is no plan, which is TOML", "give a plan"),
        ("[grids\n", "is no plan, which is TOML", "give a plan"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(tmp_path: Path, text: str, problem: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        read_plan(written(tmp_path / "plan.toml", text))
    assert "plan.toml" in caught.value.problem
    assert re.search(remedy, caught.value.remedy)


def test_another_version_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("schema_version = 2\n[grids]\nstem = 1\n")
    with pytest.raises(UsageError, match="schema_version is 2"):
        read_plan(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_text("schema_version = true\n[grids]\nstem = 1\n")
    with pytest.raises(UsageError, match="schema_version is True"):
        read_plan(tmp_path / "p.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")


def test_a_layer_that_the_model_lacks_is_refused_with_the_nearest(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path / "plan.toml", "[grids]\nstem = 2\nblock_3 = 2\n"))
    with pytest.raises(TargetError, match="names 'block_3', which the model has not") as caught:
        plan.plan(INITIALIZERS, DIGEST)
    assert "block_1" in caught.value.remedy


def test_a_plan_of_another_model_is_refused_unless_the_line_is_taken_out(tmp_path: Path) -> None:
    path = written(tmp_path / "plan.toml", f'model = "sha256:{"0" * 64}"\n[grids]\nstem = 2\n')
    with pytest.raises(UsageError, match="was made for the model sha256:0000"):
        read_plan(path).plan(INITIALIZERS, DIGEST)
    plan = read_plan(written(tmp_path / "free.toml", "[grids]\nstem = 2\n"))
    assert list(plan.plan(INITIALIZERS, DIGEST).grids) == ["stem/kernel"]


def test_a_name_of_an_initializer_means_that_one_also_where_a_layer_has_it(tmp_path: Path) -> None:
    """Layer `b` reads the initializer `a`, and layer `a` the initializer `b`."""
    crossed = [replace(INITIALIZERS[0], name=name, layer=layer) for name, layer in (("a", "b"), ("b", "a"))]
    plan = read_plan(written(tmp_path / "plan.toml", "[grids]\na = 2\nb = 5\n"))
    assert {name: str(grid) for name, grid in plan.plan(crossed, DIGEST).grids.items()} == {
        "a": "decimal:2",
        "b": "decimal:5",
    }


def test_many_names_with_dots_in_quotes_are_read(tmp_path: Path) -> None:
    lines = "".join(f'"{"a." * 30}{number}" = 2\n' for number in range(200))
    assert len(read_plan(written(tmp_path / "plan.toml", "[grids]\n" + lines)).grids) == 200
