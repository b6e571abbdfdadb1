"""The meter adds up times per stage."""

import pytest

from precbench.sweep import Meter


def test_times_add_up_per_stage_also_where_a_block_fails() -> None:
    ticks = iter([0, 2_000_000_000, 5_000_000_000, 6_000_000_000, 6_000_000_000, 6_500_000_000])
    meter = Meter(clock=lambda: next(ticks))
    with meter.time("inputs"):
        pass
    with pytest.raises(ZeroDivisionError), meter.time("whole"):
        raise ZeroDivisionError
    with meter.time("inputs"):
        pass
    assert meter.spent_s == {"inputs": 2.5, "whole": 1.0}
