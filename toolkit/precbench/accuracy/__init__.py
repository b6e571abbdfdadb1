"""What a variant costs in accuracy: counts with intervals, paired flips, and fidelity where there are no labels."""

from precbench.accuracy.closeness import Fidelity, fidelity
from precbench.accuracy.confusion import ClassScore, confusion_matrix, per_class
from precbench.accuracy.labels import check_classes, top_classes
from precbench.accuracy.paired import Flips, flips
from precbench.accuracy.proportions import Accuracy, Interval, accuracy_of, newcombe_interval, wilson_interval

__all__ = [
    "Accuracy",
    "ClassScore",
    "Fidelity",
    "Flips",
    "Interval",
    "accuracy_of",
    "check_classes",
    "confusion_matrix",
    "fidelity",
    "flips",
    "newcombe_interval",
    "per_class",
    "top_classes",
    "wilson_interval",
]
