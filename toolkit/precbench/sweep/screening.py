"""Which variants hold within a margin: each runs on no more images than its answer takes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import Answer, SequentialTest, check_classes, top_classes
from precbench.errors import DataError
from precbench.graph import OnnxModel
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings
from precbench.sweep.batches import Batches
from precbench.sweep.exact import sweep
from precbench.sweep.limits import Limits
from precbench.sweep.variants import Variant

MakeFeeds = Callable[[NDArray[np.intp]], Mapping[str, NDArray[Any]]]
"""From the numbers of some images, in any order, to one array per input of the model."""

Run = Callable[[Sequence[Variant], NDArray[np.intp]], Iterator[tuple[str, NDArray[Any]]]]
"""From variants and the numbers of some images to each one's name and scores."""

_DOUBTFUL = 0.1
"""Share of all images that is looked at as a whole: a round number, small beside what it spares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What screening says of a variant.

    Attributes:
        variant: its name.
        answer: whether its loss on all images is at most the margin.
        seen: images that brought the answer.
        gained: of these, images that the variant alone has right.
        lost: images that the base alone has right.
        evaluated: images that the variant was evaluated on: whole blocks.
        base_evaluated: images that the base was evaluated on by then, for all variants together.
    """

    variant: str
    answer: Answer
    seen: int
    gained: int
    lost: int
    evaluated: int
    base_evaluated: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "answer": str(self.answer)}


def screen(
    model: OnnxModel,
    variants: Sequence[Variant],
    labels: NDArray[Any],
    make: MakeFeeds,
    settings: SessionSettings,
    *,
    margin_points: float,
    alpha: float = 0.05,
    batch: int = 32,
    seed: int = 0,
    workers: int | None = None,
    limits: Limits | None = None,
    progress: Progress = SILENT,
) -> Iterator[Screened]:
    """Say of each variant whether it loses at most a margin against the base; yield it as soon as that is known.

    The images come in one drawn order, block by block, and after each block only the variants go on that have no answer
    yet (`SequentialTest`). The first block is as long as it takes for an answer where no image flips: 653 of 10,000 at
    0.5 points and a chance of 5 %. Who has none then flips some; and most flips are of images that the base is in doubt
    about, whose two highest scores are close. So the base runs on all the images, the tenth that it is most in doubt
    about comes next as a whole, chosen and not bet on, and then the rest as drawn. Within a block this is `sweep`.

    Args:
        model: the base, a classifier with one output of scores.
        variants: with names of their own, none of them empty.
        labels: int [images], the true classes.
        make: of the images that the labels are of.
        settings: of the sessions.
        margin_points: percentage points of accuracy on all the images, inside 0..100.
        alpha: chance of a wrong answer, for each variant alone, inside 0..1.
        batch: images per call.
        seed: of the order.
        workers: as for `sweep`.
        limits: as for `sweep`.
        progress: told of each block.

    Raises:
        UsageError: margin, alpha or workers out of range, or two variants of one name.
        DataError: the labels are none, or the model has not one output of scores.
        PrecbenchError: see `sweep`.
    """
    truth = check_classes(labels)
    tests = {
        variant.name: SequentialTest(images=len(truth), margin_points=margin_points, alpha=alpha)
        for variant in variants
    }

    def run(some: Sequence[Variant], rows: NDArray[np.intp]) -> Iterator[tuple[str, NDArray[Any]]]:
        batches = Batches(rows=len(rows), size=batch, make=lambda start, stop: make(rows[start:stop]))
        for one in sweep(model, some, batches, settings, workers=workers, limits=limits, progress=progress):
            yield one.variant, _scores(one.outputs)

    base = _Base(truth, run)
    order = np.random.default_rng(seed).permutation(len(truth))
    first = _first_block(len(truth), margin_points, alpha, batch)
    left, done = list(variants), 0
    blocks = _blocks(order, first, batch, base)
    while left:  # the next block is asked for when it is needed: the base may have to run for it
        block, chosen = next(blocks)
        is_right = base.is_right(block)
        for name, scores in run(left, block):
            tests[name].update(_are_right(scores, truth[block]).astype(np.int64) - is_right, chosen=chosen)
        done += len(block)
        decided = [variant for variant in left if tests[variant.name].answer is not Answer.UNDECIDED]
        left = [variant for variant in left if variant not in decided]
        for variant in decided:
            test = tests[variant.name]
            yield Screened(
                variant=variant.name,
                answer=test.answer,
                seen=test.seen,
                gained=test.gained,
                lost=test.lost,
                evaluated=done,
                base_evaluated=base.evaluated,
            )


class _Base:
    """The base on the images, each evaluated once, when it is first asked for."""

    def __init__(self, truth: NDArray[np.int64], run: Run) -> None:
        self._truth, self._run = truth, run
        self._known = np.zeros(len(truth), np.bool_)
        self._right = np.zeros(len(truth), np.bool_)
        self._leads = np.zeros(len(truth), np.float64)

    @property
    def evaluated(self) -> int:
        return int(self._known.sum())

    def is_right(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        self._evaluate(rows)
        return self._right[rows].astype(np.int64)

    def leads(self) -> NDArray[np.float64]:
        """By how much the highest score of each image is above the next; -inf where there is no highest."""
        self._evaluate(np.arange(len(self._truth)))
        return self._leads

    def _evaluate(self, rows: NDArray[np.intp]) -> None:
        new = rows[~self._known[rows]]
        if not len(new):
            return
        ((_, scores),) = self._run([Variant(name="base", values=dict)], new)
        self._right[new], self._leads[new] = _are_right(scores, self._truth[new]), _leads(scores)
        self._known[new] = True


def _blocks(order: NDArray[np.intp], first: int, batch: int, base: _Base) -> Iterator[tuple[NDArray[np.intp], bool]]:
    """Images, and whether they were chosen in place of drawn; what the base has to say is asked when it is needed."""
    yield order[:first], False
    rest = order[first:]
    if not len(rest):
        return
    doubtful = np.zeros(len(order), np.bool_)
    doubtful[np.argsort(base.leads(), kind="stable")[: int(_DOUBTFUL * len(order))]] = True
    chosen, drawn = rest[doubtful[rest]], rest[~doubtful[rest]]
    if len(chosen):
        yield chosen, True
    size = -(-first // (2 * batch)) * batch
    for start in range(0, len(drawn), size):
        yield drawn[start : start + size], False


def evaluations(screened: Sequence[Screened]) -> int:
    """Return how many images screening evaluated in all, those of the base too."""
    return sum(one.evaluated for one in screened) + max((one.base_evaluated for one in screened), default=0)


def _first_block(images: int, margin_points: float, alpha: float, batch: int) -> int:
    """Images after which a variant without a flip has its answer, in whole batches."""
    test = SequentialTest(images=images, margin_points=margin_points, alpha=alpha)
    test.update(np.zeros(images, np.int64))
    return -(-test.seen // batch) * batch


def _scores(outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if len(outputs) != 1:
        raise DataError(f"the model has {len(outputs)} outputs, not one of scores", "give a classifier")
    (scores,) = outputs.values()
    return scores


def _ranked(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Which images have scores of which one is the highest: NaN has no rank."""
    ranked: NDArray[np.bool_] = ~np.isnan(scores).reshape(len(scores), -1).any(axis=1)
    return ranked


def _are_right(scores: NDArray[Any], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images a model has right; one whose scores have no highest it has not."""
    ranked, found = _ranked(scores), np.zeros(len(truth), np.bool_)
    if ranked.any():
        found[ranked] = top_classes(scores[ranked]) == truth[ranked]
    return found


def _leads(scores: NDArray[Any]) -> NDArray[np.float64]:
    leads = np.full(len(scores), -np.inf)
    ranked = _ranked(scores)
    if ranked.any() and scores.shape[1] > 1:
        with np.errstate(invalid="ignore"):  # inf - inf: two highest, no lead
            highest = np.partition(scores[ranked].astype(np.float64), (-2, -1), axis=1)[:, -2:]
            leads[ranked] = np.nan_to_num(highest[:, 1] - highest[:, 0], nan=0.0, posinf=np.inf)
    return leads
