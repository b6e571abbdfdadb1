"""What to deploy and how: what `precbench deploy` has options for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from precbench.bench.options import TimingOptions
from precbench.deploy.forms import Form
from precbench.deploy.int8.quantizing import DEFAULT_METHOD
from precbench.deploy.int8.ranges import check_method
from precbench.deploy.measuring import check_max_drop
from precbench.runtime import SessionSettings

DEFAULT_BUDGET_S = 20.0
DEFAULT_MAX_DROP_POINTS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to deploy and how. A value that cannot be used cannot be built.

    Args:
        model: the float32 model.
        output: the folder to write.
        form: None tries those that fit the provider and keeps the fastest that holds.
        reference: what accuracy and time are compared with; None: the model itself.
        method: of calibration.
        max_drop_points: accepted: the upper end of the paired 95 % interval of the loss, in percentage points. None:
            0.5 where `form` is None, anything where it is given.
        settings: of the sessions that are measured.
        batches: samples per timed call.
        shapes: of inputs whose size the model leaves open.
        timing: how to time; None does not.
        seed: of all that is drawn.
        command: as typed, for the record.
        force: replace a deployed folder.

    Raises:
        UsageError: the method is unknown, or the drop is not inside 0..100.
    """

    model: Path
    output: Path
    form: Form | None
    reference: Path | None = None
    method: str = DEFAULT_METHOD
    max_drop_points: float | None = None
    settings: SessionSettings = field(default_factory=SessionSettings)
    batches: Sequence[int] = (32,)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    timing: TimingOptions | None = field(default_factory=lambda: TimingOptions(budget_s=DEFAULT_BUDGET_S))
    seed: int = 0
    command: Sequence[str] = ()
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot be used."""
        check_method(self.method)
        if self.max_drop_points is not None:
            check_max_drop(self.max_drop_points)

    @property
    def limit_points(self) -> float | None:
        """The loss that is accepted; None where any is."""
        return DEFAULT_MAX_DROP_POINTS if self.max_drop_points is None and self.form is None else self.max_drop_points

    @property
    def compared_with(self) -> Path:
        """The model that accuracy and time are compared with."""
        return self.reference or self.model
