"""One timed call: the same feeds and the same buffers every time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from precbench.runtime.failures import onnxruntime_errors, run_error
from precbench.runtime.providers import import_onnxruntime

RUNS_UNTIL_CAPTURED = 3
"""Two regular runs let the arena allocate all it needs (nothing may be allocated meanwhile), the third is captured.

Source: ONNX Runtime's CUDA provider, `min_num_runs_before_cuda_graph_capture_`. 1.31 makes all three within the first
call; the other two are replays then.
"""


class BoundRun(Protocol):
    """Runs the model once per call and waits until it is done."""

    def __call__(self) -> None:
        """Run once."""
        ...

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the latest call's outputs by name, running once if there was no call."""
        ...


class HostRun:
    """Arrays on the host in and out, by a plain run; on a GPU that copies both ways and waits.

    On the CPU IOBinding would be the slower of the two (onnxruntime issue 10000).
    """

    def __init__(
        self,
        model: Path,
        session: Any,
        feeds: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        *,
        options: Any = None,
    ) -> None:
        """Keep the feeds, contiguous so that no call copies them."""
        self._run, self._options = session.run, options
        self._feeds = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        self._names = list(outputs)
        self._model = model
        self._errors = onnxruntime_errors()
        self._latest: list[NDArray[Any]] | None = None

    def __call__(self) -> None:
        """Run once."""
        try:
            self._latest = self._run(self._names, self._feeds, self._options)
        except self._errors as error:
            raise run_error(self._model, str(error)) from error

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the latest call's outputs by name, running once if there was no call."""
        if self._latest is None:
            self()
        return {name: np.array(value) for name, value in zip(self._names, self._latest or (), strict=True)}


class DeviceRun:
    """On a device: feeds copied there once, outputs into buffers kept there, and the device waited for.

    With `graph_options` the calls replay a CUDA graph. A graph holds the addresses of its inputs and outputs, so it is
    captured after both are bound for good; and it belongs to the thread that captured it, so call where you bind.
    """

    def __init__(
        self,
        model: Path,
        session: Any,
        feeds: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        *,
        device: str,
        device_id: int,
        options: Any = None,
        graph_options: Any = None,
    ) -> None:
        """Copy the feeds, run once to learn the outputs' shapes, bind what that run allocated, capture if asked to.

        Args:
            model: named in errors.
            session: onnxruntime.InferenceSession.
            feeds: one array per input.
            outputs: names.
            device: "cuda" (or "cpu", for tests).
            device_id: of the device, from 0.
            options: RunOptions of a call that captures and replays nothing.
            graph_options: RunOptions with a gpu_graph_id of its own; None without a CUDA graph.
        """
        self._session, self._model, self._names, self._options = session, model, list(outputs), options
        self._errors = onnxruntime_errors()
        self._binding = session.io_binding()
        try:
            self._inputs = self._bind_inputs(feeds, device, device_id)
            self._outputs = self._bind_outputs(device, device_id)
        except self._errors as error:
            raise run_error(model, str(error)) from error
        if graph_options is not None:
            self._options = graph_options
            for _ in range(RUNS_UNTIL_CAPTURED):
                self()

    def __call__(self) -> None:
        """Run once and wait for the device."""
        try:
            self._session.run_with_iobinding(self._binding, self._options)
            self._binding.synchronize_outputs()
        except self._errors as error:
            raise run_error(self._model, str(error)) from error

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the latest call's outputs by name (of the one made while binding, if there was none)."""
        return {
            name: np.array(value) for name, value in zip(self._names, self._binding.copy_outputs_to_cpu(), strict=True)
        }

    def _bind_inputs(self, feeds: Mapping[str, NDArray[Any]], device: str, device_id: int) -> list[Any]:
        make = import_onnxruntime().OrtValue.ortvalue_from_numpy
        values = []
        for name, array in feeds.items():
            value = make(np.ascontiguousarray(array), device, device_id)
            self._binding.bind_ortvalue_input(name, value)
            values.append(value)
        self._binding.synchronize_inputs()
        return values

    def _bind_outputs(self, device: str, device_id: int) -> list[Any]:
        for name in self._names:
            self._binding.bind_output(name, device, device_id)
        self._session.run_with_iobinding(self._binding, self._options)
        values = list(self._binding.get_outputs())
        self._binding.clear_binding_outputs()
        for name, value in zip(self._names, values, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        return values
