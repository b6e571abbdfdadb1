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

_BASE = ""


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
    """

    variant: str
    answer: Answer
    seen: int
    gained: int
    lost: int
    evaluated: int

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
    yet (`SequentialTest`). A block is as long as it takes for an answer where no image flips: 653 of 10,000 at 0.5
    points and a chance of 5 %. Within a block this is `sweep`.

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
    order = np.random.default_rng(seed).permutation(len(truth))
    size = _block(len(truth), margin_points, alpha, batch)
    left, done = list(variants), 0
    while left:
        block = order[done : done + size]
        rows = Batches(rows=len(block), size=batch, make=_rows(make, block))
        base = Variant(name=_BASE, values=dict)  # changes nothing, and so is yielded first
        is_right: NDArray[np.bool_] | None = None
        for one in sweep(model, [base, *left], rows, settings, workers=workers, limits=limits, progress=progress):
            found = _are_right(one.outputs, truth[block])
            if is_right is None:
                is_right = found
            else:
                tests[one.variant].update(found.astype(np.int64) - is_right)
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
            )


def evaluations(screened: Sequence[Screened]) -> int:
    """Return how many images screening evaluated in all, those of the base too."""
    each = [one.evaluated for one in screened]
    return sum(each) + max(each, default=0)


def _block(images: int, margin_points: float, alpha: float, batch: int) -> int:
    """Images after which a variant without a flip has its answer, in whole batches."""
    test = SequentialTest(images=images, margin_points=margin_points, alpha=alpha)
    test.update(np.zeros(images, np.int64))
    return -(-test.seen // batch) * batch


def _rows(make: MakeFeeds, block: NDArray[np.intp]) -> Callable[[int, int], Mapping[str, NDArray[Any]]]:
    return lambda start, stop: make(block[start:stop])


def _are_right(outputs: Mapping[str, NDArray[Any]], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images a model has right; one whose scores have no highest (NaN) it has not."""
    if len(outputs) != 1:
        raise DataError(f"the model has {len(outputs)} outputs, not one of scores", "give a classifier")
    (scores,) = outputs.values()
    ranked = ~np.isnan(scores).reshape(len(scores), -1).any(axis=1)
    found = np.zeros(len(truth), np.bool_)
    if ranked.any():
        found[ranked] = top_classes(scores[ranked]) == truth[ranked]
    return found
