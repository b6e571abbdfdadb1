"""How often two intervals of the difference of paired accuracies hold the truth, by enumeration: Tango's, Newcombe's.

Run: python benchmarks/paired_intervals.py
It writes benchmarks/results/paired_intervals.json and .md. For each number of images and each pair of true shares of
gained and lost images, every count of both is gone through with its multinomial probability: nothing is drawn. That the
interval lies wholly above the truth is as likely as a false "no loss" at a margin of just the true loss.
"""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from laboratory import HERE, table, write_result
from numpy.typing import NDArray
from scipy import stats

from precbench.accuracy.tango import tango_score

LEVEL = 0.95
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
IMAGES = (360, 1_000, 10_000)
ACCURACY = 0.94  # of the reference; Newcombe's interval depends on it, Tango's does not
LOST = (0.0, *np.geomspace(2e-5, 0.03, 60))
GAINED = (0.0, 2e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
TAIL = 1e-9  # of the probability that is left out of an enumeration, at each end of each count
QUANTILES = (np.arange(9) + 0.5) / 9  # of the images that both have right, given the flips

Counts = NDArray[np.int64]
Sides = tuple[NDArray[np.bool_], NDArray[np.bool_]]
Method = Callable[[Counts, Counts, Counts, int, float], Sides]
"""From gained, lost, both right, images, true difference: where the interval lies above the truth, where below."""


def tango(gained: Counts, lost: Counts, both: Counts, images: int, truth: float) -> Sides:
    """Tell where Tango's interval misses the truth; `both` says nothing to it."""
    del both

    def one(g: int, k: int) -> float:
        return tango_score(gained=int(g), lost=int(k), total=images, difference=truth)

    score = np.vectorize(one, otypes=[float])(gained, lost)
    return score > Z, score < -Z


def newcombe(gained: Counts, lost: Counts, both: Counts, images: int, truth: float) -> Sides:
    """Tell where Newcombe's interval (method 10; Statistics in Medicine 17, 1998, 2635-2650) misses the truth."""
    first, second = both + lost, both + gained
    neither = images - both - lost - gained
    phi = correlation(both, lost, gained, neither)
    (first_low, first_high), (second_low, second_high) = wilson(first, images), wilson(second, images)
    below = add(second / images - second_low, first_high - first / images, phi)
    above = add(first / images - first_low, second_high - second / images, phi)
    difference = (gained - lost) / images
    return difference - below > truth, difference + above < truth


def wilson(count: Counts, images: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of Wilson's interval."""
    share = count / images
    centre = (share + Z * Z / 2 / images) / (1 + Z * Z / images)
    half = Z * np.sqrt(share * (1 - share) / images + Z * Z / 4 / images**2) / (1 + Z * Z / images)
    return centre - half, centre + half


def correlation(both: Counts, lost: Counts, gained: Counts, neither: Counts) -> NDArray[np.float64]:
    """Return phi with the continuity correction of method 10."""
    margins = 1.0 * (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    product = 1.0 * both * neither - 1.0 * lost * gained
    corrected = np.where(product > 0, np.maximum(product - (both + lost + gained + neither) / 2, 0), product)
    return np.divide(corrected, np.sqrt(margins), out=np.zeros_like(margins), where=margins > 0)


def add(one: NDArray[Any], other: NDArray[Any], phi: NDArray[Any]) -> NDArray[np.float64]:
    """Square and add, less what the correlation accounts for."""
    return np.sqrt(np.maximum(one * one - 2 * phi * one * other + other * other, 0))


METHODS: dict[str, Method] = {"Tango": tango, "Newcombe, method 10": newcombe}


def likely(images: int, share: float) -> Counts:
    """Return the counts of a binomial share that are worth going through."""
    return np.arange(stats.binom.ppf(TAIL, images, share), stats.binom.isf(TAIL, images, share) + 1, dtype=np.int64)


def misses(images: int, gained: float, lost: float) -> dict[str, tuple[float, float]]:
    """Return each method's chance to lie above the truth and below it, at true shares of gained and lost images."""
    k, g = (axis.ravel() for axis in np.meshgrid(likely(images, lost), likely(images, gained), indexing="ij"))
    k, g = k[k + g <= images], g[k + g <= images]
    chance = stats.binom.pmf(k, images, lost) * stats.binom.pmf(g, images - k, gained / (1 - lost))
    worth = chance > TAIL**2
    k, g, chance = k[worth], g[worth], chance[worth]
    right = (ACCURACY - lost) / (1 - gained - lost)
    boths = [stats.binom.ppf(quantile, images - k - g, right).astype(np.int64) for quantile in QUANTILES]
    found = {}
    for name, method in METHODS.items():
        used = boths if method is newcombe else boths[:1]
        sides = [method(g, k, both, images, gained - lost) for both in used]
        found[name] = tuple(float(np.mean([chance[side[end]].sum() for side in sides])) for end in (0, 1))
    return found


def row_of(images: int, name: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up one method's misses over all true shares with a flip now and then (one in ten samples, or more)."""
    seen = [case for case in cases if images * (case["gained"] + case["lost"]) >= 0.1]
    above, below = (np.array([case["misses"][name][end] for case in seen]) for end in (0, 1))
    losses = np.array([case["lost"] > case["gained"] for case in seen])
    worst = seen[int(np.argmax(np.where(losses, above, -1)))]
    return {
        "images": images,
        "method": name,
        "cases": len(seen),
        "coverage_mean": float(np.mean(1 - above - below)),
        "coverage_least": float(np.min(1 - above - below)),
        "false_no_loss_mean": float(above[losses].mean()),
        "false_no_loss_most": float(above[losses].max()),
        "false_no_loss_most_at": {"gained": worst["gained"], "lost": worst["lost"]},
        "below_mean": float(below.mean()),
        "below_most": float(below.max()),
    }


def text_of(row: dict[str, Any]) -> dict[str, str]:
    """Write a row of the table."""
    at = row["false_no_loss_most_at"]
    return {
        "images": f"{row['images']:,}",
        "interval": row["method"],
        "holds the truth: mean": f"{100 * row['coverage_mean']:.1f} %",
        "least": f"{100 * row['coverage_least']:.1f} %",
        "false no loss (2.5 % allowed): mean": f"{100 * row['false_no_loss_mean']:.2f} %",
        "most": f"{100 * row['false_no_loss_most']:.2f} %",
        "there gained, lost": f"{100 * at['gained']:.3g} %, {100 * at['lost']:.3g} %",
        "wholly below the truth: most": f"{100 * row['below_most']:.1f} %",
    }


def main() -> None:
    """Enumerate, and write the table."""
    made = ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    options = made.parse_args()
    rows = []
    for images in IMAGES:
        cases = [
            {"gained": gained, "lost": lost, "misses": misses(images, gained, lost)}
            for gained in GAINED
            for lost in LOST
        ]
        rows += [row_of(images, name, cases) for name in METHODS]
    value = {"level": LEVEL, "accuracy": ACCURACY, "lost": LOST, "gained": GAINED, "rows": rows}
    write_result(options.results, "paired_intervals", value, table([text_of(row) for row in rows]))


if __name__ == "__main__":
    main()
