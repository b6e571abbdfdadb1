"""A wrong name leads to the right one."""

import pytest

from precbench.nearest import nearest


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("expnd", ["expand", "project"], "the nearest is expand"),
        ("CONV", ["Conv", "MatMul"], "the nearest is Conv"),
        ("*block*", ["a_block_expand", "a_block_project", "x"], "the nearest are a_block_expand, a_block_project"),
        ("zzz", ["a", "b"], "known are a, b"),
        ("zzz", ["a", "b", "c", "d"], "known are a, b, c, …"),
        ("zzz", [], "there is none to choose from"),
    ],
)  # fmt: skip
def test_the_nearest_names_are_said(word: str, known: list[str], said: str) -> None:
    assert nearest(word, known) == said
