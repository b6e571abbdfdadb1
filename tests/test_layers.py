"""Imports go one way, each heavy library has one importer, and `--help` loads none of them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import precbench

PACKAGE = Path(precbench.__file__).parent

LAYERS = [
    {"__init__", "errors"},
    {"files", "holm", "nearest", "progress"},
    {"grids", "timing", "accuracy"},
    {"graph", "datasets", "runtime"},
    {"bench", "checkpoints", "sweep"},
    {"study"},
    {"deploy"},
    {"search"},
    {"report"},
    {"api"},
    {"cli"},
]
"""A module may import from the layers above its own, and from its own folder."""

OWNERS = {
    "tensorflow": {"checkpoints"},
    "keras": {"checkpoints"},
    "tf2onnx": {"checkpoints"},
    "h5py": {"checkpoints"},
    "onnxruntime": {"runtime"},
    "psutil": {"runtime"},
    "pynvml": {"runtime"},
    "onnx": {"graph", "runtime", "checkpoints", "deploy"},
    "onnx_ir": {"graph", "checkpoints", "deploy"},
    "sklearn": {"datasets"},
    "zstandard": {"study"},
    "pyarrow": {"bench", "study", "report"},
    "PIL": {"datasets", "report"},
    "altair": {"report"},
    "vl_convert": {"report"},
    "jinja2": {"report"},
    "filelock": {"study"},
    "typer": {"cli"},
    "rich": {"report", "cli"},
}
"""Library to the folders that may import it. What is not listed may be imported anywhere."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer_of(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_layers_above(path: Path) -> None:
    part = part_of(path)
    for name in imports(path):
        if name.startswith("precbench.") and part != "__init__":  # which hands on what api has, when it is asked for
            imported = name.split(".")[1]
            assert imported == part or layer_of(imported) < layer_of(part), f"{part} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_heavy_library_is_imported_only_by_its_owner(path: Path) -> None:
    for name in imports(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or part_of(path) in owners, f"{path.relative_to(PACKAGE)} imports {name}"


def test_every_part_of_the_package_has_a_layer() -> None:
    assert {part_of(path) for path in modules()} <= set().union(*LAYERS)


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "command", ["--help", "run --help", "export --help", "round --help", "bench --help", "compare --help"]
)
def test_help_loads_neither_tensorflow_nor_onnxruntime_nor_numpy(command: str) -> None:
    statement = (
        f"sys.argv = ['precbench', *{command.split()!r}]\n"
        "from precbench.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 0"
    )
    loaded = loaded_after(statement)
    assert "precbench.cli.round" in loaded
    assert not loaded & {"tensorflow", "keras", "onnxruntime", "onnx", "numpy", "scipy", "h5py", "sklearn"}


def test_importing_checkpoints_loads_no_tensorflow() -> None:
    loaded = loaded_after("import precbench.checkpoints, precbench.study.run, precbench.study.rounding")
    assert "precbench.study.run" in loaded
    assert not loaded & {"tensorflow", "keras", "h5py", "onnxruntime"}
