"""The page of one run: the answer first, then what it rests on."""

from collections.abc import Mapping, Sequence
from typing import Any

from precbench.report.html.accuracy import decimals_figures, flips_sheet, part_figures, tradeoff_figures
from precbench.report.html.answer import answer
from precbench.report.html.confusions import confusions_section
from precbench.report.html.deployed import deployed_section
from precbench.report.html.evidence import timing_section
from precbench.report.html.made import made_by
from precbench.report.html.material import RunMaterial
from precbench.report.html.network import network_figures
from precbench.report.html.repeating import repeating_section
from precbench.report.html.view import Page, Section
from precbench.report.study_report import study_sentences


def study_page(run: RunMaterial, deployed: Sequence[Mapping[str, Any]] = ()) -> Page:
    """Return the page of a run.

    Args:
        run: what was found.
        deployed: manifests of deployed folders that were made of its model.
    """
    sections = [
        Section(
            anchor="decimals",
            title="Decimals",
            paragraphs=study_sentences(run.results),
            figures=[*decimals_figures(run), *tradeoff_figures(run, deployed)],
        ),
        deployed_section(run, deployed),
        Section(
            anchor="layers",
            title="Groups and layers",
            figures=[*part_figures(run), *([] if run.base is None else network_figures(run.base))],
            sheets=_combinations(run),
        ),
        confusions_section(run),
        timing_section(run),
        repeating_section(run),
    ]
    return Page(
        title=f"{run.name}: {run.results['study']['architecture']['name']}, rounded",
        answer=answer(run, deployed),
        sections=[section for section in sections if not section.is_empty],
        made=made_by(),
    )


def _combinations(run: RunMaterial) -> list[Any]:
    shown = [one for one in run.experiments("combinations") if one.rows]
    return [flips_sheet(run, one.title, one.rows, name=f"combinations{one.suffix}") for one in shown]
