"""What looking at the same images again and again does to a search, on a population whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from precbench.accuracy import Flips
from precbench.search.frontier import Choice, Shifts
from precbench.search.limit import Limit, counting
from precbench.search.searching import PATHS, Options, search

LAYERS, STEPS = 12, (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
POPULATION, IMAGES, CALIBRATION = 60_000, 4000, 256
LIMIT = 0.5


class Population:
    """Images with a lead each, 95 % right; a layer on a grid moves the leads by noise as large as the grid's step."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.lead = np.abs(rng.normal(0, 2.5, POPULATION)) + 0.01
        self.right = rng.random(POPULATION) < 0.6 + 0.4 * np.minimum(self.lead, 1)
        self.luck = rng.random(POPULATION) < 0.3  # of the wrong that change their class
        scale = rng.lognormal(0, 1, LAYERS)[:, None] * np.array(STEPS)
        self.moves = (rng.normal(size=(LAYERS, len(STEPS), POPULATION)) * scale[:, :, None]).astype(np.float32)
        weights = rng.lognormal(0, 1, LAYERS)
        self.costs = [[float(weight * bits) for bits in range(len(STEPS) + 3, 3, -1)] for weight in weights]

    def flips(self, choice: Choice, rows: NDArray[np.intp]) -> Flips:
        moved = sum(self.moves[layer, place][rows] for layer, place in enumerate(choice))
        changed = self.lead[rows] + moved < 0
        right = self.right[rows]
        return Flips(
            gained=int((changed & ~right & self.luck[rows]).sum()), lost=int((changed & right).sum()),
            changed=int(changed.sum()), total=len(rows), reference_correct=int(right.sum()), p_value=1.0,
            low_points=0.0, high_points=0.0, level=0.95,
        )  # fmt: skip


class Drawn:
    """A search's view of a population: some images to measure on, and others to choose by."""

    def __init__(self, population: Population, rng: np.random.Generator) -> None:
        self.population = population
        rows = rng.permutation(POPULATION)[: IMAGES + CALIBRATION]
        self.validation, self.calibration = rows[:IMAGES], rows[IMAGES:]
        self.looks = 0

    def shifts(self, around: Choice | None, _options: Options) -> Shifts:
        """All of them, whatever is asked for."""
        all_ = self.population.moves[:, :, self.calibration] / self.population.lead[self.calibration]
        all_ = all_.clip(-10, 10).astype(np.float64)
        if around is None:
            return Shifts(around=np.zeros(CALIBRATION), options=all_)
        held = all_[range(LAYERS), list(around)]
        return Shifts(around=held.sum(axis=0), options=all_ - held[:, None, :])

    def trial(self, choice: Choice) -> Flips:
        """On the validation images."""
        self.looks += 1
        return self.population.flips(choice, self.validation)

    def enough_for(self, **_: int) -> bool:
        """Always."""
        return True


def test_a_search_finds_a_plan_that_loses_too_much_no_more_often_than_one_look_would() -> None:
    rng, looks, losses = np.random.default_rng(0), 0, list[float]()
    for _ in range(15):
        population = Population(rng)
        for _ in range(20):
            view = Drawn(population, rng)
            found = search(population.costs, view, limit=Limit(points=LIMIT, paths=PATHS))
            looks += view.looks
            if found.holds:
                losses.append(-population.flips(found.best.choice, np.arange(POPULATION)).difference_points)
    assert looks > 300 * 10
    assert len(losses) > 280
    assert np.mean(losses) > 0.3 * LIMIT  # the limit is made use of
    assert sum(loss > LIMIT for loss in losses) <= 15  # 7.5 are allowed, and nearly three standard errors


def test_a_level_of_several_paths_is_stricter() -> None:
    flips = Population(np.random.default_rng(1)).flips((1,) * LAYERS, np.arange(IMAGES))
    alone, five = Limit(points=1.0), Limit(points=1.0, paths=5)
    assert five.level == pytest.approx(0.99)
    assert alone.shown_points(flips) < five.shown_points(flips) == counting(flips, 5) < counting(flips, 30)
