"""Families of number grids side by side on a model: bits, entropy, bytes, SQNR of the weights, accuracy.

Run: python benchmarks/grids.py BASE.onnx STUDY --data-dir FOLDER
Each rounds all target weights; accuracy is paired with full precision on the study's test images. It writes
benchmarks/results/grids.json and .md, at equal bits and at equal entropy.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from laboratory import HERE, table_of, write_result

from precbench.bench.sessions import open_model
from precbench.files import file_digest
from precbench.graph import load_model
from precbench.runtime import SessionSettings
from precbench.search.evaluating import part_of
from precbench.search.families import compare_grids, parse_default_grids
from precbench.study.evaluation import load_data


def main() -> None:
    """Compare, and write the result."""
    options = read_options()
    session = open_model(options.base, SessionSettings())
    data = load_data(options.study, session, split="test", directory=options.data_dir)
    found = compare_grids(
        load_model(options.base),
        parse_default_grids(),
        part_of(session, data),
        settings=session.settings,
        batch=32,
    )
    value = {
        "base_digest": file_digest(options.base),
        "study": options.study,
        "grids": [one.to_json() for one in found],
    }
    write_result(options.results, "grids", value, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("base", type=Path, help="the full-precision model")
    made.add_argument("study", help="whose test images are meant")
    made.add_argument("--data-dir", type=Path, help="where they lie")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def text(value: Mapping[str, Any]) -> str:
    """Return the result as Markdown: by bits, then by entropy."""
    rows = value["grids"]
    by_bits = sorted(rows, key=lambda row: (row["bits"] is None, round(row["bits"] or 0), row["entropy_bits"]))
    by_entropy = sorted(rows, key=lambda row: row["entropy_bits"])
    return (
        f"{value['study']}: all target weights rounded to one grid.\n\n## By bits of a stored code\n\n"
        f"{grid_table(by_bits)}\n\n## By entropy of the codes\n\n{grid_table(by_entropy)}\n"
    )


def grid_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a row per grid."""
    head = [
        "grid",
        "bits",
        "entropy, bits",
        "codes after zstd, MB",
        "SQNR of the weights, dB",
        "points [95 %]",
        "+",
        "-",
    ]
    return table_of(head, [row_of(row) for row in rows])


def row_of(row: Mapping[str, Any]) -> list[str]:
    """Return a grid's figures as text."""
    flips = row["flips"]
    accuracy = ["not a number", "", ""]
    if flips is not None:
        interval = f"[{flips['low_points']:+.2f}, {flips['high_points']:+.2f}]"
        accuracy = [f"{flips['difference_points']:+.2f} {interval}", str(flips["gained"]), str(flips["lost"])]
    return [
        f"`{row['grid']}`",
        "" if row["bits"] is None else f"{row['bits']:.1f}",
        f"{row['entropy_bits']:.2f}",
        f"{row['zstd_bytes'] / 1e6:.3f}",
        "exact" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}",
        *accuracy,
    ]


if __name__ == "__main__":
    main()
