"""Images with labels, and how they become a network's input."""

from precbench.datasets.dataset import Dataset, Splits
from precbench.datasets.preprocessing import Preprocessing
from precbench.datasets.resize import crop_centred, resize_bilinear
from precbench.datasets.sources import DEFAULT_SIZE, load_dataset, load_splits, source_digest

__all__ = [
    "DEFAULT_SIZE",
    "Dataset",
    "Preprocessing",
    "Splits",
    "crop_centred",
    "load_dataset",
    "load_splits",
    "resize_bilinear",
    "source_digest",
]
