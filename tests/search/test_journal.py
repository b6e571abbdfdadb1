"""A journal is there after a kill, and is that of one search."""

from pathlib import Path

import pytest

from precbench.errors import OutputError, UsageError
from precbench.search.journal import SearchJournal


def test_what_was_put_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    journal = SearchJournal(tmp_path / "j", ["model"])
    assert journal.get("a") is None
    journal.put(["a", [1, 2]], {"classes": [3], "seconds": 0.5, "inf": float("inf")})
    assert SearchJournal(tmp_path / "j", ["model"]).get(["a", [1, 2]]) == journal.get(["a", [1, 2]])


def test_a_line_that_a_kill_left_half_written_is_dropped_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "j"
    SearchJournal(path, "x").put("a", {"n": 1})
    with path.open("a") as stream:
        stream.write('{"key": "b", "fac')
    journal = SearchJournal(path, "x")
    assert journal.get("a") == {"n": 1}
    journal.put("c", {"n": 2})
    assert SearchJournal(path, "x").get("c") == {"n": 2}


def test_the_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    SearchJournal(tmp_path / "j", "one").put("a", {"b": 1})
    with pytest.raises(UsageError, match="is the journal of a search on another model"):
        SearchJournal(tmp_path / "j", "other")


@pytest.mark.parametrize("text", ["not json\n", "[1]\n", "half", "\n", "[" * 100_000 + "\n"])
def test_what_is_no_journal_is_refused_and_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "j").write_text(text)
    with pytest.raises(UsageError, match="is no journal of a search"):
        SearchJournal(tmp_path / "j", "x")
    assert (tmp_path / "j").read_text() == text


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        SearchJournal(tmp_path / "file" / "j", "x").put("a", {})


@pytest.mark.parametrize(
    "line", ["{}", '{"key": "a"}', '{"key": "a", "facts": 3}', '{"key": 1, "facts": {}}', "[]", "3"]
)
def test_a_line_that_is_none_of_a_search_is_refused(tmp_path: Path, line: str) -> None:
    SearchJournal(tmp_path / "j", "x").put("a", {"n": 1})
    with (tmp_path / "j").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UsageError, match="is no journal of a search"):
        SearchJournal(tmp_path / "j", "x")


def test_nothing_is_written_before_the_first_fact_and_a_folder_is_refused(tmp_path: Path) -> None:
    SearchJournal(tmp_path / "j", "x")
    assert not (tmp_path / "j").exists()
    (tmp_path / "k").mkdir()
    with pytest.raises(UsageError, match="it is no file"):
        SearchJournal(tmp_path / "k", "x")
