"""How much two sessions of one and the same model differ: the A/A control of a run, set by set and all together.

Run: precbench run; python benchmarks/session_luck.py runs/mobilenetv2-digits/timing.json
It writes benchmarks/results/session_luck.json, with the environment of the run.
"""

import json
import sys
from pathlib import Path
from typing import Any

from precbench.files import write_json
from precbench.timing import Ratio, Samples, paired_ratio, replicated_ratio

RESULT = Path(__file__).parent / "results" / "session_luck.json"


def compared(sets: list[Samples], arm: str) -> dict[str, Any]:
    """Return the ratio of an arm to the base within each set of sessions, and over all sets."""
    alone = [paired_ratio(samples, base="base", variant=arm, seed=0) for samples in sets]
    together = replicated_ratio(sets, base="base", variant=arm, seed=0)
    return {
        "arm": arm,
        "sets": [ratio.to_json() for ratio in alone],
        "sets_that_exclude_1": sum(not covers_1(ratio) for ratio in alone),
        "together": together.to_json(),
    }


def covers_1(ratio: Ratio) -> bool:
    """Whether no difference lies within the interval."""
    return ratio.low <= 1 <= ratio.high


def main(timing: Path) -> None:
    """Compare the control and each variant with the base, print, and write the result."""
    record = json.loads(timing.read_text(encoding="utf-8"))
    sets = [Samples.from_json(value) for value in record["samples"]]
    rows = [compared(sets, arm) for arm in ("control", *record["variants"])]
    for row in rows:
        points = [ratio["point"] for ratio in row["sets"]]
        all_sets = row["together"]
        print(
            f"{row['arm']}: alone {min(points):.3f} to {max(points):.3f}, {row['sets_that_exclude_1']} of "
            f"{len(points)} intervals exclude 1; together {all_sets['point']:.3f} "
            f"[{all_sets['low']:.3f}, {all_sets['high']:.3f}]"
        )
    command = "precbench run; python benchmarks/session_luck.py runs/mobilenetv2-digits/timing.json"
    write_json(RESULT, {"schema_version": 1, "command": command, "rows": rows, "environment": record["environment"]})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
