"""What a variant does to the outputs, seen without labels."""

import numpy as np
from numpy.typing import NDArray

_LEAST = 1e-12
"""Below it a probability is rounding noise of float32 softmax outputs."""


def log_probabilities(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithm of class probabilities, of scores that are probabilities already or are not.

    Args:
        scores: [images, classes], finite.
    """
    wide = scores.astype(np.float64)
    found: NDArray[np.float64]
    if (wide >= 0).all() and np.allclose(wide.sum(axis=1), 1.0, atol=1e-3):
        found = np.log(np.maximum(wide, _LEAST))
        return found
    shifted = wide - wide.max(axis=1, keepdims=True)
    found = np.maximum(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.log(_LEAST))
    return found


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
