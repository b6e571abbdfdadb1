"""Print the README's command of a name: the one line of the code block that follows `<!-- ci: NAME -->`."""

import re
import sys
from pathlib import Path


def command(readme: str, name: str) -> str:
    """Return the command; it is an error if there is not exactly one."""
    pattern = rf"<!-- ci: {re.escape(name)} -->\s*```\w*\n(.+)\n```"
    found = re.findall(pattern, readme)
    if len(found) != 1:
        raise SystemExit(f"README.md has {len(found)} commands of the name {name!r}, not one")
    return str(found[0])


if __name__ == "__main__":
    print(command((Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8"), sys.argv[1]))
