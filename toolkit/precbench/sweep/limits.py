"""How much memory a sweep may take, and how much work a stop may lose."""

from dataclasses import dataclass

from precbench.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a sweep; they change how it goes, never what it gives.

    Args:
        sessions_bytes: by how much the process may grow before a pass takes no more variants. A pass with one variant
            goes on whatever it takes.
        activations_bytes: of inputs and captured values at a time; one batch's at the least.
        pass_s: seconds that a pass over the images should take, as far as can be told before. Variants of one pass are
            finished together, so this is what a stop loses; but a pass is at least ten times as long as it takes to
            run the base, since each begins with that.

    Raises:
        UsageError: one is not positive.
    """

    sessions_bytes: int = 1536 << 20
    activations_bytes: int = 512 << 20
    pass_s: float = 300.0

    def __post_init__(self) -> None:
        """Check the limits."""
        for name in ("sessions_bytes", "activations_bytes", "pass_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"the limit {name} is {getattr(self, name)}", "give a positive number")
