"""How long correct rounding takes against numpy.round, and how often that one puts a weight elsewhere.

Run: python benchmarks/rounding.py
It writes benchmarks/results/rounding.json. It is measured as models are: in fresh processes, numpy.round twice (A/A).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from precbench.files import write_json
from precbench.grids import round_to_decimals
from precbench.runtime import environment
from precbench.timing.engine import Design, measure_processes
from precbench.timing.processes import Prepared, ProcessRunner, child_main
from precbench.timing.schedule import ProcessPlan
from precbench.timing.statistics import latencies
from precbench.timing.verdict import Comparison

HERE = Path(__file__).parent
RESULT = HERE / "results" / "rounding.json"
ELEMENTS = 1 << 21  # about as many as MobileNetV2 has kernel elements
COMPARISON = Comparison(arm="precbench", base="numpy", control="numpy again")


def weights() -> Any:
    """Return N(0, 0.1) float32 weights, the same ones every time."""
    return np.random.default_rng(0).normal(0, 0.1, ELEMENTS).astype(np.float32)


def prepare(decimals: int, plan: ProcessPlan) -> Prepared:
    """Return how to make each arm, in a measuring process."""
    del plan
    array = weights()

    def make(arm: str) -> Callable[[], object]:
        return lambda: round_to_decimals(array, decimals) if arm == "precbench" else np.round(array, decimals)

    return make, None


def measured(decimals: int, *, budget_s: float = 10.0) -> dict[str, Any]:
    """Time both roundings of the same weights."""
    design = Design(groups=(("numpy", "numpy again", "precbench"),), comparisons=(COMPARISON,), budget_s=budget_s)
    found = measure_processes(design, ProcessRunner("rounding", decimals, folder=HERE))
    elsewhere = int(np.count_nonzero(np.round(weights(), decimals) != round_to_decimals(weights(), decimals)))
    return {
        "decimals": decimals,
        "elements": ELEMENTS,
        "finding": found.findings[0].to_json(),
        "gigabytes_per_s": weights().nbytes / latencies(found.processes)["precbench"]["median_ns"],
        "numpy_puts_elsewhere": elsewhere,
    }


def main() -> None:
    """Measure at 1, 4 and 9 decimals, print, and write the result."""
    rows = [measured(decimals) for decimals in (1, 4, 9)]
    for row in rows:
        ratio, control = row["finding"]["ratio"], row["finding"]["control_ratio"]
        print(
            f"{row['decimals']} decimals: {ratio['point']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] times "
            f"numpy.round (A/A {control['low']:.3f} to {control['high']:.3f}), {row['gigabytes_per_s']:.1f} GB/s; "
            f"numpy.round puts {100 * row['numpy_puts_elsewhere'] / row['elements']:.2f} % of the weights elsewhere"
        )
    command = "python benchmarks/rounding.py"
    write_json(RESULT, {"schema_version": 2, "command": command, "rows": rows, "environment": environment()})


if __name__ == "__main__":
    sys.exit(child_main(prepare, sys.argv[1:]) if len(sys.argv) > 1 else main())
