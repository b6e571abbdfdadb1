"""The search on a made-up model whose loss is known: it finds what is cheap, keeps the limit and the budget."""

import numpy as np
import pytest

from precbench.accuracy import Flips
from precbench.accuracy.tango import tango_interval
from precbench.errors import NoTimeError
from precbench.search.frontier import Choice, Shifts
from precbench.search.limit import Limit
from precbench.search.searching import ROUNDS, Options, Trial, search

DECIMALS = (0, 1, 2, 3)
WEIGHTS = (100, 400, 200, 900)
FRAGILE = (9.0, 0.1, 1.0, 0.01)
IMAGES = 4000


class MadeUp:
    """A layer at N decimals damages by its fragility / 10^N; images are lost in proportion to the damage of all."""

    def __init__(self, *, room: int = 10**9, worst: float = 1.0) -> None:
        self.room, self.worst = room, worst
        self.trials: list[Choice] = []
        self.rounds: list[Choice | None] = []
        self.measured: list[Options] = []

    def shifts(self, around: Choice | None, options: Options) -> Shifts:
        """Each layer on an image of its own."""
        self.rounds.append(around)
        self.measured.append(options)
        self.room -= 1
        shifts = np.full((len(FRAGILE), len(DECIMALS), len(FRAGILE)), np.nan)
        for layer, places in enumerate(options):
            for place in {*places, *([] if around is None else [around[layer]])}:
                shifts[layer, place] = np.eye(len(FRAGILE))[layer] * np.sqrt(self.harm(layer, place) / 9)
        centre = np.zeros(len(FRAGILE))
        if around is not None:
            centre = np.array([shifts[layer, place, layer] for layer, place in enumerate(around)])
            shifts -= np.diag(centre)[:, None, :]
        return Shifts(around=centre, options=shifts)

    def harm(self, layer: int, place: int) -> float:
        return FRAGILE[layer] / 10 ** DECIMALS[place]

    def trial(self, choice: Choice) -> Flips:
        self.trials.append(choice)
        self.room -= 1
        damage = sum(self.harm(layer, place) for layer, place in enumerate(choice))
        lost = min(IMAGES, int(IMAGES * 0.02 * damage * self.worst))
        interval = tango_interval(gained=0, lost=lost, total=IMAGES)
        return Flips(
            gained=0, lost=lost, changed=lost, total=IMAGES, reference_correct=IMAGES, p_value=1.0,
            low_points=100 * interval.low, high_points=100 * interval.high, level=0.95,
        )  # fmt: skip

    def enough_for(self, *, trials: int, variants: int) -> bool:
        return trials + (variants > 0) <= self.room


COSTS = [[weights * (1.0 + n) for n in DECIMALS] for weights in WEIGHTS]


def cheapest_within(limit: float) -> float:
    """By trying all."""
    model, best = MadeUp(), float("inf")
    places = range(len(DECIMALS))
    for choice in ((a, b, c, d) for a in places for b in places for c in places for d in places):
        if model.trial(choice).shown_margin_points <= limit:
            best = min(best, sum(cost[place] for cost, place in zip(COSTS, choice, strict=True)))
    return best


@pytest.mark.parametrize("limit", [0.2, 0.5, 1.0, 5.0])
def test_it_finds_what_trying_all_finds_or_little_worse_in_few_trials(limit: float) -> None:
    model = MadeUp()
    found = search(COSTS, model, limit=Limit(points=limit))
    assert found.holds
    assert found.best.flips.shown_margin_points <= limit
    assert found.best.cost <= 1.1 * cheapest_within(limit)
    assert len(model.trials) <= 12
    assert len(set(model.trials)) == len(model.trials)


def test_it_beats_one_number_of_decimals_for_all() -> None:
    found = search(COSTS, MadeUp(), limit=Limit(points=0.5))
    uniform = [trial for trial in found.within if len(set(trial.choice)) == 1]
    assert found.best.cost < min(trial.cost for trial in uniform)


def test_where_none_holds_the_nearest_is_left_and_said_not_to_hold() -> None:
    found = search(COSTS, MadeUp(worst=1e6), limit=Limit(points=0.5))
    assert not found.holds
    assert found.within == ()
    assert found.best.flips.shown_margin_points == min(trial.flips.shown_margin_points for trial in found.trials)


@pytest.mark.parametrize("room", range(1, 12))
def test_the_budget_is_kept_and_each_better_plan_is_told(room: int) -> None:
    model, told = MadeUp(room=room), list[Trial]()
    found = search(COSTS, model, limit=Limit(points=0.5), better=told.append)
    assert len(model.trials) + len(model.rounds) <= room
    assert told[-1] == found.best
    costs = [trial.cost for trial in told if Limit(points=0.5).allows(trial.flips)]
    assert costs == sorted(costs, reverse=True)


def test_without_room_for_one_plan_it_says_so() -> None:
    with pytest.raises(NoTimeError, match="no room for a single plan"):
        search(COSTS, MadeUp(room=0), limit=Limit(points=0.5))


def test_damage_is_measured_again_around_the_best_plan_until_nothing_is_cheaper() -> None:
    model = MadeUp()
    found = search(COSTS, model, limit=Limit(points=0.5))
    assert model.rounds[0] is None
    assert model.rounds[-1] == found.best.choice
    assert found.rounds == len(model.rounds)


def test_options_much_finer_than_the_best_for_all_are_not_measured_and_later_only_neighbours_are() -> None:
    model = MadeUp()
    found = search(COSTS, model, limit=Limit(points=5.0))
    uniform = min((trial for trial in found.within if len(set(trial.choice)) == 1), key=lambda trial: trial.cost)
    assert uniform.choice == (0,) * 4 or all(max(places) <= uniform.choice[0] + 2 for places in model.measured[0])
    for around, options in zip(model.rounds[1:], model.measured[1:], strict=True):
        assert around is not None
        assert all(
            set(places) == {place - 1, place + 1} & set(range(4)) for place, places in zip(around, options, strict=True)
        )


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.5, 1.0, 5.0, 50.0])
def test_rounds_are_counted(limit: float) -> None:
    model = MadeUp()
    search(COSTS, model, limit=Limit(points=limit))
    assert len(model.rounds) <= ROUNDS


def test_with_one_option_nothing_is_measured() -> None:
    model = MadeUp()
    found = search([cost[2:3] for cost in COSTS], model, limit=Limit(points=50.0))
    assert model.rounds == []
    assert len(model.trials) == 1
    assert found.stopped == "there is one option"


@pytest.mark.parametrize(
    ("room", "stopped"), [(4, "the budget has no room for more"), (99, "a round found nothing cheaper")]
)
def test_it_says_why_it_stopped(room: int, stopped: str) -> None:
    assert search(COSTS, MadeUp(room=room), limit=Limit(points=0.5)).stopped == stopped
