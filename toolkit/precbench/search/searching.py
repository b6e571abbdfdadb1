"""The search itself: a frontier from label-free shifts, bisected by paired accuracy, and again from where it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from precbench.accuracy import Flips
from precbench.errors import NoTimeError
from precbench.search.frontier import Choice, Shifts, cost_of, frontier
from precbench.search.limit import Limit

ROUNDS = 4
"""How often shifts are measured at most."""
_FINER = 2
"""Options finer than the best one for all layers that a layer may have, so many."""

Options = Sequence[Sequence[int]]
"""Of each layer the places of some options."""


class Evaluator(Protocol):
    """What the search asks of a model; see `evaluating`."""

    def shifts(self, around: Choice | None, options: Options) -> Shifts:
        """Return what options do to the outputs, each alone, the other layers as in `around`.

        None: the others at full precision.
        """
        ...

    def trial(self, choice: Choice) -> Flips:
        """Return what a choice flips against full precision on the validation images."""
        ...

    def enough_for(self, *, trials: int, variants: int) -> bool:
        """Whether the budget has room for so many more, and for measuring so many options."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A choice that was evaluated."""

    choice: Choice
    cost: float
    flips: Flips


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a search ended.

    Attributes:
        best: the cheapest trial within the limit; where none is, the one with the smallest loss shown.
        holds: whether it is within the limit.
        trials: all, in order: each is a look at the same validation images.
        within: those within the limit.
        rounds: how often shifts were measured.
        stopped: why it ended, in words.
    """

    best: Trial
    holds: bool
    trials: tuple[Trial, ...]
    within: tuple[Trial, ...]
    rounds: int
    stopped: str


def rank(trial: Trial, limit: Limit) -> tuple[float, float]:
    """Return what orders trials, the best first: the cheapest within the limit, then by the loss that is excluded."""
    shown = limit.shown_points(trial.flips)
    return (0.0 if shown <= limit.points else shown), trial.cost


def search(
    costs: Sequence[Sequence[float]],
    evaluator: Evaluator,
    *,
    limit: Limit,
    better: Callable[[Trial], None] = lambda _trial: None,
) -> Found:
    """Find the cheapest choice of grids whose loss is shown to be within a limit.

    One option for all layers is bisected first. Then what each layer's options do to the outputs is measured without
    labels, and the frontier of cost over damage is bisected by paired accuracy on the validation images. Then it is
    measured again with all other layers as in the best choice, since shifts add up for small changes only, and the new
    frontier is bisected, until a round finds nothing cheaper or the budget ends.

    Args:
        costs: per layer of each option; all layers have as many.
        evaluator: of the model.
        limit: of the loss.
        better: told of each trial that is the best so far.

    Raises:
        PrecbenchError: what the evaluator raises.
    """
    state = _State(limit, better)
    options = _uniform(costs, evaluator, state)
    rounds, stopped = 0, "" if len(costs[0]) > 1 else "there is one option"
    around: Choice | None = None
    while not stopped and rounds < ROUNDS and evaluator.enough_for(trials=1, variants=sum(map(len, options))):
        before = state.best
        path = frontier(costs, evaluator.shifts(around, options))
        rounds += 1
        _bisect(path, costs, evaluator, state)
        if state.best is None or not state.holds:
            stopped = "no plan of a round holds" if evaluator.enough_for(trials=1, variants=0) else ""
            break
        if rounds > 1 and state.best is before:
            stopped = "a round found nothing cheaper"
            break
        around = state.best.choice
        options = [_neighbours(cost, place) for cost, place in zip(costs, around, strict=True)]
    if state.best is None:
        raise NoTimeError("the budget has no room for a single plan", "give more, such as --budget 10m")
    trials = tuple(state.trials.values())
    within = tuple(trial for trial in trials if limit.allows(trial.flips))
    if not stopped:
        stopped = f"{ROUNDS} rounds are over" if rounds == ROUNDS else "the budget has no room for more"
    return Found(best=state.best, holds=bool(within), trials=trials, within=within, rounds=rounds, stopped=stopped)


def _uniform(costs: Sequence[Sequence[float]], evaluator: Evaluator, state: "_State") -> Options:
    """Try one option for all layers, the cheapest that holds: what any plan has to beat.

    Return the options of each layer that are worth measuring: none much finer than that.
    """
    order = sorted(range(len(costs[0])), key=lambda place: -sum(each[place] for each in costs))  # from the finest
    low, high = -1, len(order)
    while high - low > 1 and evaluator.enough_for(trials=1, variants=0):
        middle = (low + high) // 2
        choice = (order[middle],) * len(costs)
        state.look(choice, costs, evaluator)
        low, high = (middle, high) if state.allows(choice) else (low, middle)
    return [order[max(0, low - _FINER) :]] * len(costs)


def _neighbours(cost: Sequence[float], place: int) -> list[int]:
    """The next finer option of a layer, and the next coarser."""
    order = sorted(range(len(cost)), key=lambda each: (-cost[each], each))
    at = order.index(place)
    return [order[near] for near in (at - 1, at + 1) if 0 <= near < len(order)]


class _State:
    """All trials, and the best."""

    def __init__(self, limit: Limit, better: Callable[[Trial], None]) -> None:
        self._limit, self.trials = limit, dict[Choice, Trial]()
        self.best: Trial | None = None
        self._better = better

    @property
    def holds(self) -> bool:
        """Whether the best is within the limit."""
        return self.best is not None and self._limit.allows(self.best.flips)

    def allows(self, choice: Choice) -> bool:
        """Whether a choice that was looked at is within the limit."""
        return self._limit.allows(self.trials[choice].flips)

    def look(self, choice: Choice, costs: Sequence[Sequence[float]], evaluator: Evaluator) -> None:
        """Evaluate a choice, unless it was."""
        if choice in self.trials:
            return
        trial = Trial(choice=choice, cost=cost_of(costs, choice), flips=evaluator.trial(choice))
        self.trials[choice] = trial
        if self.best is None or rank(trial, self._limit) < rank(self.best, self._limit):
            self.best = trial
            self._better(trial)


def _bisect(path: Sequence[Choice], costs: Sequence[Sequence[float]], evaluator: Evaluator, state: _State) -> None:
    """Find the last choice of a path that is within the limit, as if all before it were and none after it."""
    low, high = -1, len(path)  # the first is not known to be within it
    if state.best is not None and state.holds:  # only what is cheaper is of interest
        low = next((i for i, choice in enumerate(path) if cost_of(costs, choice) < state.best.cost), len(path)) - 1
    while high - low > 1 and evaluator.enough_for(trials=1, variants=0):
        middle = (low + high) // 2
        state.look(path[middle], costs, evaluator)
        low, high = (middle, high) if state.allows(path[middle]) else (low, middle)
