"""How a deployment form stores one tensor, and why it leaves another as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One constant tensor of a model in its deployment form.

    Attributes:
        name: the initializer's name, or the output of the `Constant` node; it is the rebuilt value's name too.
        elements: how many it has.
        dtype: ONNX's name of the type that is stored now, `INT4`, `INT8`, `INT16`, `FLOAT`, ….
        grid: the number grid of its values, such as `{"decimals": 4}`; None where it is kept.
        bits: of a stored element.
        exceptions: how many elements are stored apart because the type does not hold them.
        bytes_before: of the tensor's data in the model given.
        bytes_after: of everything that takes its place, what rebuilds it included; kept: as before.
        kept: why it stays as it is; None where it does not.
    """

    name: str
    elements: int
    dtype: str
    grid: Mapping[str, Any] | None
    bits: int
    exceptions: int
    bytes_before: int
    bytes_after: int
    kept: str | None

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: it has more exceptions than elements, or is kept and yet on a grid or of another size.
        """
        if not 0 <= self.exceptions <= self.elements:
            raise ValueError(f"{self.name} has {self.exceptions:,} exceptions among {self.elements:,} elements")
        if self.kept is not None and (self.grid is not None or self.bytes_before != self.bytes_after):
            raise ValueError(f"{self.name} is said to be kept, and to be changed")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return {
            "name": self.name,
            "elements": self.elements,
            "dtype": self.dtype,
            "grid": None if self.grid is None else dict(self.grid),
            "bits": self.bits,
            "exceptions": self.exceptions,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "kept": self.kept,
        }
