"""Where a deployed model goes: a folder that is whole under its name, or not there."""

import os
import shutil
from pathlib import Path

from precbench.deploy.manifest import MANIFEST
from precbench.errors import OutputError


def check_folder(output: Path, *, force: bool) -> None:
    """Refuse an output that exists, unless it is a deployed folder that may be replaced.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    if output.exists() or output.is_symlink():
        if output.is_symlink() or not (output / MANIFEST).is_file():
            raise OutputError(f"the output {output} exists and is no deployed folder", "name another folder with -o")
        if not force:
            raise OutputError(
                f"the output {output} exists already", "name another with -o, or add --force to replace it"
            )
    parent = next(folder for folder in output.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"the output {output} cannot be written: {parent} is not a writable directory",
            "choose a folder that you can write to",
        )


def put_in_place(filled: Path, output: Path) -> None:
    """Give a filled folder its name; one that was there before goes only when the new one is in its place.

    Args:
        filled: on the same file system as `output`.
        output: absent, or a deployed folder.
    """
    filled.chmod(0o777 & ~_umask())
    if not output.exists():
        filled.rename(output)
        return
    old = filled.with_name("replaced")
    output.rename(old)
    try:
        filled.rename(output)
    except OSError:
        old.rename(output)
        raise
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
