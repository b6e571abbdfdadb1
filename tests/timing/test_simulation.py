"""The machines that the engine is tested on: they do what they are said to do, and the engine finds what they are."""

from collections import Counter

import numpy as np
import pytest

from precbench.errors import UsageError
from precbench.timing.engine import Design, measure_processes
from precbench.timing.schedule import ProcessPlan
from precbench.timing.simulation import Machine, Noise
from precbench.timing.verdict import Comparison

NOISES = {
    "drift": Noise(walk=0.02, offset=0.004),
    "spikes": Noise(spikes=0.05, spike_size=1.0, offset=0.004),
    "two modes": Noise(slow_mode=0.3, mode_s=0.5, offset=0.004),
    "warming up": Noise(warming=1.0, warming_s=0.2, switch=0.4, cold=5.0, offset=0.004),
}


def machine_of(*, noise, ratio=1.0, seed=0, call_s=0.01):
    times_s = {"base": call_s, "control": call_s, "variant": ratio * call_s}
    return Machine(times_s=times_s, noise=noise, seed=seed)


def calls_of(machine, *, count=400):
    plan = ProcessPlan(replicate=0, process=0, arms=("base",), seed=0, blocks=count // 4, calls=1, warmup_s=0.0)
    return machine.run_process(plan)


def test_without_noise_every_call_takes_its_time_and_the_clock_moves_by_it():
    samples = calls_of(machine_of(noise=Noise(jitter=0)))
    assert set(samples.elapsed_ns.ravel().tolist()) == {10_000_000}
    assert set(np.diff(samples.started_ns.ravel()).tolist()) == {10_000_000}


@pytest.mark.parametrize(
    ("noise", "figure", "low", "high"),
    [
        (Noise(jitter=0.02), lambda t: np.log(t).std(), 0.018, 0.022),
        (Noise(jitter=0, spikes=0.1, spike_size=1.0), lambda t: (t > 10_000_000).mean(), 0.06, 0.14),
        (Noise(jitter=0, slow_mode=0.5, mode_s=0.2), lambda t: (t == 15_000_000).mean(), 0.25, 0.75),
        (Noise(jitter=0, walk=0.05), lambda t: abs(np.corrcoef(t[1:], t[:-1])[0, 1]), 0.9, 1.0),
    ],
)
def test_each_noise_is_what_it_says(noise, figure, low, high):
    assert low < figure(calls_of(machine_of(noise=noise)).elapsed_ns.ravel().astype(float)) < high


def test_each_process_has_an_offset_of_its_own():
    machine = machine_of(noise=Noise(jitter=0, offset=0.01))
    medians = [np.median(calls_of(machine, count=4).elapsed_ns) for _ in range(100)]
    assert 0.008 < np.log(medians).std() < 0.012


def test_a_process_without_room_ends_with_a_refusal_as_a_real_one_does():
    plan = ProcessPlan(replicate=0, process=0, arms=("base",), seed=0, room_s=0.01)
    samples = machine_of(noise=Noise()).run_process(plan)
    assert isinstance(samples.failure, UsageError)
    assert samples.blocks == 0


def words_of(noise, ratio, runs):
    words = Counter()
    for seed in range(runs):
        machine = machine_of(noise=noise, ratio=ratio, seed=seed, call_s=0.005)
        design = Design(
            groups=(("base", "control", "variant"),),
            comparisons=(Comparison(arm="variant", base="base", control="control"),),
            budget_s=40.0,
            seed=seed,
        )
        words[str(measure_processes(design, machine.run_process, clock=machine.clock).findings[0].verdict)] += 1
    return words


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_the_same_model_twice_is_hardly_ever_called_faster_or_slower(noise):
    words = words_of(noise, 1.0, 12)
    assert words["faster"] + words["slower"] <= 1


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize(("ratio", "word"), [(0.98, "faster"), (1.02, "slower")])
def test_a_difference_of_two_percent_is_called(noise, ratio, word):
    words = words_of(noise, ratio, 6)
    assert words[word] >= 5
    assert words["faster"] + words["slower"] == words[word]
