"""How often a search finds a plan that loses more than its limit: searches on made-up populations whose truth is known.

Run: python benchmarks/search_errors.py
Each image has a lead, and each layer on each grid moves it by noise of its own, as rounding does. A search sees some
images to measure shifts on and some to choose by; the loss of the plan that it finds is then counted on all. It writes
benchmarks/results/search_errors.json and .md.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from laboratory import HERE, table_of, write_result
from numpy.typing import NDArray

from precbench.accuracy import Flips
from precbench.accuracy.proportions import wilson_interval
from precbench.search.frontier import Choice, Shifts
from precbench.search.limit import LEVEL, Limit
from precbench.search.searching import Options, search

LIMIT = 0.5
STEPS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of a population, and of what a search sees of it."""

    layers: int = 12
    images: int = 60_000
    validation: int = 4000
    calibration: int = 256


class Population:
    """Images with a lead each, most of them right; a layer on a grid moves leads by noise as large as its step."""

    def __init__(self, rng: np.random.Generator, sizes: Sizes) -> None:
        """Draw it."""
        self.sizes = sizes
        self.lead = np.abs(rng.normal(0, 2.5, sizes.images)) + 0.01
        self.right = rng.random(sizes.images) < 0.6 + 0.4 * np.minimum(self.lead, 1)
        self.luck = rng.random(sizes.images) < 0.3  # of the wrong that change their class
        scale = rng.lognormal(0, 1, sizes.layers)[:, None] * np.array(STEPS)
        noise = rng.normal(size=(sizes.layers, len(STEPS), sizes.images))
        self.moves = (noise * scale[:, :, None]).astype(np.float32)
        weights = rng.lognormal(0, 1, sizes.layers)
        self.costs = [[float(weight * bits) for bits in range(len(STEPS) + 3, 3, -1)] for weight in weights]

    def flips(self, choice: Choice, rows: NDArray[np.intp] | None = None) -> Flips:
        """Return what a choice does to some images; None: to all."""
        rows = np.arange(self.sizes.images) if rows is None else rows
        moved = sum(self.moves[layer, place][rows] for layer, place in enumerate(choice))
        changed = self.lead[rows] + moved < 0
        right = self.right[rows]
        return Flips(
            gained=int((changed & ~right & self.luck[rows]).sum()), lost=int((changed & right).sum()),
            changed=int(changed.sum()), total=len(rows), reference_correct=int(right.sum()), p_value=1.0,
            low_points=0.0, high_points=0.0, level=0.95,
        )  # fmt: skip


class Drawn:
    """A search's view of a population: some images to measure on, others to choose by, and others to confirm."""

    def __init__(self, population: Population, rng: np.random.Generator) -> None:
        """Draw the images."""
        sizes = population.sizes
        self.population = population
        rows = rng.permutation(sizes.images)
        self.validation, rows = rows[: sizes.validation], rows[sizes.validation :]
        self.test, rows = rows[: sizes.validation], rows[sizes.validation :]
        self.calibration = rows[: sizes.calibration]
        self.looks = 0

    def shifts(self, around: Choice | None, _options: Options) -> Shifts:
        """All of them, whatever is asked for."""
        whole = self.population.moves[:, :, self.calibration] / self.population.lead[self.calibration]
        options = whole.clip(-10, 10).astype(np.float64)
        if around is None:
            return Shifts(around=np.zeros(len(self.calibration)), options=options)
        held = options[range(len(around)), list(around)]
        return Shifts(around=held.sum(axis=0), options=options - held[:, None, :])

    def trial(self, choice: Choice) -> Flips:
        """On the validation images."""
        self.looks += 1
        return self.population.flips(choice, self.validation)

    def enough_for(self, **_: int) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A search that found a plan: its true loss, whether the test images confirm it, its share of the cost, looks."""

    loss: float
    confirmed: bool
    share: float
    looks: int


def outcomes(sizes: Sizes, *, populations: int, searches: int, level: float, seed: int = 0) -> list[Outcome]:
    """Search again and again, so many times on each of some populations; return those that found a plan."""
    rng, limit, found = np.random.default_rng(seed), Limit(points=LIMIT, level=level), []
    for _ in range(populations):
        population = Population(rng, sizes)
        for _ in range(searches):
            view = Drawn(population, rng)
            best = search(population.costs, view, limit=limit)
            if best.holds:
                found.append(
                    Outcome(
                        loss=-population.flips(best.best.choice).difference_points,
                        confirmed=Limit(points=LIMIT).allows(population.flips(best.best.choice, view.test)),
                        share=best.best.cost / sum(map(max, population.costs)),
                        looks=view.looks,
                    )
                )
    return found


def main() -> None:
    """Search at both levels, on small and on larger networks, and write the result."""
    options = read_options()
    rows = []
    large = Sizes(layers=50, validation=10_000, calibration=512)
    for sizes, many in ((Sizes(), options.searches), (large, options.searches // 5)):
        for level in (LEVEL, 0.99):
            found = outcomes(sizes, populations=many // 20, searches=20, level=level)
            wrong = sum(one.loss > LIMIT for one in found)
            interval = wilson_interval(wrong, len(found))
            rows.append(
                {
                    "layers": sizes.layers,
                    "validation_images": sizes.validation,
                    "level": level,
                    "searches": 20 * (many // 20),
                    "found": len(found),
                    "wrong": wrong,
                    "wrong_low": interval.low,
                    "wrong_high": interval.high,
                    "mean_looks": float(np.mean([one.looks for one in found])),
                    "confirmed": float(np.mean([one.confirmed for one in found])),
                    "mean_cost": float(np.mean([one.share for one in found])),
                }
            )
            print(rows[-1], flush=True)
    value = {"limit_points": LIMIT, "rows": rows}
    write_result(options.results, "search_errors", value, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument(
        "--searches", type=int, default=1000, help="at each level on small networks; a fifth on large ones"
    )
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def text(value: Mapping[str, Any]) -> str:
    """Return the result as Markdown."""
    head = ["layers", "images", "level", "plans found", "lose more", "looks", "confirmed on as many others", "cost"]
    rows = [
        [
            str(row["layers"]),
            f"{row['validation_images']:,}",
            f"{100 * row['level']:g} %",
            f"{row['found']:,} of {row['searches']:,}",
            f"{row['wrong']} ({100 * row['wrong_low']:.2f} to {100 * row['wrong_high']:.2f} %)",
            f"{row['mean_looks']:.1f}",
            f"{100 * row['confirmed']:.0f} %",
            f"{row['mean_cost']:.3f}",
        ]
        for row in value["rows"]
    ]
    return (
        f"Plans whose true loss is more than the limit of {value['limit_points']} points, of those that searches "
        f"found; 2.5 % are allowed. Cost: of the finest option for all layers, 1.\n\n{table_of(head, rows)}\n"
    )


if __name__ == "__main__":
    main()
