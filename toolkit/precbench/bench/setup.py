"""How every benchmark begins and ends, whatever the protocol: past the gate, watching the machine, into a result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from precbench.bench.arms import Line
from precbench.bench.caveats import Caveat, about_the_machine, about_the_models, about_the_session
from precbench.bench.gate import Gate, pass_gate
from precbench.bench.inputs import BatchInputs
from precbench.bench.options import TimingOptions
from precbench.bench.result import Result
from precbench.runtime import SessionSettings, cpu_times_now, environment, own_cpu_s, used_by_others
from precbench.runtime.clocks import TimedClock
from precbench.runtime.load import Load

_Kind = TypeVar("_Kind", bound=Result[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A benchmark that may begin.

    Args:
        base: as it was asked for.
        variants: likewise.
        line: of its arms.
        settings: of every session, as asked for.
        options: how to time.
        gate: what passed.
        request: what a measuring process must know of the arms; `feeds` is added per batch size.
        look: see `watch_machine`.
    """

    base: Path
    variants: tuple[Path, ...]
    line: Line
    settings: SessionSettings
    options: TimingOptions
    gate: Gate
    request: dict[str, Any]
    look: Callable[[], tuple[dict[str, Any], Load]]

    @classmethod
    def of(
        cls,
        base: Path,
        variants: Sequence[Path],
        line: Line,
        *,
        settings: SessionSettings,
        inputs: Sequence[BatchInputs],
        options: TimingOptions,
    ) -> Self:
        """Pass the gate, and look at the machine.

        Raises:
            ModelError, ProviderError, DataError: a model cannot be run as asked.
        """
        models = [arm.model for arm in line.arms.values()]
        gate = pass_gate(base, models, settings, [i.feeds for i in inputs], options.clock)
        return cls(
            base=base,
            variants=tuple(variants),
            line=line,
            settings=settings,
            options=options,
            gate=gate,
            request=_request(line, replace(settings, provider=gate.provider), options.clock),
            look=watch_machine(),
        )

    def result(
        self,
        kind: type[_Kind],
        batches: Sequence[Any],
        ended: str,
        failure: Exception | None,
        *,
        caveats: Sequence[Caveat] = (),
    ) -> _Kind:
        """Look at the machine again, and return what was measured with all that it has to be read with.

        Args:
            kind: of the result.
            batches: what was measured, per batch size.
            ended: see `Result`.
            failure: likewise.
            caveats: that stand before those about models, session and machine.
        """
        found, load = self.look()
        return kind(
            base=self.base,
            variants=self.variants,
            line=self.line,
            settings=self.settings,
            options=self.options,
            gate=self.gate,
            batches=tuple(batches),
            environment=found,
            caveats=(
                *caveats,
                *about_the_models(self.line, self.gate),
                *about_the_session(self.gate.session),
                *about_the_machine(found, load, self.settings.intra_op_threads),
            ),
            ended=ended,
            failure=failure,
        )


def watch_machine() -> Callable[[], tuple[dict[str, Any], Load]]:
    """Look at the machine; what is returned looks again, and tells what it is and what others used of it since."""
    before, own_s, first = cpu_times_now(), own_cpu_s(), environment()

    def look() -> tuple[dict[str, Any], Load]:
        load = used_by_others(before, cpu_times_now(), own_cpu_s() - own_s)
        about_load = {"load_before": first["load_average"], "load_after": environment()["load_average"]}
        found = {key: value for key, value in first.items() if key != "load_average"}
        return {**found, **about_load, **load.to_json()}, load

    return look


def _request(line: Line, settings: SessionSettings, clock: TimedClock) -> dict[str, Any]:
    return {
        "arms": {name: {**arm.to_json(), "model": str(arm.model.absolute())} for name, arm in line.arms.items()},
        "settings": settings.to_json(),
        "clock": clock,
    }
