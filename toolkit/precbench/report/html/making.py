"""From folders to a page: which page it is that was asked for, and what is read for it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from precbench.deploy.manifest import MANIFEST, Manifest, read_manifest
from precbench.errors import PrecbenchError, UsageError
from precbench.progress import SILENT, Progress
from precbench.report.html.comparing_page import comparing_page
from precbench.report.html.material import RunMaterial, read_run
from precbench.report.html.study_page import study_page
from precbench.report.html.view import Page
from precbench.study.definition import study_from_json
from precbench.study.journal import Journal
from precbench.study.material import Material, Places
from precbench.study.run_folder import check_is_run_folder

REPORT = "report.html"


def make_page(sources: Sequence[Path], *, data: Path | None = None, progress: Progress = SILENT) -> Page:
    """Return the page of a run with its deployed folders, or of several runs side by side.

    Args:
        sources: run folders and deployed folders.
        data: where the data set lies whose images are shown, if the study does not say.
        progress: told of what is missing.

    Raises:
        UsageError: there is no run among them, or deployed folders beside several.
        OutputError, DataError, ModelError: one is neither, or is damaged.
    """
    deployed, runs = list[Manifest](), list[RunMaterial]()
    for folder in sources:
        if (folder / MANIFEST).is_file():
            deployed.append(read_manifest(folder))
        else:
            check_is_run_folder(folder, exists=True)
            runs.append(read_run(folder))
    if not runs:
        raise UsageError("there is no run among these folders", "name a run folder, such as runs/mobilenetv2-digits")
    if len(runs) == 1:
        run = replace(runs[0], images=_images(runs[0].folder, data, progress))
        return study_page(run, [one.value for one in deployed])
    if deployed:
        raise UsageError(
            f"{deployed[0].folder} is a deployed folder beside {len(runs)} runs", "name it beside the run it is made of"
        )
    return comparing_page(runs)


def report_of_run(folder: Path, images: NDArray[np.uint8]) -> Page:
    """Return the page of a run whose test images are at hand."""
    return study_page(read_run(folder, images=images))


def default_output(sources: Sequence[Path]) -> Path:
    """Return where a page goes that no name is given: into the run folder, of several runs into the working folder."""
    runs = [folder for folder in sources if not (folder / MANIFEST).is_file()]
    return runs[0] / REPORT if len(runs) == 1 else Path(REPORT)


def _images(folder: Path, data: Path | None, progress: Progress) -> NDArray[np.uint8] | None:
    """Return the test images where they are at hand; a page does without."""
    try:
        study = study_from_json(Journal(folder).study())
        return Material(study, Places(data=data)).split("test").images
    except PrecbenchError as error:
        progress.note(f"without images of what flipped: {error.problem}")
        return None
