"""What a variant costs in accuracy: counts with intervals, paired flips and what they show, fidelity without labels."""

from precbench.accuracy.closeness import Fidelity, fidelity
from precbench.accuracy.confusion import ClassScore, confusion_matrix, per_class
from precbench.accuracy.labels import check_classes, top_classes
from precbench.accuracy.noninferiority import Change, Decision, check_margin_points, decide, smallest_margin_points
from precbench.accuracy.paired import Flips, flips
from precbench.accuracy.proportions import Accuracy, Interval, accuracy_of, wilson_interval
from precbench.accuracy.sequential import Answer, SequentialTest
from precbench.accuracy.tango import tango_interval

__all__ = [
    "Accuracy",
    "Answer",
    "Change",
    "ClassScore",
    "Decision",
    "Fidelity",
    "Flips",
    "Interval",
    "SequentialTest",
    "accuracy_of",
    "check_classes",
    "check_margin_points",
    "confusion_matrix",
    "decide",
    "fidelity",
    "flips",
    "per_class",
    "smallest_margin_points",
    "tango_interval",
    "top_classes",
    "wilson_interval",
]
