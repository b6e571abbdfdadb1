"""What the sweep's benchmark compares."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import sweep

    yield sweep
    for name in ("sweep", "laboratory", "arms"):
        del sys.modules[name]


def found() -> dict[str, Any]:
    """Per variant 6 s without inputs and 8 s with them against 2 and 3; inputs are made by two workers."""
    return {
        "plain": {
            "variants": 2,
            "spent_s": {"inputs": 4.0, "sessions": 2.0, "runs": 10.0},
            "outputs": {"a": "1", "b": "2"},
        },
        "sweep": {
            "variants": 10,
            "workers": 2,
            "elapsed_s": 30.0,
            "spent_s": {"inputs": 20.0},
            "outputs": {"a": "1", "b": "3", "c": "4"},
        },
    }


def test_ratios_are_per_variant_with_inputs_and_without(script: Any) -> None:
    told = script.compared(found())
    assert told["ratio"] == pytest.approx(8 / 3)
    assert told["ratio_runs_only"] == pytest.approx(6 / 2)
    assert told["ratio_inputs_free_for_plain"] == pytest.approx(6 / 3)


def test_only_outputs_of_the_obvious_loop_are_compared_and_differences_counted(script: Any) -> None:
    told = script.compared(found())
    assert (told["compared"], told["different"]) == (2, 1)
    assert "outputs" not in told["sweep"]


def test_each_round_takes_other_variants_spread_over_all(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "load_model", lambda _path: None)
    monkeypatch.setattr(script, "all_variants", lambda _model: [Namespace(name=str(i)) for i in range(250)])
    options = Namespace(model=Path("m"), plain=10)
    first, second = script.sample(options, 0), script.sample(options, 1)
    assert len(first) == len(second) == 10
    assert not set(first) & set(second)
    assert int(first[-1]) > 220
    assert len(script.sample(Namespace(model=Path("m"), plain=0), 3)) == 250
