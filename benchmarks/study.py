"""Check a finished study in: its tables as they are printed, a row per point, its figure, and where it ran.

Run: python benchmarks/study.py RUN
RUN is the folder of a finished `precbench run`. It writes benchmarks/results/study-NAME.json, .md, .csv and two .svg.
"""

import io
from argparse import ArgumentParser
from pathlib import Path

from laboratory import HERE, write_result
from rich.console import Console

from precbench.report.html.accuracy import decimals_figures
from precbench.report.html.material import read_run
from precbench.report.html.writing import write_plot
from precbench.report.study_report import show_study, study_sentences
from precbench.study.table import flat_rows, read_results, write_table

WIDTH = 80


def main() -> None:
    """Read the run, and write the files."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("run", type=Path, help="folder of a finished run")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    options = made.parse_args()
    results = read_results(options.run)
    name = f"study-{results['study']['name']}"
    write_table(flat_rows(results), options.results / f"{name}.csv", force=True)
    figures = {figure.name: figure for figure in decimals_figures(read_run(options.run))}
    for shown in ("accuracy", "time"):
        write_plot(figures[shown].spec, options.results, f"{name}-{shown}")
        (options.results / f"{name}-{shown}.png").unlink()
    value = {
        "sentences": study_sentences(results),
        "results": {key: each for key, each in results.items() if key != "experiments"},
    }
    tables = io.StringIO()
    show_study(Console(file=tables, width=WIDTH, highlight=False, emoji=False), results)
    printed = "\n".join(line.rstrip() for line in tables.getvalue().splitlines())
    write_result(
        options.results,
        name,
        value,
        f"![accuracy against decimals]({name}-accuracy.svg)\n\n![time against decimals]({name}-time.svg)\n\n"
        f"```text{printed}\n```\n",
    )


if __name__ == "__main__":
    main()
