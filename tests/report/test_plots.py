"""Figures are files that can be compared: the same figure gives the same bytes."""

from pathlib import Path

import pytest

from precbench.report.plots import figure, save_figure

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for path in paths:
        drawing, (axes,) = figure(columns=1, size_inches=(2.0, 2.0))
        axes.errorbar([1, 2], [3.0, 4.0], yerr=[0.1, 0.2], label="a")
        axes.legend()
        save_figure(drawing, path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
