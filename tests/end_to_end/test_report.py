"""The report of a real run in a real browser: nothing is fetched, no error is logged, all is drawn, all reacts."""

import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def report_file(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from precbench.report.html.making import make_page
    from precbench.report.html.writing import write_page

    return write_page(make_page([tiny_run]), tmp_path_factory.mktemp("report") / "report.html")


def test_a_run_that_was_stopped_shows_what_its_journal_has(copied_run: Path) -> None:
    from precbench.report.html.making import make_page
    from precbench.study.partial import results_so_far
    from precbench.study.table import read_results

    whole = read_results(copied_run)
    (copied_run / "results.json").unlink()
    found = results_so_far(copied_run)
    assert found is not None
    for one, other in zip(found["experiments"], whole["experiments"], strict=True):
        assert [row["flips"] for row in one["rows"]] == [row["flips"] for row in other["rows"]]
    assert found["base"]["confusion"] == whole["base"]["confusion"]
    page = make_page([copied_run])
    assert page.answer[0].startswith("This run is not finished")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, report_file: Path) -> Iterator[Any]:
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    opened = context.new_page()
    opened.logged = []
    opened.fetched = []
    opened.on("console", lambda message: opened.logged.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: opened.logged.append(str(error)))
    opened.on("request", lambda made: opened.fetched.append(made.url))
    opened.goto(report_file.as_uri())
    opened.wait_for_selector("html[data-ready=yes]", timeout=30_000, state="attached")
    yield opened
    context.close()


def test_all_is_drawn_and_nothing_is_fetched_or_logged(page: Any, report_file: Path, request: Any) -> None:
    plots = page.locator(".plot")
    assert plots.count() >= 8
    assert page.locator(".plot[data-drawn=yes] svg").count() == plots.count()
    marks = "svg [aria-roledescription=point], svg [aria-roledescription=bar], svg [aria-roledescription='rect mark']"
    assert all(plots.nth(i).locator(marks).count() >= 1 for i in range(plots.count()))
    assert page.logged == []
    assert [url for url in page.fetched if not url.startswith(("data:", "blob:"))] == [report_file.as_uri()]
    kept = os.environ.get("PRECBENCH_SCREENSHOTS")
    if kept:
        page.screenshot(path=f"{kept}/{request.node.callspec.id}.png", full_page=True)


def test_a_script_that_is_not_the_page_s_own_does_not_run(browser: Any, report_file: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.html"
    text = report_file.read_text(encoding="utf-8")
    foreign.write_text(text.replace("</main>", "<script>window.foreign = 1</script></main>"), encoding="utf-8")
    page = browser.new_page()
    page.goto(foreign.as_uri())
    page.wait_for_selector("html[data-ready=yes]", timeout=30_000, state="attached")
    assert page.evaluate("window.foreign") is None
    page.close()


def test_the_page_is_no_wider_than_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_chooser_shows_one_variant_at_a_time(page: Any) -> None:
    chooser = page.locator(".chooser")
    options = chooser.locator("option")
    assert options.count() >= 3
    assert page.locator(".panel:visible h3").all_inner_texts() == ["full precision"]
    chooser.select_option(index=1)
    assert page.locator(".panel:visible img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    assert page.locator(".panel:visible h3").all_inner_texts() == [options.nth(1).inner_text()]


def test_a_table_can_be_sorted_by_keyboard_both_ways(page: Any) -> None:
    page.locator("#figure-accuracy summary").click()
    sheet = page.locator("#figure-accuracy .sheet")
    header = sheet.locator("th").nth(2)
    values = "cells => cells.map(cell => Number(cell.dataset.value))"

    def column() -> list[float]:
        return list(sheet.locator("tbody td:nth-child(3)").evaluate_all(values))

    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(column())
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column() == sorted(column(), reverse=True)


def test_a_table_can_be_saved_as_csv(page: Any) -> None:
    page.locator("#figure-accuracy summary").click()
    sheet = page.locator("#figure-accuracy .sheet")
    with page.expect_download() as started:
        sheet.locator(".save").click()
    text = Path(started.value.path()).read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    assert started.value.suggested_filename == "accuracy.csv"
    assert rows[0] == sheet.locator("thead th").all_inner_texts()
    assert len(rows) == 1 + sheet.locator("tbody tr").count()


def test_the_group_of_the_histogram_can_be_chosen(page: Any) -> None:
    plot = page.locator("#figure-weights")
    before = plot.locator("svg").inner_html()
    plot.locator("select").select_option(index=2)
    page.wait_for_function("before => document.querySelector('#figure-weights svg').innerHTML !== before", arg=before)


def test_dark_and_light_can_be_chosen(page: Any) -> None:
    colours = """[getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('.plot svg text')).fill]"""
    before = page.evaluate(colours)
    page.locator("#theme").click()
    after = page.evaluate(colours)
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"


def test_each_plot_says_what_it_shows(page: Any) -> None:
    for plot in page.locator(".plot").all():
        assert plot.get_attribute("role") in ("img", "graphics-document")
        assert plot.get_attribute("aria-label")
    assert page.locator("figure").count() == page.locator("figure details table").count()
