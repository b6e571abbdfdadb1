"""When a variant is told apart from its base."""

import pytest

from precbench.study.benchmark import told_apart
from precbench.timing import Ratio


def ratio(low: float, high: float) -> Ratio:
    return Ratio(point=(low * high) ** 0.5, low=low, high=high, level=0.95, pairs=100, replicates=10)


@pytest.mark.parametrize(
    ("variant", "control", "apart"),
    [
        ((0.90, 0.92), (0.99, 1.01), True),
        ((1.08, 1.10), (0.99, 1.01), True),
        ((0.98, 0.995), (0.99, 1.01), False),
        ((0.98, 0.985), (1.00, 1.02), False),  # the control's mirror image reaches to 0.980
        ((0.97, 0.979), (1.00, 1.02), True),
        ((1.015, 1.018), (0.98, 1.00), False),
        ((0.999, 1.001), (0.9999, 1.0001), False),
    ],
)
def test_only_an_interval_wholly_beyond_the_control_and_its_mirror_image_is_told_apart(
    variant: tuple[float, float], control: tuple[float, float], apart: bool
) -> None:
    assert told_apart(ratio(*variant), ratio(*control)) is apart
