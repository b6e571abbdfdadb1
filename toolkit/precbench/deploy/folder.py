"""Where a deployed model goes: a folder that is whole under its name, or not there."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from precbench.deploy.manifest import MANIFEST, read_manifest
from precbench.errors import ModelError, OutputError, UsageError
from precbench.files import umask


def check_folder(output: Path, *, force: bool, sources: Iterable[Path] = ()) -> None:
    """Refuse an output that exists, unless it is a deployed folder that may be replaced.

    Args:
        output: the folder that is to be.
        force: whether a deployed folder, with nothing in it but what was deployed, may be replaced.
        sources: models that are read; none may lie in the output.

    Raises:
        UsageError: it has no name of its own, such as `.` and `..`.
        OutputError: it exists, or cannot be written.
    """
    if output.name in ("", ".."):
        raise UsageError(f"the output {str(output)!r} names no new folder", "name a folder that does not exist yet")
    if output.exists() or output.is_symlink():
        _check_replaceable(output, force)
    for source in sources:
        if source.resolve().is_relative_to(output.resolve()):
            raise OutputError(f"the input {source} lies in the output {output}", "name another folder with -o")
    parent = nearest_folder(output)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"the output {output} cannot be written: {parent} is not a writable directory",
            "choose a folder that you can write to",
        )


def _check_replaceable(output: Path, force: bool) -> None:
    another = "name another folder with -o"
    no_deployed = OutputError(f"the output {output} exists and is no deployed folder", another)
    if output.is_symlink() or not output.is_dir():
        raise no_deployed
    if not any(output.iterdir()):
        return
    try:
        manifest = read_manifest(output)
    except ModelError as error:
        raise no_deployed from error
    others = sorted(path.name for path in output.iterdir() if path.name not in {*manifest.files, MANIFEST})
    if others:
        raise OutputError(
            f"the output {output} holds what was not deployed: {', '.join(others[:5])}", f"move it, or {another}"
        )
    if not force:
        raise OutputError(f"the output {output} exists already", "name another with -o, or add --force to replace it")


def nearest_folder(output: Path) -> Path:
    """Return what exists of the path to a folder that is to be: its parent, or that one's parent, and so on."""
    return next(folder for folder in output.absolute().parents if folder.exists())


def put_in_place(filled: Path, output: Path, *, force: bool) -> None:
    """Give a filled folder its name; one that was there before goes only when the new one is in its place.

    What came there meanwhile is looked at again, and never replaced without `force`.

    Args:
        filled: on the same file system as `output`.
        output: absent, or a deployed folder.
        force: replace a deployed folder.

    Raises:
        OutputError: something is there that may not be replaced.
    """
    check_folder(output, force=force)
    filled.chmod(0o777 & ~umask())
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        _rename(filled, output)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{output.name}.replaced.", dir=output.parent))
    try:
        output.rename(aside)
        _rename(filled, output)
    except BaseException:
        if aside.exists() and not output.exists():
            aside.rename(output)
        raise
    shutil.rmtree(aside)


def _rename(filled: Path, output: Path) -> None:
    """Rename a folder; the system itself refuses where a file has come, or a folder with something in it."""
    try:
        filled.rename(output)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise OutputError(f"the output {output} came into being meanwhile", "name another with -o") from error
