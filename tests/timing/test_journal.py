"""What a process told survives it, record by record."""

import tempfile
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.errors import DataError
from precbench.timing import journal
from precbench.timing.journal import JournalFile, Kind, read_journal, reading_words, words_reading

few = settings(max_examples=40, deadline=None)

words = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6)
records = st.lists(st.tuples(st.sampled_from(Kind), words), min_size=1, max_size=5)


def written(folder, kept):
    path = Path(folder) / "journal"
    keep = JournalFile(path)
    for kind, values in kept:
        keep(kind, values)
    return path


@few
@given(records)
def test_what_was_kept_is_read_back_in_order(kept):
    with tempfile.TemporaryDirectory() as folder:
        assert read_journal(written(folder, kept)) == kept


def test_a_record_is_in_the_file_as_soon_as_it_is_kept(tmp_path):
    keep = JournalFile(tmp_path / "journal")
    keep(Kind.CALLS, [3])
    assert read_journal(tmp_path / "journal") == [(Kind.CALLS, [3])]


@few
@given(records, st.data())
def test_a_last_record_cut_off_at_any_byte_is_dropped_and_the_rest_stands(kept, data):
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, kept)
        whole, last = path.read_bytes(), 8 * (2 + len(kept[-1][1]))
        cut = data.draw(st.integers(1, last))
        path.write_bytes(whole[:-cut])
        assert read_journal(path) == kept[:-1]


def test_a_process_that_told_nothing_has_no_records(tmp_path):
    assert read_journal(tmp_path / "none") == []


@pytest.mark.parametrize("damaged", [[99, 0], [0, 0], [3, -1], [3, 1, 5, -4, 2, 7, 7]])
def test_a_damaged_journal_is_refused(tmp_path, damaged):
    path = tmp_path / "journal"
    path.write_bytes(array("q", damaged).tobytes())
    with pytest.raises(DataError, match="the journal of a measuring process is damaged") as caught:
        read_journal(path)
    assert caught.value.remedy == "measure again"


def test_a_journal_too_large_to_read_is_refused_with_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MAX_JOURNAL_BYTES", 20)
    path = written(tmp_path, [(Kind.CALLS, [3])])
    with pytest.raises(DataError, match="the journal of a process has 24 bytes") as caught:
        read_journal(path)
    assert caught.value.remedy == "measure for a shorter time per process"


@few
@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_a_reading_survives_as_words(value):
    assert words_reading(reading_words(value)) == value
