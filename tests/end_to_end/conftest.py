"""One tiny study, run once for real: MobileNetV2 of a third the width, two epochs on the digits."""

from pathlib import Path

import pytest

from precbench.study.definition import shipped_studies

CHANGES = {
    'name = "mobilenetv2-digits"': 'name = "tiny"',
    "alpha = 1.0": "alpha = 0.35",
    "decimals = [1, 2, 3, 4, 5, 6, 7, 8, 9]": "decimals = [1, 4, 9]",
    "decimals = [1, 3, 5, 7, 9]": "decimals = [1]",
    "depthwise = [3, 4], project = [2, 3], conv = [2, 3] }": "depthwise = [3, 4] }",
    "budget_s = 180": "budget_s = 1",
}


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = shipped_studies()["mobilenetv2-digits"].read_text(encoding="utf-8")
    lines = ["epochs = 2" if line.startswith("epochs =") else line for line in text.splitlines()]
    text = "\n".join(lines)
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the tiny study, complete. Tests copy it before they change it."""
    pytest.importorskip("tensorflow")
    pytest.importorskip("sklearn")
    from precbench.study.definition import load_study
    from precbench.study.run import Run

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with Run(load_study(str(tiny_study)), folder) as run:
        run.run()
    return folder


@pytest.fixture
def copied_run(tiny_run: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(tiny_run, tmp_path / "runs" / "tiny"))
