"""What made a page, and when."""

import datetime

import precbench


def made_by() -> str:
    """Return precbench's version and the time, to the minute."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
    return f"precbench {precbench.__version__}, {now}"
