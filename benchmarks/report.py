"""How large a run's report is, and how soon it is drawn in headless Chromium.

Run: python benchmarks/report.py RUN
RUN is the folder of a finished run. It writes benchmarks/results/report.json and .md. Each opening is a new page of one
browser, from disk; drawn is when every plot is (the page says so itself).
"""

import shutil
import statistics
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from laboratory import HERE, table, write_result
from playwright.sync_api import sync_playwright

from precbench.report.html.making import make_page
from precbench.report.html.writing import write_page

OPENINGS = 15
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}


def main() -> None:
    """Make the report, open it, and write the result."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("run", type=Path, help="folder of a finished run")
    made.add_argument("--data-dir", type=Path, help="where its data set lies")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as name:
        page = make_page([options.run], data=options.data_dir)
        path = write_page(page, Path(name) / "report.html")
        rows = [{"screen": screen, **opened(path, size)} for screen, size in SCREENS.items()]
        value = {"study": options.run.name, "file_bytes": path.stat().st_size, "openings": OPENINGS, "rows": rows}
    write_result(options.results, "report", value, text(value))


def opened(path: Path, size: tuple[int, int]) -> dict[str, Any]:
    """Return seconds until the page was loaded, and until all was drawn."""
    loaded, drawn = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(OPENINGS + 1):
            page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
            start = time.perf_counter()
            page.goto(path.as_uri())
            loaded.append(time.perf_counter() - start)
            page.wait_for_selector("html[data-ready=yes]", state="attached")
            drawn.append(time.perf_counter() - start)
            plots = page.locator(".plot[data-drawn=yes]").count()
            page.context.close()
        browser.close()
    return {
        "plots": plots,
        "loaded_s": statistics.median(loaded[1:]),
        "drawn_s": statistics.median(drawn[1:]),
        "slowest_drawn_s": max(drawn[1:]),
    }


def text(value: Mapping[str, Any]) -> str:
    """Write the table."""
    rows = [
        {
            "screen": row["screen"],
            "plots": str(row["plots"]),
            "loaded, s": f"{row['loaded_s']:.2f}",
            "all drawn, s": f"{row['drawn_s']:.2f}",
            "slowest": f"{row['slowest_drawn_s']:.2f}",
        }
        for row in value["rows"]
    ]
    head = f"The report of {value['study']}: {value['file_bytes'] / 1e6:.2f} MB; medians of {OPENINGS} openings.\n"
    return f"{head}\n{table(rows)}"


if __name__ == "__main__":
    main()
