"""Incremental retraining onto powers of two (INQ) against rounding onto them once, on digits.

Run: python benchmarks/inq.py
The commands that a user types, in a temporary folder: MobileNetV2 trained on the digits, exported, its kernels rounded
to pow2:5; the same network retrained by `train --inq pow2:5`, exported, and rounded to pow2:5 again, which must move
nothing. Both are compared with the trained one on the 360 test images. It writes benchmarks/results/inq.json and .md.
"""

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from laboratory import HERE, table_of, write_result

GRID = "pow2:5"


def main() -> None:
    """Train, round, retrain, compare, and write the result."""
    options = read_options()
    with TemporaryDirectory() as name:
        folder = Path(name)
        network = ("--alpha", "0.35")
        told("train", *network, "--epochs", str(options.epochs), "-o", folder / "trained")
        told("train", *network, "--checkpoint", folder / "trained", "--inq", GRID, "--epochs", str(options.step_epochs),
             "-o", folder / "inq")  # fmt: skip
        for each in ("trained", "inq"):
            told("export", folder / each / "architecture.json", folder / each / "weights.h5",
                 "--preprocess", "tf", "-o", folder / f"{each}.onnx")  # fmt: skip
            told("round", folder / f"{each}.onnx", "--op-type", "Conv", "--op-type", "MatMul",
                 "--grid", GRID, "-o", folder / f"{each}.pow2.onnx")  # fmt: skip
        base = folder / "trained.onnx"
        rows = {
            "rounded once": compared(folder / "trained.pow2.onnx", base),
            "retrained by INQ": compared(folder / "inq.onnx", base),
            "retrained by INQ, and rounded again": compared(folder / "inq.pow2.onnx", base),
        }
    value = {"grid": GRID, "epochs": options.epochs, "step_epochs": options.step_epochs, "rows": rows}
    write_result(options.results, "inq", value, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("--epochs", type=int, default=30, help="of training")
    made.add_argument("--step-epochs", type=int, default=5, help="of retraining after each step")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def told(*arguments: Any) -> dict[str, Any]:
    """Run a command of precbench and return its record."""
    command = ["-c", "import sys; from precbench.cli import main; sys.exit(main())", *map(str, arguments), "--json"]
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True, text=True)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def compared(model: Path, base: Path) -> dict[str, Any]:
    """Return what a model flips against the trained one on the test images."""
    record = told("evaluate", model, "--reference", base, "--data", "mobilenetv2-digits")
    flips: dict[str, Any] = record["flips"]
    return flips


def text(value: Mapping[str, Any]) -> str:
    """Return the result as Markdown."""
    rows = [
        [
            name,
            f"{100 * found['variant_correct'] / found['total']:.2f} %",
            f"{found['difference_points']:+.2f} [{found['low_points']:+.2f}, {found['high_points']:+.2f}]",
            str(found["gained"]),
            str(found["lost"]),
        ]
        for name, found in value["rows"].items()
    ]
    one = next(iter(value["rows"].values()))
    return (
        f"MobileNetV2 (alpha 0.35) on the digits, {value['epochs']} epochs, all kernels on {value['grid']}; "
        f"{value['step_epochs']} epochs of retraining after each step of INQ; {one['total']} test images, full "
        f"precision {100 * one['reference_correct'] / one['total']:.2f} %.\n\n"
        f"{table_of(['kernels', 'right', 'points [95 %]', '+', '-'], rows)}\n"
    )


if __name__ == "__main__":
    main()
