"""Write docs/cli.md from the commands' own help; a test holds it up to date.

Run: python .ci/cli_reference.py
"""

import importlib
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from precbench.cli.app import COMMANDS, app

REFERENCE = Path(__file__).parents[1] / "docs" / "cli.md"


def reference() -> str:
    """Return the reference of all commands, in Markdown."""
    for command in COMMANDS:
        importlib.import_module(f"precbench.cli.{command}")  # registers it
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="precbench")
    return get_docs_for_click(obj=command, ctx=context, name="precbench", title="Commands").rstrip() + "\n"


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
