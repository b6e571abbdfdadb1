"""Trace a Keras model into a TensorFlow graph in which every variable is an input, not a constant.

Nothing can then be folded into a kernel. Batch normalisation is traced as TensorFlow's fused operation, so that one
layer stays one node; grouped convolutions without XLA, which no converter reads; and each node's name carries the
path of the Keras layer that made it.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from precbench.checkpoints.tensorflow_quietly import import_keras, import_quietly
from precbench.checkpoints.variables import named_variables
from precbench.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input, an output or a variable of the model: its Keras name and its tensor in the TensorFlow graph."""

    name: str
    tensor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A traced model.

    Attributes:
        graph: the TensorFlow graph definition.
        inputs: the model's inputs, in Keras's order.
        outputs: the model's outputs, in Keras's order.
        variables: the placeholders that stand for the model's variables, in the order of `model.variables`, under
            the names that `variables.named_variables` gives them.
        constants: tensor names of placeholders that stand for other values, with the value.
    """

    graph: Any
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    variables: tuple[Port, ...]
    constants: tuple[tuple[str, Any], ...]


def trace_model(model: Any) -> Trace:
    """Return the inference graph of a built Keras model, its variables as inputs. The model is not changed.

    Raises:
        ModelError: the model's inputs are not known, it computes in less than float32, or it holds something that
            cannot become a constant (a lookup table).
    """
    _check_exportable(model)
    tensorflow = import_quietly("tensorflow")
    function = tensorflow.function(_stateless(model), autograph=False)
    with inference_operations():
        concrete = function.get_concrete_function(*_signature(model))
    input_count = len(model.inputs)
    own = concrete.inputs[: input_count + len(model.variables)]
    return Trace(
        graph=concrete.graph.as_graph_def(add_shapes=True),
        inputs=_ports(keras_names(model.inputs), own[:input_count]),
        outputs=_ports(keras_names(model.outputs), concrete.outputs),
        variables=_ports([variable.path for variable in named_variables(model)], own[input_count:]),
        constants=_captured_constants(concrete),
    )


def input_structure(model: Any) -> Any:
    """Return the nesting in which the model takes its inputs: one tensor, a list, or a dictionary of them."""
    structure = getattr(model, "_inputs_struct", None)  # a Sequential model has none
    if structure is not None:
        return structure
    return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)


def keras_names(tensors: Sequence[Any]) -> list[str]:
    """Return the name of the layer that made each Keras tensor, made distinct by a number where it must be."""
    names: list[str] = []
    for tensor in tensors:
        history = getattr(tensor, "_keras_history", None)
        base = history.operation.name if history is not None else tensor.name
        taken = sum(name == base or name.startswith(f"{base}_") for name in names) if base in names else 0
        names.append(f"{base}_{taken}" if taken else base)
    return names


@contextlib.contextmanager
def inference_operations() -> Iterator[None]:
    """Have Keras's TensorFlow backend build what can be exported; its own operations are put back afterwards."""
    backend = import_quietly("keras.src.backend")
    operations = import_quietly("keras.src.backend.tensorflow.nn")
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _replaced(operations, "batch_normalization", _fused_normalization(operations.batch_normalization))
        )
        stack.enter_context(_replaced(operations, "conv", _plain_convolution(operations)))
        stack.enter_context(_replaced(operations, "gelu", _gelu_by_erf(operations.gelu)))
        stack.enter_context(_replaced(backend, "name_scope", _exact_scope(backend.name_scope)))
        yield


def _check_exportable(model: Any) -> None:
    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise ModelError(
            f"the model {model.name!r} has no declared inputs, so it cannot be traced",
            "build it with keras.Input, as a functional or Sequential model",
        )
    for layer in model._flatten_layers():
        policy = layer.dtype_policy
        if policy.compute_dtype not in ("float32", None) or policy.quantization_mode is not None:
            raise ModelError(
                f"layer {layer.name!r} computes in {policy.name}; only float32 models are exported",
                "rebuild the model under the float32 policy and load the weights into it",
            )


def _stateless(model: Any) -> Callable[..., Any]:
    keras = import_keras()
    count = len(model.inputs)
    structure = input_structure(model)

    def call(*tensors: Any) -> Any:
        state = list(zip(model.variables, tensors[count:], strict=True))
        with keras.StatelessScope(state_mapping=state):
            inputs = keras.tree.pack_sequence_as(structure, list(tensors[:count]))
            return keras.tree.flatten(model.call(inputs, training=False))

    return call


def _signature(model: Any) -> list[Any]:
    tensorflow = import_quietly("tensorflow")
    inputs = [
        tensorflow.TensorSpec(tensor.shape, tensor.dtype, name=f"input_of_model_{index}")
        for index, tensor in enumerate(model.inputs)
    ]
    variables = [
        tensorflow.TensorSpec(variable.shape, variable.dtype, name=f"variable_of_model_{index}")
        for index, variable in enumerate(model.variables)
    ]
    return inputs + variables


def _ports(names: Sequence[str], tensors: Sequence[Any]) -> tuple[Port, ...]:
    return tuple(Port(name=name, tensor=tensor.name) for name, tensor in zip(names, tensors, strict=True))


def _captured_constants(concrete: Any) -> tuple[tuple[str, Any], ...]:
    constants = []
    for value, placeholder in concrete.graph.captures:
        if placeholder.dtype.name in ("resource", "variant"):
            raise ModelError(
                f"the model uses {placeholder.name.split(':')[0]!r}, which is no array (a lookup table, "
                "or a variable that Keras does not track)",
                "take that layer out of the model and do its work before the model",
            )
        constants.append((placeholder.name, value.numpy()))
    return tuple(constants)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _fused_normalization(original: Callable[..., Any]) -> Callable[..., Any]:
    def batch_normalization(  # noqa: PLR0917 - Keras's signature
        x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
    ) -> Any:
        rank = len(x.shape)
        if rank not in (2, 3, 4, 5):
            return original(x, mean, variance, axis, offset, scale, epsilon)
        tensorflow = import_quietly("tensorflow")
        scale = tensorflow.ones_like(mean) if scale is None else scale
        offset = tensorflow.zeros_like(mean) if offset is None else offset
        return _on_four_axes(
            x,
            axis % rank,
            lambda image, layout: (
                tensorflow.raw_ops.FusedBatchNormV3(
                    x=image,
                    scale=scale,
                    offset=offset,
                    mean=mean,
                    variance=variance,
                    epsilon=epsilon,
                    is_training=False,
                    data_format=layout,
                ).y
            ),
        )

    return batch_normalization


def _on_four_axes(x: Any, axis: int, normalize: Callable[[Any, str], Any]) -> Any:
    """Bring the channels where the fused operation wants them, which takes images and volumes only."""
    tensorflow = import_quietly("tensorflow")
    rank = len(x.shape)
    if axis not in (1, rank - 1):
        order = [other for other in range(rank) if other != axis] + [axis]
        back = [order.index(position) for position in range(rank)]
        return tensorflow.transpose(_on_four_axes(tensorflow.transpose(x, order), rank - 1, normalize), back)
    if rank == 2:
        image = tensorflow.expand_dims(tensorflow.expand_dims(x, 2), 3)
        return tensorflow.squeeze(normalize(image, "NCHW"), [2, 3])
    if rank == 3:
        added = 1 if axis == 2 else 2
        layout = "NHWC" if axis == 2 else "NCHW"
        return tensorflow.squeeze(normalize(tensorflow.expand_dims(x, added), layout), [added])
    last = axis == rank - 1
    layouts = {4: ("NCHW", "NHWC"), 5: ("NCDHW", "NDHWC")}
    return normalize(x, layouts[rank][last])


def _plain_convolution(operations: Any) -> Callable[..., Any]:
    """Keras's `conv` without its detour through XLA for grouped convolutions."""

    def conv(  # noqa: PLR0917 - Keras's signature
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        tensorflow = import_quietly("tensorflow")
        layout = operations._convert_data_format(
            operations.backend.standardize_data_format(data_format), len(inputs.shape)
        )
        return tensorflow.nn.convolution(
            inputs, kernel, strides, padding.upper(), data_format=layout, dilations=dilation_rate
        )

    return conv


def _gelu_by_erf(original: Callable[..., Any]) -> Callable[..., Any]:
    """Keras's `gelu` by way of erf, which ONNX has, not erfc, which it does not."""

    def gelu(x: Any, approximate: bool = True) -> Any:
        if approximate:
            return original(x, approximate)
        tensorflow = import_quietly("tensorflow")
        return 0.5 * x * (1.0 + tensorflow.math.erf(x * 0.5**0.5))

    return gelu


def _exact_scope(base: Any) -> Any:
    """Keras's name scope, which does not number the TensorFlow scope when a layer is entered again."""
    tensorflow = import_quietly("tensorflow")

    class ExactScope(base):  # type: ignore[misc]
        def __init__(self, name: str, **arguments: Any) -> None:
            super().__init__(name, **arguments)
            outer = tensorflow.get_current_name_scope()
            own = re.sub(r"[^A-Za-z0-9_.\-]", "_", name).lstrip("_-") or "layer"
            self._tf_name_scope = tensorflow.name_scope(f"{outer}/{own}/" if outer else f"{own}/")

    return ExactScope
