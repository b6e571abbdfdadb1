"""From folders to a page: which page it is that was asked for, and what is read for it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from precbench.bench.gate import model_digest
from precbench.deploy.manifest import MANIFEST, Manifest, read_manifest
from precbench.errors import ModelError, PrecbenchError, UsageError
from precbench.progress import SILENT, Progress
from precbench.report.html.comparing_page import comparing_page
from precbench.report.html.material import RunMaterial, read_run
from precbench.report.html.study_page import study_page
from precbench.report.html.view import Page
from precbench.report.html.writing import write_page
from precbench.study.definition import study_from_json
from precbench.study.material import Material, Places
from precbench.study.run_folder import BASE_MODEL, check_is_run_folder

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
            deployed.append(_deployed(folder))
        else:
            check_is_run_folder(folder, exists=True)
            runs.append(read_run(folder))
    if not runs:
        raise UsageError("there is no run among these folders", "name a run folder, such as runs/mobilenetv2-digits")
    if len(runs) == 1:
        for one in deployed:
            _check_of_this_run(one, runs[0])
        run = replace(runs[0], images=_images(runs[0], data, progress))
        return study_page(run, [one.value for one in deployed])
    if deployed:
        raise UsageError(
            f"{deployed[0].folder} is a deployed folder beside {len(runs)} runs", "name it beside the run it is made of"
        )
    return comparing_page(runs)


def write_report_of_run(folder: Path, images: NDArray[np.uint8]) -> Path:
    """Write the report of a run whose test images are at hand into its folder, in place of an older one.

    Args:
        folder: of the run.
        images: uint8 RGB [n, height, width, 3], those that were evaluated.

    Raises:
        OutputError: it cannot be written.
    """
    return write_page(study_page(read_run(folder, images=images)), folder / REPORT, force=True)


def write_report(page: Page, sources: Sequence[Path], output: Path | None, *, force: bool) -> Path:
    """Write a page where it was asked for; returns where.

    Args:
        page: to write.
        sources: that it is made of.
        output: the file; `report.html` where None: of one run in its folder, where an older one is replaced, of several
            in the working folder.
        force: replace a file that exists.

    Raises:
        OutputError: the file exists already, or cannot be written.
    """
    if output is not None:
        return write_page(page, output, force=force)
    runs = [folder for folder in sources if not (folder / MANIFEST).is_file()]
    if len(runs) == 1:
        return write_page(page, runs[0] / REPORT, force=True)
    return write_page(page, Path(REPORT), force=force)


def _deployed(folder: Path) -> Manifest:
    """Read a manifest that has what a page shows of it."""
    found = read_manifest(folder)
    missing = [key for key in ("accuracy", "bytes", "time", "reference") if key not in found.value]
    timed_on = ("ratios", "provider", "intra_op_threads")
    missing += [f"time.{key}" for key in timed_on if found.value.get("time") and key not in found.value["time"]]
    if missing or not isinstance(found.value["bytes"], dict) or not isinstance(found.value["reference"], dict):
        raise ModelError(f"{folder}: its manifest does not say {', '.join(missing) or 'its bytes'}", "deploy it again")
    return found


def _check_of_this_run(manifest: Manifest, run: RunMaterial) -> None:
    """Refuse a deployed folder that was compared with another model: its figures say nothing of this run."""
    base = run.folder / BASE_MODEL
    if base.is_file() and manifest.value["reference"].get("digest") != model_digest(base):
        raise UsageError(
            f"{manifest.folder} was compared with another model than {base}",
            f"deploy it with --reference {base}",
        )


def _images(run: RunMaterial, data: Path | None, progress: Progress) -> NDArray[np.uint8] | None:
    """Return the test images where they are at hand, and those that were evaluated; a page does without."""
    source = run.results["study"]["data"]["source"]
    if source == "cifar10" and data is None:
        progress.note("without images of what flipped: name where cifar10 lies with --data-dir")
        return None
    try:
        test = Material(study_from_json(run.results["study"]), Places(data=data)).split("test")
    except PrecbenchError as error:
        progress.note(f"without images of what flipped: {error.problem}")
        return None
    if run.labels is None or test.labels is None or not np.array_equal(test.labels, run.labels):
        progress.note("without images of what flipped: the data there are not those that were evaluated")
        return None
    return test.images
