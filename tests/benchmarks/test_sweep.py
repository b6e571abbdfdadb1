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


def test_each_round_takes_other_variants_of_all_layers_and_decimals(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [Namespace(name=f"{layer} {n}") for layer in range(50) for n in (1, 3, 5, 7, 9)]
    monkeypatch.setattr(script, "load_model", lambda _path: None)
    monkeypatch.setattr(script, "all_variants", lambda _model: layers)
    rounds = [script.sample(Namespace(model=Path("m"), plain=25), number) for number in range(10)]
    assert {len(names) for names in rounds} == {25}
    assert sorted(name for names in rounds for name in names) == sorted(variant.name for variant in layers)
    assert {name.split()[1] for name in rounds[0]} == {"1", "3", "5", "7", "9"}
    assert len(script.sample(Namespace(model=Path("m"), plain=0), 3)) == 250
