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

    Numbers differ from machine to machine, so they are not compared; a `console` block, which holds verdicts, is only
    an example. The study of the second section is the smaller one of these tests, in the same run folder.
    """
    printed = ""
    for kind, text in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
        if kind == "python":
            (tmp_path / text.split("\n", 1)[0].removeprefix("# ")).write_text(text, encoding="utf-8")
        elif kind == "sh":
            smaller = f"precbench run {tiny_study} -o runs/mobilenetv2-digits\n"
            printed = typed(text.replace("precbench run\n", smaller), tmp_path)
        elif kind == "text":
            for promised in text.split("…"):
                assert without_numbers(promised) in without_numbers(printed)
    assert (tmp_path / "report.html").is_file()


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


def without_numbers(text: str) -> str:
    """Replace numbers, and take each run of white space as one space: a table is as wide as its numbers."""
    return " ".join(re.sub(r"[+-]?\d[\d.,e-]*(?<![.,])", "#", text).split())
