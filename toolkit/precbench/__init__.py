"""Round a network's weights to N decimal places, and measure honestly what that costs and what it gives.

import precbench as pb

pb.round_model("model.onnx", decimals=4, output="model.dp4.onnx")
pb.evaluate("model.dp4.onnx", "model.onnx", data="photos.npz")
pb.run_study("mobilenetv2-digits")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from precbench.api import benchmark, compare, deploy_model, evaluate, round_model, run_study, verify, write_report
    from precbench.study.definition import Study, load_study

__version__ = "0.1.0"

__all__ = [
    "Study",
    "benchmark",
    "compare",
    "deploy_model",
    "evaluate",
    "load_study",
    "round_model",
    "run_study",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: `import precbench` alone costs nothing.

    None of the names is that of a folder of the package: importing one would put it in the name's place.
    """
    if name in __all__:
        return getattr(importlib.import_module("precbench.api"), name)
    raise AttributeError(f"module 'precbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return what there is, for completion."""
    return sorted({*globals(), *__all__})
