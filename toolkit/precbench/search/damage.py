"""What a variant does to the outputs, seen without labels."""

import numpy as np
from numpy.typing import NDArray

from precbench.errors import ModelError

LEAST = 1e-12
"""Below it a probability is rounding noise of float32 softmax outputs."""
_MOST = 10.0
"""A lead that moves by more is as good as gone."""


def log_probabilities(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithm of class probabilities, of scores that are probabilities already or are not.

    Args:
        scores: [images, classes], finite.
    """
    wide = scores.astype(np.float64)
    found: NDArray[np.float64]
    if (wide >= 0).all() and np.allclose(wide.sum(axis=1), 1.0, atol=1e-3):
        found = np.log(np.maximum(wide, LEAST))
        return found
    shifted = wide - wide.max(axis=1, keepdims=True)
    found = np.maximum(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.log(LEAST))
    return found


def finite_scores(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return scores, where some are no numbers all classes of that image alike: it says nothing.

    Args:
        scores: [images, classes].
    """
    return np.where(np.isfinite(scores).all(axis=1, keepdims=True), scores, 1.0 / scores.shape[1])


def check_finite(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return full precision's scores.

    Raises:
        ModelError: some are no numbers: nothing can be compared with them.
    """
    bad = int((~np.isfinite(scores).all(axis=1)).sum())
    if bad:
        raise ModelError(
            f"full precision's scores are not finite on {bad:,} of {len(scores):,} images",
            "give a network whose scores are numbers, or leave these images out",
        )
    return scores


def divergences(reference: NDArray[np.float64], variant: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return of each image the Kullback-Leibler divergence of the variant's classes from the reference's, in nats.

    It adds up over small independent changes to second order, and counts a change for more where the reference is in
    doubt: there classes flip.

    Args:
        reference: log probabilities [images, classes].
        variant: likewise.
    """
    found: NDArray[np.float64] = (np.exp(reference) * (reference - variant)).sum(axis=1)
    return found


def lead_shifts(reference: NDArray[np.float64], variant: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return of each image how far its lead moved, as a share of the lead, up or down.

    The lead is the reference's highest class over the next, in logits; at -1 the class flips. To first order the
    shifts of several changes are the sum of theirs, with their signs: they may cancel, which a sum of squares does not
    see. That all logits grow or shrink alike changes no class, so the variant's scale is taken out first, by least
    squares: the divergence, which sees confidence too, would hold a layer for fragile that flips nothing.

    Args:
        reference: log probabilities [images, classes], at least two classes.
        variant: likewise.

    Returns:
        Within -10 and 10; -10 where the variant has nothing of the reference left.
    """
    places = reference.argmax(axis=1)
    before, after = _leads(reference, places), _leads(variant, places)
    weight = float((before * before).sum())
    scale = float((before * after).sum()) / weight if weight else 0.0
    if scale <= 0:
        return np.full(len(before), -_MOST)
    with np.errstate(divide="ignore", invalid="ignore"):  # a lead of 0
        shares = (after / scale - before) / before
    found: NDArray[np.float64] = np.clip(np.nan_to_num(shares, nan=0.0), -_MOST, _MOST)
    return found


def damage(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean square of shifts, each image 1 at most.

    Args:
        shifts: [..., images].
    """
    found: NDArray[np.float64] = np.minimum(np.square(shifts), 1.0).mean(axis=-1)
    return found


def _leads(scores: NDArray[np.float64], places: NDArray[np.intp]) -> NDArray[np.float64]:
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, places] = -np.inf
    leads: NDArray[np.float64] = scores[rows, places] - others.max(axis=1)
    return leads
