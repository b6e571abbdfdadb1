"""Carry a large wheel to a machine that takes files in pieces only: split it here, join it there.

    python wheel_pieces.py split NAME.whl --bytes 60M -o DIR
    python wheel_pieces.py join DIR -o DIR

`split` writes NAME.whl.00, NAME.whl.01, … and NAME.whl.sha256, which `sha256sum -c` can read too: the digests of the
whole and of each piece. `join` makes the wheel only if its digest is right, and else says which piece is damaged.
Python alone is needed: this runs before anything is installed.
"""

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MOST_PIECES = 100
_CHUNK_BYTES = 1 << 20
_SIZE = re.compile(r"([1-9][0-9]{0,17})([KMG]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\\]+)")


class PiecesError(Exception):
    """What is wrong, and what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy


def parse_bytes(text: str) -> int:
    """Read `60M`, `512K`, `1G` (powers of 1024) or a plain number of bytes.

    Raises:
        PiecesError: not written so.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise PiecesError(f"{text!r} is no number of bytes", "write one such as 60M")
    return int(found[1]) * _UNITS[found[2]]


def split(wheel: Path, folder: Path, *, piece_bytes: int) -> list[Path]:
    """Write the pieces of a wheel and their digests; return the files written.

    Raises:
        PiecesError: there is no such wheel, or it would be more than a hundred pieces.
    """
    if not wheel.is_file() or wheel.suffix != ".whl":
        raise PiecesError(f"there is no wheel {wheel}", "name a file that ends in .whl")
    count = -(-wheel.stat().st_size // piece_bytes)
    if not 1 <= count <= MOST_PIECES:
        raise PiecesError(f"{wheel.name} would be {count} pieces, outside 1..{MOST_PIECES}", "give other --bytes")
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [folder / f"{wheel.name}.{number:02d}" for number in range(count)]
    with wheel.open("rb") as stream:
        for piece in pieces:
            _write(piece, _read(stream, piece_bytes))
    listed = [(_digest([wheel]), wheel.name), *((_digest([piece]), piece.name) for piece in pieces)]
    digests = folder / f"{wheel.name}.sha256"
    _write(digests, iter(["".join(f"{digest}  {name}\n" for digest, name in listed).encode()]))
    return [*pieces, digests]


def join(folder: Path, output: Path) -> list[Path]:
    """Make every wheel whose pieces lie in a folder; return the wheels.

    A wheel that is there already, and whole, is left.

    Raises:
        PiecesError: there are no pieces, or one is missing or damaged; no wheel is left of those.
    """
    firsts = sorted(folder.glob("*.whl.00"))
    if not firsts:
        raise PiecesError(f"there are no pieces (NAME.whl.00, …) in {folder}", "name the folder that `split` wrote")
    output.mkdir(parents=True, exist_ok=True)
    return [_join_one(folder, first.name.removesuffix(".00"), output) for first in firsts]


def _join_one(folder: Path, name: str, output: Path) -> Path:
    digests = _read_digests(folder / f"{name}.sha256", name)
    pieces = [folder / piece for piece in digests if piece != name]
    _check_pieces(pieces, digests)
    wheel = output / name
    if not (wheel.is_file() and _digest([wheel]) == digests[name]):
        if _digest(pieces) != digests[name]:
            raise PiecesError(f"the pieces of {name} do not make the wheel that was split", "split it again")
        _write(wheel, (chunk for piece in pieces for chunk in _chunks(piece)))
    return wheel


def _read_digests(path: Path, name: str) -> dict[str, str]:
    """File name to digest: the wheel's and its pieces', in their order."""
    if not path.is_file():
        raise PiecesError(f"{path.name} is missing, so that the pieces cannot be checked", "carry it over too")
    found = [_LINE.fullmatch(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    digests = {line[2]: line[1] for line in found if line is not None}
    pieces = [f"{name}.{number:02d}" for number in range(len(digests) - 1)]
    if None in found or list(digests) != [name, *pieces] or not pieces:
        raise PiecesError(f"{path.name} is damaged", "carry it over again")
    return digests


def _check_pieces(pieces: list[Path], digests: dict[str, str]) -> None:
    for piece in pieces:
        if not piece.is_file():
            raise PiecesError(f"the piece {piece.name} is missing", "carry it over too")
        if _digest([piece]) != digests[piece.name]:
            raise PiecesError(f"the piece {piece.name} is damaged", "carry it over again")


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _read(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (chunk := stream.read(min(size, _CHUNK_BYTES))):
        size -= len(chunk)
        yield chunk


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    """Write a file that is whole, or not there under its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Split or join, print what was written, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    splitting = commands.add_parser("split", help="cut a wheel into pieces")
    splitting.add_argument("wheel", type=Path)
    splitting.add_argument("--bytes", default="60M", help="of a piece: 60M, 512K (default: %(default)s)")
    joining = commands.add_parser("join", help="make the wheels of all pieces in a folder")
    joining.add_argument("folder", type=Path)
    for command in (splitting, joining):
        command.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        if options.command == "split":
            written = split(options.wheel, options.output, piece_bytes=parse_bytes(options.bytes))
        else:
            written = join(options.folder, options.output)
    except PiecesError as error:
        print(f"error: {error.problem}\n  try: {error.remedy}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}\n  try: a folder with room that you can write to", file=sys.stderr)
        return 2
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
