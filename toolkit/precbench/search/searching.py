"""The search itself: a frontier from label-free damage, bisected by paired accuracy, and again from where it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from precbench.accuracy import Flips
from precbench.errors import NoTimeError
from precbench.search.frontier import Choice, Option, cost_of, frontier


class Evaluator(Protocol):
    """What the search asks of a model; see `evaluating`."""

    def damages(self, around: Choice | None) -> Sequence[Sequence[float]]:
        """Return per layer and option how far the outputs are from full precision's, the other layers as in `around`.

        None: the others at full precision.
        """
        ...

    def trial(self, choice: Choice) -> Flips:
        """Return what a choice flips against full precision on the validation images."""
        ...

    def enough_for(self, *, trials: int, rounds: int) -> bool:
        """Whether the budget has room for so many more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A choice that was evaluated."""

    choice: Choice
    cost: float
    flips: Flips

    def within(self, max_drop_points: float) -> bool:
        """Whether a loss of more than so many points is excluded."""
        return self.flips.shown_margin_points <= max_drop_points


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a search ended.

    Attributes:
        best: the cheapest trial within the limit; where none is, the one with the smallest loss shown.
        holds: whether it is within the limit.
        trials: all, in order: each is a look at the same validation images.
        within: those within the limit.
        rounds: how often damage was measured.
    """

    best: Trial
    holds: bool
    trials: tuple[Trial, ...]
    within: tuple[Trial, ...]
    rounds: int


def search(
    costs: Sequence[Sequence[float]],
    evaluator: Evaluator,
    *,
    max_drop_points: float,
    better: Callable[[Trial], None] = lambda _trial: None,
) -> Found:
    """Find the cheapest choice of grids whose loss is shown to be within a limit.

    Damage is measured per layer and option without labels; the frontier of cost over damage is bisected by paired
    accuracy on the validation images. Then damage is measured again with all other layers as in the best choice, since
    it does not quite add up, and the new frontier is bisected, until a round finds nothing cheaper or the budget ends.

    Args:
        costs: per layer of each option; all layers have as many.
        evaluator: of the model.
        max_drop_points: the upper end of the paired interval of the loss may reach so far, in percentage points.
        better: told of each trial that is the best so far.

    Raises:
        PrecbenchError: what the evaluator raises.
    """
    state = _State(max_drop_points, better)
    _uniform(costs, evaluator, state)
    rounds = 0
    around: Choice | None = None
    while evaluator.enough_for(trials=1, rounds=1):
        before = state.best
        damages = evaluator.damages(around)
        rounds += 1
        layers = _layers(costs, damages)
        _bisect(frontier(layers), layers, evaluator, state)
        if state.best is None or (rounds > 1 and state.best is before) or not state.best.within(max_drop_points):
            break
        around = state.best.choice
    if state.best is None:
        raise NoTimeError("the budget has no room for a single plan", "give more, such as --budget 10m")
    trials = tuple(state.trials.values())
    within = tuple(trial for trial in trials if trial.within(max_drop_points))
    return Found(best=state.best, holds=bool(within), trials=trials, within=within, rounds=rounds)


def _uniform(costs: Sequence[Sequence[float]], evaluator: Evaluator, state: "_State") -> None:
    """Try one option for all layers, the cheapest that holds: what any plan has to beat."""
    order = sorted(range(len(costs[0])), key=lambda place: -sum(each[place] for each in costs))  # from the finest
    low, high = -1, len(order)
    while high - low > 1 and evaluator.enough_for(trials=1, rounds=0):
        middle = (low + high) // 2
        choice = (order[middle],) * len(costs)
        cost = sum(each[place] for each, place in zip(costs, choice, strict=True))
        state.add(Trial(choice=choice, cost=cost, flips=evaluator.trial(choice)))
        low, high = (middle, high) if state.trials[choice].within(state.limit) else (low, middle)


class _State:
    """All trials, and the best."""

    def __init__(self, max_drop_points: float, better: Callable[[Trial], None]) -> None:
        self.limit, self.trials = max_drop_points, dict[Choice, Trial]()
        self.best: Trial | None = None
        self._better = better

    def add(self, trial: Trial) -> None:
        self.trials[trial.choice] = trial
        if self.best is None or self._rank(trial) < self._rank(self.best):
            self.best = trial
            self._better(trial)

    def _rank(self, trial: Trial) -> tuple[float, float]:
        if trial.within(self.limit):
            return 0.0, trial.cost
        return trial.flips.shown_margin_points, trial.cost


def _layers(costs: Sequence[Sequence[float]], damages: Sequence[Sequence[float]]) -> list[list[Option]]:
    return [
        [Option(cost=c, damage=d) for c, d in zip(cost, damage, strict=True)]
        for cost, damage in zip(costs, damages, strict=True)
    ]


def _bisect(path: Sequence[Choice], layers: Sequence[Sequence[Option]], evaluator: Evaluator, state: _State) -> None:
    """Find the last choice of a path that is within the limit, as if all before it were and none after it."""
    low, high = -1, len(path)  # the first is not known to be within it
    if state.best is not None and state.best.within(state.limit):  # only what is cheaper is of interest
        low = next((i for i, choice in enumerate(path) if cost_of(layers, choice) < state.best.cost), len(path)) - 1
    while high - low > 1 and evaluator.enough_for(trials=1, rounds=0):
        middle = (low + high) // 2
        choice = path[middle]
        if choice not in state.trials:
            flips = evaluator.trial(choice)
            state.add(Trial(choice=choice, cost=cost_of(layers, choice), flips=flips))
        if state.trials[choice].within(state.limit):
            low = middle
        else:
            high = middle
