"""How to train: the numbers, checked."""

import math
from dataclasses import dataclass

from precbench.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How to train: AdamW, cosine decay to zero, images changed at random.

    The defaults were chosen on the digits, by validation accuracy alone.

    Args:
        epochs: at least 1.
        batch_size: images per step, at least 1; an incomplete last batch of an epoch is left out.
        learning_rate: the highest, over 0: that of the first step, or of the first after the warm-up.
        warmup_epochs: in which the rate rises from 0 in a line; at least 0, fewer than `epochs`. A pretrained network
            keeps what it knows while its new head is still random.
        weight_decay: of AdamW, at least 0.
        label_smoothing: share of each label that goes to all classes evenly, 0 to less than 1 (C. Szegedy et al.,
            "Rethinking the Inception Architecture for Computer Vision", CVPR 2016).
        bn_momentum: of every batch normalisation, over 0 and under 1.
        shift_pixels: each training image moves by up to so many pixels each way, black moving in; at least 0.
        flip: whether half of the training images are mirrored left to right.
        erase_pixels: side of the grey square that hides a part of each training image, at least 0.
        seed: of the order, the changes and dropout; 0 to 2^32 - 1.

    Raises:
        UsageError: a value is outside its limits.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_epochs: int = 0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    bn_momentum: float = 0.9
    shift_pixels: int = 2
    flip: bool = False
    erase_pixels: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the limits."""
        limits = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": 0 < self.learning_rate < math.inf,
            "warmup_epochs": 0 <= self.warmup_epochs < self.epochs,
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "bn_momentum": 0 < self.bn_momentum < 1,
            "shift_pixels": self.shift_pixels >= 0,
            "erase_pixels": self.erase_pixels >= 0,
            "seed": 0 <= self.seed < 2**32,
        }
        for name, fits in limits.items():
            if not fits:
                raise UsageError(
                    f"the training's {name} is {getattr(self, name)}, outside its limits",
                    "leave it out for the default, or choose a value that the documentation allows",
                )
