"""Correct decimal rounding against `numpy.round`: the time ratio, and how many weights `numpy.round` puts elsewhere.

Run: python benchmarks/rounding.py
It writes benchmarks/results/rounding.json, with the environment.
"""

from pathlib import Path
from typing import Any

import numpy as np

from precbench.files import write_json
from precbench.grids import round_to_decimals
from precbench.runtime import environment
from precbench.timing import measure_within, paired_ratio

RESULT = Path(__file__).parent / "results" / "rounding.json"
ELEMENTS = 1 << 21  # about as many as MobileNetV2 has kernel elements


def measured(decimals: int, *, budget_s: float = 5.0) -> dict[str, Any]:
    """Time both roundings of the same N(0, 0.1) float32 weights, interleaved in one process."""
    weights = np.random.default_rng(0).normal(0, 0.1, ELEMENTS).astype(np.float32)
    arms = {
        "numpy": lambda: np.round(weights, decimals),
        "precbench": lambda: round_to_decimals(weights, decimals),
    }
    samples = measure_within(arms, budget_s=budget_s, warmup_rounds=5, seed=0)
    ratio = paired_ratio(samples, base="numpy", variant="precbench", seed=0)
    elsewhere = int(np.count_nonzero(np.round(weights, decimals) != round_to_decimals(weights, decimals)))
    return {
        "decimals": decimals,
        "elements": ELEMENTS,
        "time_over_numpy": ratio.to_json(),
        "gigabytes_per_s": weights.nbytes / samples.median_ns("precbench"),
        "numpy_puts_elsewhere": elsewhere,
    }


def main() -> None:
    """Measure at 1, 4 and 9 decimals, print, and write the result."""
    rows = [measured(decimals) for decimals in (1, 4, 9)]
    for row in rows:
        ratio = row["time_over_numpy"]
        print(
            f"{row['decimals']} decimals: {ratio['point']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] times "
            f"numpy.round, {row['gigabytes_per_s']:.1f} GB/s; numpy.round puts "
            f"{100 * row['numpy_puts_elsewhere'] / row['elements']:.2f} % of the weights elsewhere"
        )
    command = "python benchmarks/rounding.py"
    write_json(RESULT, {"schema_version": 1, "command": command, "rows": rows, "environment": environment()})


if __name__ == "__main__":
    main()
