import gzip
import io
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precbench.datasets.tarball import read_members
from precbench.errors import DataError

_LIMITS = {"a": 2000, "b": 2000, "readme": 2000}
_CONTENTS = {"a": b"first" * 100, "b": bytes(range(256)) * 4}


def _read(path: Path) -> list[tuple[str, bytes]]:
    return list(read_members(path, folder="data", limits=_LIMITS, remedy="download it again"))


def _tar(path: Path, *members: tuple[str, bytes], mode: str = "w", form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            header.mtime = 1.5  # type: ignore[assignment]  # makes a pax header where there are any
            archive.addfile(header, io.BytesIO(content))
    return path


def _special(path: Path, name: str, kind: bytes, size: int = 0) -> Path:
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.size = kind, "/etc/passwd", size
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("prefix", ["", "data/", "./", "./data/"])
def test_known_files_come_back_in_the_archives_order(tmp_path: Path, form: int, mode: str, prefix: str) -> None:
    members = [(prefix + name, _CONTENTS[name]) for name in ("b", "a")]
    if form == tarfile.USTAR_FORMAT:
        members = members[:1]
    found = _read(_tar(tmp_path / "x", *members, mode=mode, form=form))
    assert found == [(name.split("/")[-1], content) for name, content in members]


def test_a_folder_added_whole_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, content in _CONTENTS.items():
        (folder / name).write_bytes(content)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(folder, "data")
    assert dict(_read(tmp_path / "x.tar.gz")) == _CONTENTS


def test_an_empty_file_and_an_empty_archive_are_read(tmp_path: Path) -> None:
    assert _read(_tar(tmp_path / "x", ("a", b""))) == [("a", b"")]
    assert _read(_tar(tmp_path / "y")) == []


@pytest.mark.parametrize(
    "name",
    ["/a", "/data/a", "../a", "data/../a", "data/../../a", "data/x/a", "other/a", "c", "data\\a", "data/.a", "a/"],
)
def test_a_file_that_lies_elsewhere_or_has_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="where it should hold none but its files") as caught:
        _read(_tar(tmp_path / "x", (name, b"")))
    assert caught.value.remedy == "download it again"


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 'data/more' where it should hold none"):
        _read(_special(tmp_path / "x", "data/more", tarfile.DIRTYPE))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        b"Z",
    ],
)
def test_links_devices_and_other_special_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(DataError, match="holds 'data/a' as a link, a device or another special file"):
        _read(_special(tmp_path / "x", "data/a", kind))


@pytest.mark.parametrize("second", ["a", "./a", "data/a"])
def test_a_file_that_comes_twice_is_refused(tmp_path: Path, second: str) -> None:
    with pytest.raises(DataError, match=f"holds '{second}' twice"):
        _read(_tar(tmp_path / "x", ("a", b"1"), (second, b"2")))


def test_a_size_over_the_limit_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 'a' with 8000000000 bytes, over the limit of 2000"):
        _read(_special(tmp_path / "x", "a", tarfile.REGTYPE, 8_000_000_000))


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    block = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12  # -1 in GNU's base 256
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    (tmp_path / "x").write_bytes(block + bytes(1024))
    with pytest.raises(DataError, match="holds 'a' with -1 bytes"):
        _read(tmp_path / "x")


def test_a_pax_header_that_declares_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 'a' with 1000000 bytes, over the limit of 65536"):
        _read(_special(tmp_path / "x", "a", tarfile.XHDTYPE, 1_000_000))


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a")
    header.type = tarfile.XHDTYPE
    with gzip.open(tmp_path / "x", "wb") as stream:
        stream.write(header.tobuf(tarfile.GNU_FORMAT) * 100_000)
    with pytest.raises(DataError, match="has more than 64 headers"):
        _read(tmp_path / "x")


def test_a_name_in_a_pax_header_leads_nowhere(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a")
    header.size, header.pax_headers = 3, {"path": "../../etc/passwd", "GNU.sparse.realsize": "99999999999"}
    (tmp_path / "x").write_bytes(header.tobuf(tarfile.PAX_FORMAT) + b"abc".ljust(512, b"\0") + bytes(1024))
    assert _read(tmp_path / "x") == [("a", b"abc")]


def test_a_bomb_behind_the_end_is_not_unpacked(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "x", ("a", b"1")).read_bytes()
    (tmp_path / "x").write_bytes(gzip.compress(whole + bytes(3 << 20), 1))
    with pytest.raises(DataError, match="goes on behind its end"):
        _read(tmp_path / "x")


def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "x", *_CONTENTS.items()).read_bytes()
    end = 512 + 512 + 512 + 1024 + 512  # a header and its content twice, and the first of the blocks that end it
    assert dict(_read(_written(tmp_path, whole[:end]))) == _CONTENTS
    for length in range(0, end, 61):
        with pytest.raises(DataError, match="is cut short"):
            _read(_written(tmp_path, whole[:length]))


def test_a_compressed_archive_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "x", *_CONTENTS.items(), mode="w:gz").read_bytes()
    for length in range(len(whole)):
        with pytest.raises(DataError, match=r"is cut short|is no readable"):
            _read(_written(tmp_path, whole[:length]))


def _written(folder: Path, content: bytes) -> Path:
    (folder / "y").write_bytes(content)
    return folder / "y"


def test_a_flipped_byte_of_a_compressed_archive_never_gives_other_contents(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "x", *_CONTENTS.items(), mode="w:gz").read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 0x55
        try:
            assert dict(_read(_written(tmp_path, changed))) == _CONTENTS
        except DataError:
            refused += 1
    assert refused > len(whole) // 6


def test_a_missing_archive_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        _read(tmp_path / "no")
    with pytest.raises(DataError, match="Is a directory"):
        _read(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=1500), st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00"]))
def test_any_bytes_are_refused(tmp_path: Path, content: bytes, magic: bytes) -> None:
    if content[:512] != bytes(512):
        with pytest.raises(DataError):
            _read(_written(tmp_path, magic + content))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=5), st.booleans())
def test_a_changed_header_gives_known_files_or_an_error(
    tmp_path: Path, changes: list[tuple[int, int]], mend_checksum: bool
) -> None:
    content = bytearray(_tar(tmp_path / "x", *_CONTENTS.items()).read_bytes())
    for place, value in changes:
        content[place] = value
    if mend_checksum:
        content[148:156] = b" " * 8
        content[148:155] = b"%06o\0" % sum(content[:512])
    with suppress(DataError):
        assert {name for name, _ in _read(_written(tmp_path, content))} <= _LIMITS.keys()
