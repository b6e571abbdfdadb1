"""CPU time that others used, worked out from exact numbers."""

import json
import subprocess
import sys
import time
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precbench.runtime import CpuUse, cpu_times_now, own_cpu_s, used_by_others
from precbench.runtime.load import cpu_use


def use(wall_s, busy_s, idle_s, steal_s=None):
    return CpuUse(wall_s=wall_s, busy_s=busy_s, idle_s=idle_s, steal_s=steal_s)


def test_others_used_what_was_busy_and_not_ours():
    # 4 cores for 10 s: 25 busy, 13 idle, 2 stolen; ours 10.
    load = used_by_others(use(100, 1000, 500, 7), use(110, 1025, 513, 9), 10)
    assert load.other_cores == pytest.approx(1.5)
    assert load.steal_share == pytest.approx(0.05)
    assert load.wall_s == 10
    assert json.loads(json.dumps(load.to_json())) == load.to_json()


def test_more_of_our_own_than_was_counted_busy_leaves_nothing_for_others():
    assert used_by_others(use(0, 0, 0), use(1, 0.99, 1), 1.0).other_cores == 0


def test_steal_is_unknown_where_the_system_does_not_say():
    assert used_by_others(use(0, 0, 0), use(1, 1, 1), 0).steal_share is None
    assert used_by_others(use(0, 0, 0, 0), use(1, 1, 1, None), 0).steal_share is None


def test_counters_that_stand_still_or_step_back_steal_nothing():
    assert used_by_others(use(0, 5, 5, 2), use(1, 5, 5, 2), 0).steal_share == 0
    assert used_by_others(use(0, 5, 5, 2), use(1, 6, 6, 1.9), 0).steal_share == 0


@given(*(st.floats(0, 1e6) for _ in range(4)), st.floats(0.001, 1e4))
def test_the_load_is_never_negative_and_the_share_never_above_one(busy_s, idle_s, steal_s, own_s, wall_s):
    load = used_by_others(use(0, 0, 0, 0), use(wall_s, busy_s, idle_s, steal_s), own_s)
    assert load.other_cores >= 0
    assert 0 <= load.steal_share <= 1


def test_snapshots_in_the_wrong_order_are_a_bug_of_the_caller():
    with pytest.raises(ValueError, match="before the first"):
        used_by_others(use(2, 0, 0), use(1, 0, 0), 0)


def test_guests_are_not_counted_twice_and_kinds_that_a_system_lacks_count_as_nothing():
    linux = types.SimpleNamespace(
        user=10, nice=1, system=2, idle=20, iowait=3, irq=0.5, softirq=0.25, steal=4, guest=9, guest_nice=1
    )
    assert cpu_use(linux, wall_s=7) == use(7, 13.75, 23, 4)
    assert cpu_use(types.SimpleNamespace(user=10, nice=1, system=2, idle=20), wall_s=7) == use(7, 13, 20, None)


def test_two_real_snapshots_are_in_order():
    before = cpu_times_now()
    after = cpu_times_now()
    assert after.wall_s > before.wall_s
    assert after.busy_s >= before.busy_s > 0


def test_our_own_time_counts_our_work_and_that_of_children_once_they_have_ended():
    before, until = own_cpu_s(), time.process_time() + 0.05
    while time.process_time() < until:
        pass
    ours = own_cpu_s()
    assert ours - before >= 0.05
    spin = "import time\nwhile time.process_time() < 0.1: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert own_cpu_s() - ours >= 0.08
