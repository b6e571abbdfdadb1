"""One timed call: the same feeds and the same buffers every time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from precbench.runtime.failures import onnxruntime_errors, run_error
from precbench.runtime.providers import import_onnxruntime


class BoundRun(Protocol):
    """Runs the model once per call and waits until it is done."""

    def __call__(self) -> None:
        """Run once."""
        ...

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the latest call's outputs by name, running once if there was no call."""
        ...


class HostRun:
    """On the CPU: a plain run, since IOBinding is the slower of the two there (onnxruntime issue 10000)."""

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
    """On a device: feeds copied there once, outputs into buffers kept there, and the device waited for."""

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
    ) -> None:
        """Copy the feeds, run once to learn the outputs' shapes, and bind what that run allocated."""
        self._session, self._model, self._names, self._options = session, model, list(outputs), options
        self._errors = onnxruntime_errors()
        self._binding = session.io_binding()
        try:
            self._inputs = self._bind_inputs(feeds, device, device_id)
            self._outputs = self._bind_outputs(device, device_id)
        except self._errors as error:
            raise run_error(model, str(error)) from error

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
