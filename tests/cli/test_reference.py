"""docs/cli.md is what the commands' help says."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "cli_reference.py"


@pytest.mark.skipif(not SCRIPT.is_file(), reason="not in a checkout")
def test_the_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("cli_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.REFERENCE.read_text(encoding="utf-8") == script.reference(), "run: python .ci/cli_reference.py"
