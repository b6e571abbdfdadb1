"""`precbench verify`: check a deployed folder on the machine where it landed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from precbench.cli.app import app
from precbench.cli.output import (
    Json,
    OptimizationLevel,
    Provider,
    ProviderOption,
    Threads,
    emit,
    progress,
    say_provider,
    session_settings,
)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A folder that `precbench deploy` wrote.")],
    threads: Threads = 1,
    provider: Provider = "cpu",
    provider_option: ProviderOption = None,
    opt_level: OptimizationLevel = "all",
    as_json: Json = False,
) -> None:
    """Check a deployed folder on this machine.

    Its files' digests, the provider, its outputs against those stored, a first time.

    Exit status 1: something does not hold; the table names it.

    Example: precbench verify shipped/ --ep cuda
    """
    from precbench.deploy.verifying import verify as verify_folder

    found = verify_folder(folder, session_settings(provider, provider_option, threads, opt_level))
    if found.session is not None:
        say_provider(found.session, progress())
    record = found.to_json()
    emit("verify", record, as_json=as_json, show=lambda console: _show(console, record))
    if not found.passed:
        raise typer.Exit(1)


def _show(console: Any, record: dict[str, Any]) -> None:
    from precbench.report.deployment import about_verification, check_table
    from precbench.report.terminal import say

    console.print(check_table(record["checks"]))
    for sentence in about_verification(record):
        say(console, f"\n{sentence}")
