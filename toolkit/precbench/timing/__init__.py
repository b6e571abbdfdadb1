"""How long callables take, compared in pairs: a drawn order, raw nanoseconds, ratios with intervals. No ONNX here."""

from precbench.timing.measurement import Clock, Samples, measure, measure_within
from precbench.timing.replicates import Make, measure_replicates
from precbench.timing.schedule import Schedule, plan_schedule, rounds_for
from precbench.timing.statistics import Ratio, fewest_pairs, paired_ratio, replicated_ratio

__all__ = [
    "Clock",
    "Make",
    "Ratio",
    "Samples",
    "Schedule",
    "fewest_pairs",
    "measure",
    "measure_replicates",
    "measure_within",
    "paired_ratio",
    "plan_schedule",
    "replicated_ratio",
    "rounds_for",
]
