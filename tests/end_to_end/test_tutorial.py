"""The tutorial, typed from top to bottom: every command works and prints what the tutorial shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
for needed in ("tensorflow", "sklearn", "PIL", "altair"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def test_every_command_works_and_prints_what_is_shown(tmp_path: Path, tiny_study: Path) -> None:
    """A `python` block is a file, an `sh` block is typed, a `text` block is printed by the one before it.

    What is measured differs from machine to machine: where a line of a `text` block has a fraction or a percentage, its
    numbers are not compared. Its other lines (files written, weights counted) are promised as they stand. A `console`
    block, which holds verdicts, is only an example. The study of the second section is the smaller one of these tests,
    in the same run folder; everything else is typed as it stands, budgets included.
    """
    printed = ""
    for kind, text in blocks():
        if kind == "python":
            (tmp_path / text.split("\n", 1)[0].removeprefix("# ")).write_text(text, encoding="utf-8")
        elif kind == "sh":
            smaller = f"precbench run {tiny_study} -o runs/mobilenetv2-digits\n"
            printed = typed(text.replace("precbench run\n", smaller), tmp_path)
        elif kind == "text":
            for shown in text.split("…"):
                assert without_numbers(shown) in without_numbers(printed)
                for line in filter(is_promised, shown.splitlines()):
                    assert one_space(line) in one_space(printed)
    for made in ("report.html", "digits.dp2.onnx", "pictures.dp2.onnx", "packed/model.onnx", "shipped/model.onnx"):
        assert (tmp_path / made).is_file(), made


def test_the_smaller_study_takes_the_place_of_the_tutorials() -> None:
    """Else the test above would run the whole study, and say nothing."""
    typed_lines = [line for kind, text in blocks() if kind == "sh" for line in text.splitlines()]
    assert [line for line in typed_lines if line.startswith("precbench run")] == ["precbench run"]
    assert len(typed_lines) > 10


@pytest.mark.parametrize(
    ("line", "promised"),
    [
        ("2,368 of 2,368 rounded elements have another value now.", True),
        ("Wrote digits.dp2.onnx", True),
        ("0         88    85 96.59 %  100.00 %", False),
        ("Against the reference (94 %): 0 gained, 0 lost", False),
    ],
)
def test_a_line_is_promised_as_it_stands_unless_something_in_it_was_measured(line: str, promised: bool) -> None:
    assert is_promised(line) is promised


def blocks() -> list[tuple[str, str]]:
    """Find the fenced blocks of the tutorial: kind and text of each."""
    return BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))


def typed(commands: str, folder: Path) -> str:
    """Type each line in a folder, and return what they print; an exit status other than 0 is an error."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    printed = ""
    for line in commands.splitlines():
        done = subprocess.run(
            line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed


def is_promised(line: str) -> bool:
    """Tell whether a line holds nothing that was measured: neither a fraction nor a percentage."""
    return re.search(r"\d\.\d|%", line) is None


def without_numbers(text: str) -> str:
    """Replace numbers, and take each run of white space as one space: a table is as wide as its numbers."""
    return one_space(re.sub(r"[+-]?\d[\d.,e-]*(?<![.,])", "#", text))


def one_space(text: str) -> str:
    """Take each run of white space as one space."""
    return " ".join(text.split())
