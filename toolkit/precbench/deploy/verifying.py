"""Check a deployed folder on the machine where it landed: files, provider, outputs, a first look at its time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

from precbench.bench.sessions import open_model
from precbench.deploy.manifest import MANIFEST, REFERENCE, Manifest, read_manifest
from precbench.deploy.reference import agreement, read_reference
from precbench.errors import PrecbenchError
from precbench.files import file_digest
from precbench.runtime import Session, SessionSettings, environment

_WARM_CALLS, _CALLS = 3, 15
_LEAST_SAME = 0.9  # of top-1 classes, and of integers: a level of int8 may fall to the other side


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked.

    Args:
        name: what.
        passed: whether it holds; None where it is only told.
        found: in words, with the value.
        remedy: where it does not hold.
    """

    name: str
    passed: bool | None
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"name": self.name, "passed": self.passed, "found": self.found, "remedy": self.remedy}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was checked of a deployed folder, in order; nothing after files that are damaged is run."""

    folder: Path
    form: str
    checks: tuple[Check, ...]
    environment: dict[str, Any]
    session: Mapping[str, Any] | None

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.passed is not False for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "folder": str(self.folder),
            "form": self.form,
            "passed": self.passed,
            "checks": [check.to_json() for check in self.checks],
            "session": self.session,
            "environment": self.environment,
        }


def verify(folder: Path, settings: SessionSettings) -> Verification:
    """Check a deployed folder.

    Args:
        folder: that `deploy` wrote, perhaps elsewhere.
        settings: of the session; its provider is what the folder is checked for.

    Raises:
        ModelError: it is no deployed folder, or its manifest is damaged.
    """
    manifest = read_manifest(folder)
    checks, session = list(_checks_of_files(manifest)), None
    if all(check.passed for check in checks):
        session, found = _checks_of_session(manifest, settings)
        checks += found
    return Verification(
        folder=folder,
        form=manifest.form,
        checks=tuple(checks),
        environment=environment(),
        session=None if session is None else session.record(),
    )


def _checks_of_files(manifest: Manifest) -> Iterator[Check]:
    remedy = "copy the folder again from where it was made"
    for name, digest in manifest.files.items():
        path = manifest.folder / name
        if path.is_symlink() or not path.is_file():
            found = "is missing" if not path.is_symlink() else "is a link"
        elif file_digest(path) != digest:
            size, wanted = path.stat().st_size, manifest.value["files"][name].get("bytes")
            sizes = f" ({size:,} bytes, then {wanted:,})" if isinstance(wanted, int) and wanted != size else ""
            found = f"is not the file that was deployed{sizes}"
        else:
            yield Check(name=name, passed=True, found="as deployed")
            continue
        yield Check(name=name, passed=False, found=found, remedy=remedy)
    known = {*manifest.files, MANIFEST}
    extra = sorted(path.name for path in manifest.folder.iterdir() if path.name not in known)
    if extra:
        yield Check(name="other files", passed=True, found=f"not of the deployment, not looked at: {', '.join(extra)}")


def _checks_of_session(manifest: Manifest, settings: SessionSettings) -> tuple[Session | None, list[Check]]:
    try:
        session = open_model(manifest.model, settings)
    except PrecbenchError as error:
        return None, [Check(name="session", passed=False, found=error.problem, remedy=error.remedy)]
    placed = ", ".join(
        f"{count} on {name.removesuffix('ExecutionProvider')}" for name, count in session.placement.items()
    )
    checks = [Check(name="provider", passed=True, found=f"{session.provider}: nodes {placed}")]
    try:
        feeds, expected = read_reference(manifest.folder / REFERENCE, session.inputs)
        checks += [_check_of_outputs(manifest, session, feeds, expected), _time(session, feeds)]
    except PrecbenchError as error:
        checks.append(Check(name="outputs", passed=False, found=error.problem, remedy=error.remedy))
    return session, checks


def _check_of_outputs(manifest: Manifest, session: Session, feeds: dict[str, Any], expected: dict[str, Any]) -> Check:
    found = agreement(expected, session.run(feeds))
    tolerance = float(manifest.value["reference_outputs"]["tolerance"])
    top = "" if found.same_top is None else f", same top-1 class in {100 * found.same_top:.0f} %"
    words = f"differ by {found.difference:.2g} of the largest value at most (tolerance {tolerance:g}){top}"
    if found.same < 1:
        words += f", {100 * found.same:.0f} % of the integers equal"
    if not found.same_finite:
        words = "have NaN or infinity where the reference has numbers, or the reverse"
    alike = found.same >= _LEAST_SAME and (found.same_top is None or found.same_top >= _LEAST_SAME)
    passed = found.same_finite and found.difference <= tolerance and alike
    remedy = "this runtime or processor computes the model otherwise: measure its accuracy here (precbench evaluate)"
    return Check(name="outputs", passed=passed, found=words, remedy="" if passed else remedy)


def _time(session: Session, feeds: dict[str, Any]) -> Check:
    """A first look, no measurement: one session, a few calls."""
    bound = session.bind(feeds)
    for _ in range(_WARM_CALLS):
        bound()
    elapsed_ns = []
    for _ in range(_CALLS):
        start = perf_counter_ns()
        bound()
        elapsed_ns.append(perf_counter_ns() - start)
    rows = max((len(array) for array in feeds.values() if array.ndim), default=1)
    words = f"{median(elapsed_ns) / 1e6:.2f} ms for {rows} samples (median of {_CALLS} calls; precbench bench measures)"
    return Check(name="time", passed=None, found=words)
