"""How far the outputs of a model's other form are from the model's own, on seeded inputs."""

from pathlib import Path
from typing import Any

import numpy as np

from precbench.runtime import SessionSettings, fixed_batch, open_session, seeded_inputs

_SAMPLES = 128


def agreement(base: Path, half: Path, *, provider: str, seed: int = 0) -> dict[str, Any]:
    """Return how far the float16 model's outputs, on a provider, are from the float32 model's on the CPU.

    Args:
        provider: that runs the float16 model. The CPU provider has no float16 kernels for most operators: ONNX Runtime
            casts around them, so that there the weights are float16 and much of the arithmetic is not.
        seed: of the inputs, drawn as `precbench bench` draws them: noise, not images.

    Returns:
        Samples; the largest difference over the largest output; and for classifiers the share of samples whose top-1
        agrees, with the number of classes that came up (of noise: often few).
    """
    reference = open_session(base, SessionSettings())
    tested = open_session(half, SessionSettings(provider=provider))
    batch = fixed_batch(reference.inputs) or _SAMPLES
    feeds = seeded_inputs(reference.inputs, seed=seed, batch=batch)
    wanted, found = reference.run(feeds), tested.run(feeds)
    name = next(iter(wanted))
    one, other = (np.asarray(outputs[name], dtype=np.float64) for outputs in (wanted, found))
    told: dict[str, Any] = {
        "provider": provider,
        "samples": batch,
        "output": name,
        "largest_difference": float(np.abs(one - other).max()),
        "largest_output": float(np.abs(one).max()),
        "finite": bool(np.isfinite(other).all()),
    }
    if one.ndim == 2 and one.shape[1] > 1:
        top = one.argmax(axis=1)
        told |= {"top1_agreement": float(np.mean(top == other.argmax(axis=1))), "classes": len(set(top.tolist()))}
    return told
