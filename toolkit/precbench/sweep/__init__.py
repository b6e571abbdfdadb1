"""Many variants of one model on many images: what they share is computed once.

`sweep` gives for every variant what `run_plain` gives, bit for bit.
"""

from precbench.sweep.batches import Batches
from precbench.sweep.exact import Finished, sweep
from precbench.sweep.limits import Limits
from precbench.sweep.meter import Meter
from precbench.sweep.plain import run_plain
from precbench.sweep.runners import Way
from precbench.sweep.screening import Screened, evaluations, screen
from precbench.sweep.variants import Variant, rounded_variant

__all__ = [
    "Batches",
    "Finished",
    "Limits",
    "Meter",
    "Screened",
    "Variant",
    "Way",
    "evaluations",
    "rounded_variant",
    "run_plain",
    "screen",
    "sweep",
]
