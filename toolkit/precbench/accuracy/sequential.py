"""Does a variant lose more than a margin on these images? Asked image by image, and answered as soon as it is sure.

A gambler bets against "it loses more", another against "it does not": on the next image's difference, at odds that are
fair at best if the statement is true, so that no way of betting makes a fortune 1 / alpha times the stake with a chance
of more than alpha, at any time. Who gets there has refuted the statement.

Each gambler splits the stake once over several bets, each a part of the largest possible. A bet of nearly all pays best
where no image flips, a small one where many flip both ways; the sum is soon as good as the best of them. Bets grow as
fewer images are left, since what is still missing from the sum then weighs more on each. benchmarks/screening_rule.py
compares this with other ways.

Source: I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024): test
martingales without replacement, and diversified bets.
"""

from enum import StrEnum
from fractions import Fraction
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy.noninferiority import check_margin_points
from precbench.errors import DataError, UsageError

_LARGEST = 0.97  # of all there is: the fortune outlives a lost image
_BETS = np.array([_LARGEST, 0.9, 0.75, 0.5, 0.25, 0.1])
_STAKES = np.array([6, 1, 1, 1, 1, 1]) / 11


class Answer(StrEnum):
    """Whether a variant loses at most the margin on all the images."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    UNDECIDED = "undecided"


class Gambler:
    """Bets against "the steps of all images sum up to at most `most`", image after image, none seen twice.

    If the statement is true, the fortune's expectation never rises, whatever the steps are: only their order is drawn.

    Args:
        images: of the whole set.
        most: what the sum is at most, if the statement is true; inside -images..images.
    """

    def __init__(self, *, images: int, most: int) -> None:
        self._images, self._most = images, most
        self._log_fortunes = np.log(_STAKES)

    def bet(self, steps: NDArray[np.int64], *, seen: int, total: int) -> NDArray[np.float64]:
        """Return the logarithm of the fortune, which begins at 1, after each of the next images.

        Args:
            steps: [n], each -1, 0 or 1, of the next images. Before none of them is the statement certain or refuted.
            seen: images before them.
            total: sum of the steps of those.

        Returns:
            [n].
        """
        left = self._images - seen - np.arange(len(steps))
        expected = (self._most - total - np.cumsum(steps) + steps) / left  # of the next step, at most, if it is true
        with np.errstate(divide="ignore", invalid="ignore"):  # -1 is expected where all that is left must be lost
            win = np.where(steps == -1, -1.0, (steps - expected) / (1 + expected))
        bets = np.minimum(_BETS * (self._images / left[:, None]), _LARGEST)
        logs = self._log_fortunes + np.cumsum(np.log1p(bets * win[:, None]), axis=0)
        if len(steps):
            self._log_fortunes = logs[-1]
        fortune: NDArray[np.float64] = np.logaddexp.reduce(logs, axis=1)
        return fortune


class SequentialTest:
    """Whether a variant loses at most a margin against the reference, on the whole of a set of images.

    The images come in random order, one drawn without regard to the predictions; one order may serve all variants. In
    between, images may be chosen instead, by anything that is known of them before one looks what the variant does with
    them. Nothing is bet on these: what they add to the loss is known afterwards, the rest still comes in random order,
    and the bets on it stay fair. To choose those that are likely to flip leaves little to bet on.
    However often one asks, an answer is wrong with a chance of at most `alpha`: *holds* is said with no more than that
    chance where the loss on all images is above the margin, *does not hold* where it is not. (A variant is on one side
    of the margin only, so that alpha is the chance of a wrong answer altogether.) An answer is final. When the images
    left can no longer change it, it is certain; so there is one after the last image.

    Args:
        images: of the whole set, at least 1.
        margin_points: what the loss may come to, in percentage points of accuracy on the whole set, inside 0..100.
        alpha: chance of a wrong answer, inside 0..1, for this variant alone: of many variants that lie just beside the
            margin so many are answered wrongly.

    Attributes:
        answer: so far.
        seen: images looked at, up to the answer.
        gained: of these, images that the variant alone has right.
        lost: images that the reference alone has right.

    Raises:
        UsageError: there is no image, or the margin or alpha is out of range.
    """

    def __init__(self, *, images: int, margin_points: float, alpha: float = 0.05) -> None:
        if images < 1:
            raise UsageError(f"{images} images cannot be sampled", "give at least one image")
        if not 0 < alpha < 1:
            raise UsageError(f"the chance of a wrong answer {alpha} is not inside 0..1", "give a chance such as 0.05")
        # Exact, so that 0.29 points of 10,000 images are 29 of them: the float 100 * 0.29 is below 29.
        self._allowed = int(Fraction(str(check_margin_points(margin_points))) * images / 100)
        self._images, self._log_goal = images, -log(alpha)
        self._against_loss = Gambler(images=images, most=-self._allowed - 1)  # steps: variant less reference
        self._against_holding = Gambler(images=images, most=self._allowed)  # steps: reference less variant
        self.answer, self.seen, self.gained, self.lost = Answer.UNDECIDED, 0, 0, 0

    def update(self, differences: NDArray[Any], *, chosen: bool = False) -> Answer:
        """Look at the next images, and return the answer so far; how they are cut into blocks changes nothing.

        Images after the one that brought the answer are not looked at.

        Args:
            differences: [n], the next images': 1 if the variant alone is right, -1 if the reference alone is, else 0.
            chosen: whether they were chosen, all of them, in place of drawn.

        Raises:
            DataError: another value, or more images than there are.
        """
        steps = _checked(differences)
        if self.answer is not Answer.UNDECIDED:
            return self.answer
        if len(steps) > self._images - self.seen:
            raise DataError(
                f"{len(steps)} images are given where {self._images - self.seen} are left",
                "give each image of the set once",
            )
        self._look(steps, bet=not chosen)
        return self.answer

    def _look(self, steps: NDArray[np.int64], *, bet: bool) -> None:
        sums = self.gained - self.lost + np.cumsum(steps)
        left = self._images - self.seen - 1 - np.arange(len(steps))
        surely_holds, surely_fails = sums - left >= -self._allowed, sums + left < -self._allowed
        uncertain = _first(surely_holds | surely_fails)
        holds, fails = self._refuted(steps[:uncertain]) if bet else (uncertain, uncertain)
        last = min(holds, fails)
        if last < len(steps):
            is_held = holds < fails if last < uncertain else surely_holds[last]
            self.answer = Answer.HOLDS if is_held else Answer.DOES_NOT_HOLD
        self._count(steps[: last + 1])

    def _refuted(self, steps: NDArray[np.int64]) -> tuple[int, int]:
        """Return by which of the steps each statement is refuted, "it loses more" and "it does not"; n for none."""
        total = self.gained - self.lost
        fortune = self._against_loss.bet(steps, seen=self.seen, total=total)
        other = self._against_holding.bet(-steps, seen=self.seen, total=-total)
        return _first(fortune >= self._log_goal), _first(other >= self._log_goal)

    def _count(self, steps: NDArray[np.int64]) -> None:
        self.seen += len(steps)
        self.gained += int((steps == 1).sum())
        self.lost += int((steps == -1).sum())


def _first(reached: NDArray[np.bool_]) -> int:
    return int(reached.argmax()) if reached.any() else len(reached)


def _checked(differences: NDArray[Any]) -> NDArray[np.int64]:
    steps = np.asarray(differences)
    if steps.ndim != 1 or (steps.size and (steps.dtype.kind not in "iu" or steps.min() < -1 or steps.max() > 1)):
        raise DataError(
            f"the differences of shape {list(steps.shape)} and type {steps.dtype} are not -1, 0 or 1 for each image",
            "give whether the variant is right less whether the reference is, as integers",
        )
    return steps.astype(np.int64)
