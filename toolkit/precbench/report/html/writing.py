"""Write a page as one file: styles, scripts and the plotting library inside, nothing fetched."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

from precbench.files import check_output, write_atomically, write_text
from precbench.report.html.installed import check_installed
from precbench.report.html.view import Page

_FORMATS = ("svg", "png")
_WIDTH = 560  # pixels of a plot in a paper


def write_page(page: Page, path: Path, *, force: bool = False) -> Path:
    """Write the page; returns where.

    Raises:
        MissingDependencyError: a package of the extra `report` is not installed.
        OutputError: it exists already (without `force`), or cannot be written.
    """
    check_output(path, force=force)
    write_text(path, page_html(page))
    return path


def page_html(page: Page) -> str:
    """Return the page as HTML; every text in it is escaped.

    Raises:
        MissingDependencyError: a package of the extra `report` is not installed.
    """
    check_installed()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("precbench.report.html", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    from markupsafe import Markup

    drawn = any(section.figures for section in page.sections)
    scripts = [*([_vega()] if drawn else []), _own("report.js")]
    return environment.get_template("report.html.j2").render(
        page=page,
        style=Markup(_own("report.css")),
        scripts=[Markup(one) for one in scripts],
        may_run=Markup(" ".join(_hash(one) for one in scripts)),
    )


def _hash(script: str) -> str:
    """What a Content-Security-Policy calls a script by its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def write_figures(page: Page, folder: Path, *, force: bool = False) -> list[Path]:
    """Write each plot as SVG and PNG; returns the files.

    Raises:
        MissingDependencyError: a package of the extra `report` is not installed.
        OutputError: one exists already (without `force`), or cannot be written.
    """
    figures = [figure for section in page.sections for figure in section.figures]
    for figure in figures:
        for kind in _FORMATS:
            check_output(folder / f"{figure.name}.{kind}", force=force)
    drawn = [(folder / figure.name, _drawn(figure.spec)) for figure in figures]
    return [path for place, made in drawn for path in _write_all(place, made)]


def write_plot(spec: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write a plot as SVG and PNG, replacing what is there; returns the files.

    Raises:
        MissingDependencyError: a package of the extra `report` is not installed.
        OutputError: one cannot be written.
    """
    check_installed()
    return _write_all(folder / name, _drawn(spec))


def _drawn(spec: Mapping[str, Any]) -> dict[str, bytes]:
    import vl_convert

    drawn = {**spec, "width": _WIDTH, "background": "white"}
    return {"svg": vl_convert.vegalite_to_svg(drawn).encode(), "png": vl_convert.vegalite_to_png(drawn, scale=2)}


def _write_all(place: Path, made: Mapping[str, bytes]) -> list[Path]:
    files = {place.with_name(f"{place.name}.{kind}"): data for kind, data in made.items()}
    for path, data in files.items():
        write_atomically(path, partial(_write_bytes, data))
    return [*files]


def _write_bytes(data: bytes, path: Path) -> None:
    path.write_bytes(data)


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, which sets `vegaEmbed`."""
    import vl_convert

    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return bundle.replace("</script", "<\\/script")


def _own(name: str) -> str:
    return resources.files("precbench.report.html").joinpath("templates", name).read_text(encoding="utf-8")
