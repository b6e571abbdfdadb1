"""What a timed call spans, and which provider can have it."""

import pytest

from precbench.errors import UsageError
from precbench.runtime import CLOCKS, SessionSettings, timed_clock
from precbench.runtime.clocks import CLOCK_MEANINGS


def test_every_clock_has_a_meaning_that_a_record_gives():
    assert CLOCKS == ("end-to-end", "device", "cuda-graph") == tuple(CLOCK_MEANINGS)


def test_a_clock_is_found_by_its_name_and_an_unknown_one_refused_with_the_nearest():
    assert [timed_clock(name) for name in CLOCKS] == list(CLOCKS)
    with pytest.raises(UsageError, match="there is no clock 'devise'") as caught:
        timed_clock("devise")
    assert "device" in caught.value.remedy


def test_a_cuda_graph_is_asked_for_in_the_settings_and_the_other_clocks_change_nothing():
    settings = SessionSettings(provider="cuda", provider_options={"use_tf32": "1"})
    assert settings.for_clock("end-to-end") is settings
    assert settings.for_clock("device") is settings
    graphs = settings.for_clock("cuda-graph")
    assert graphs.provider_options == {"use_tf32": "1", "enable_cuda_graph": "1"}
    assert (settings.captures_cuda_graphs, graphs.captures_cuda_graphs) == (False, True)


@pytest.mark.parametrize("provider", ["cpu", "cuda", "tensorrt", "auto"])
def test_every_provider_can_be_timed_end_to_end(provider):
    settings = SessionSettings(provider=provider)
    assert settings.for_clock("end-to-end") is settings


@pytest.mark.parametrize(
    ("provider", "clock", "problem", "remedy"),
    [
        ("cpu", "device", "the cpu provider has no clock 'device'", "use --clock end-to-end, or --ep cuda"),
        ("cpu", "cuda-graph", "the cpu provider has no clock 'cuda-graph'", "use --clock end-to-end, or --ep cuda"),
        ("auto", "device", "the clock 'device' needs a named provider", "name it with --ep cuda"),
        ("auto", "cuda-graph", "the clock 'cuda-graph' needs a named provider", "name it with --ep cuda"),
        ("tensorrt", "cuda-graph", "is there for the cuda provider, not for tensorrt", "or --clock device"),
        ("cuda", "gpu", "there is no clock 'gpu'", "end-to-end"),
    ],
)
def test_a_clock_that_the_provider_cannot_have_is_refused(provider, clock, problem, remedy):
    with pytest.raises(UsageError) as caught:
        SessionSettings(provider=provider).for_clock(clock)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_tensorrt_has_device_buffers():
    settings = SessionSettings(provider="tensorrt")
    assert settings.for_clock("device") is settings
