"""The configuration of a saved Keras model: brought to the form Keras 3 reads, and checked before Keras sees it.

The law: what `safe_config` returns names classes of Keras alone, none of which runs code from the file or reads
another file. Keras's own safe mode is on as well; this check does not rest on it.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from precbench.checkpoints.tensorflow_quietly import import_keras, import_quietly
from precbench.errors import ModelError

_PLAIN = frozenset(
    {
        "__keras_tensor__",
        "__numpy__",
        "__tensor__",
        "__slice__",
        "__ellipsis__",
        "__bytes__",
        "__tuple__",
        "TensorShape",
    }
)
_RUN_CODE = frozenset({"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
_CALL_BY_NAME = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"})
_READ_FILES = frozenset({"StringLookup", "IntegerLookup", "TextVectorization"})
_MODELS = frozenset({"Functional", "Sequential", "Model"})
_DROPPED_SECTIONS = ("compile_config", "training_config")
_MAX_DEPTH = 200

_TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")

# What Keras 2 wrote and Keras 3's constructors refuse, with the values at which it changes nothing.
_KERAS_2_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "groups": (None, 1),
    "time_major": (False,),
    "implementation": (0, 1, 2),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "fused": (None, True, False),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "renorm_momentum": (0.99,),
    "ragged": (None, False),
    "sparse": (None, False),
    "keepdims": (None, False),
    "dtype": (None, "float32"),
    "batch_input_shape": (None,),
    "experimental_autocast": (True, False),
    "rng_type": (None, "stateful"),
    "trainable": (True, False),
    "noise_shape": (None,),
}


def safe_config(config: Any, origin: str) -> dict[str, Any]:
    """Return a model's configuration as Keras 3 reads it, all of it checked.

    Keras 2's form is brought up to date: module names, `batch_input_shape`, axes in a list, and settings that Keras 3
    does not know, where they have the value at which they change nothing.

    Args:
        config: decoded JSON, `{"class_name": …, "config": …}`.
        origin: the file, for messages.

    Raises:
        ModelError: it is no Keras model, or holds something that is not Keras's own or would run code.
    """
    if (
        not isinstance(config, dict)
        or config.get("class_name") not in _MODELS
        or not isinstance(config.get("config"), dict | list)
    ):
        raise _refusal(
            origin,
            "is no architecture of a Keras model (a functional or Sequential one)",
            "give the JSON that model.to_json() writes, or a whole model",
        )
    checked: dict[str, Any] = _checked(config, origin, 0)
    return checked


def _checked(value: Any, origin: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise _refusal(origin, f"nests its configuration deeper than {_MAX_DEPTH} levels", "give another architecture")
    if isinstance(value, list):
        return [_checked(item, origin, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {key: _checked(item, origin, depth + 1) for key, item in value.items()}
    return _checked_object(value, origin, depth)


def _checked_object(value: dict[str, Any], origin: str, depth: int) -> Any:
    name = value["class_name"]
    if not isinstance(name, str):
        raise _refusal(origin, f"names a class by {name!r}", "give a file that Keras wrote")
    if name in ("__tuple__", "TensorShape"):  # Keras's H5 encoding of what is a list elsewhere
        return _checked(value.get("items"), origin, depth + 1)
    if name in _PLAIN:
        return {key: _checked(item, origin, depth + 1) for key, item in value.items()}
    _check_name(value, name, origin)
    if name == "function":
        return _checked_function(value, origin)
    if name == "Policy" or (name == "DTypePolicy" and "module" not in value):  # Keras 2
        return dict(value["config"]).get("name") if isinstance(value.get("config"), dict) else None
    kind = _keras_class(name, value.get("module"), origin)
    rest = {
        key: _checked(item, origin, depth + 1)
        for key, item in value.items()
        if key not in ("config", *_DROPPED_SECTIONS)
    }
    inner = _checked(value.get("config") or {}, origin, depth + 1)
    for named in (rest, inner):
        if isinstance(named, dict) and isinstance(named.get("name"), str):
            named["name"] = _plain_name(named["name"])
    return {
        **rest,
        "class_name": kind.__name__,
        "module": _module_of(kind, name),
        "registered_name": None,
        "config": _modernised(kind, inner, origin),
    }


def _check_name(value: Mapping[str, Any], name: str, origin: str) -> None:
    label = _label(value)
    if name in _RUN_CODE:
        raise _refusal(
            origin,
            f"holds a {name} layer{label}, which would run code from the file",
            "rebuild the model with Keras's own layers in its place",
        )
    if name in _CALL_BY_NAME:
        raise _refusal(
            origin,
            f"holds a {name}{label}, a TensorFlow function that Keras 2 called by its name",
            "build the architecture anew with Keras 3, and give its JSON with these weights",
        )
    if name in _READ_FILES:
        raise _refusal(
            origin,
            f"holds a {name} layer{label}, which may read other files",
            "take the text processing out of the model",
        )
    registered = value.get("registered_name")
    if ">" in name or registered not in (None, name):
        raise _refusal(
            origin,
            f"holds {registered or name!r}{label}, a class that is not Keras's own",
            "rebuild the model with Keras's own layers in its place",
        )


def _label(value: Mapping[str, Any]) -> str:
    config = value.get("config")
    name = value.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return f" {name!r}" if isinstance(name, str) else ""


def _checked_function(value: Mapping[str, Any], origin: str) -> dict[str, Any]:
    name, module = value.get("config"), value.get("module")
    activations = import_keras().activations
    known = isinstance(name, str) and inspect.isfunction(getattr(activations, name, None))
    if (
        not known
        or name in ("get", "deserialize", "serialize")
        or module not in (None, "builtins", "keras.activations")
    ):
        raise _refusal(
            origin,
            f"refers to the function {module}.{name}, which is no activation of Keras",
            "rebuild the model with Keras's own activations",
        )
    return dict(value)


def _keras_class(name: str, module: Any, origin: str) -> type:
    """Return Keras's class of that name, of a kind that a model is made of."""
    if name in _MODELS:
        return _model_class(name)
    candidates = [found for owner in _owners(module) if isinstance(found := getattr(owner, name, None), type)]
    kinds = _part_kinds()
    kept = [found for found in candidates if issubclass(found, kinds) and found.__module__.startswith("keras.")]
    if not kept or (isinstance(module, str) and not _is_keras(module)):
        where = f"{module}.{name}" if isinstance(module, str) else name
        raise _refusal(
            origin,
            f"holds {where}, which is no class that a model of Keras {import_keras().__version__} is made of",
            "rebuild the model with Keras's own layers in its place",
        )
    return kept[0]


def _model_class(name: str) -> type:
    models = import_quietly("keras.src.models")
    kind: type = models.Sequential if name == "Sequential" else models.Functional
    return kind


def _is_keras(module: str) -> bool:
    package = module.split(".", maxsplit=1)[0]
    return package in ("keras", "tf_keras") or module.startswith(("tensorflow.keras.", "tensorflow.python.keras."))


def _owners(module: Any) -> list[Any]:
    keras = import_keras()
    owners = [
        keras.layers,
        keras.initializers,
        keras.regularizers,
        keras.constraints,
        keras.dtype_policies,
        keras.quantizers,
        keras.random,
    ]
    if isinstance(module, str) and module.startswith(("keras.src.ops.", "keras.src.applications.")):
        try:
            return [importlib.import_module(module)]
        except ImportError:
            return []
    return owners


def _part_kinds() -> tuple[type, ...]:
    keras = import_keras()
    return (
        keras.Operation,
        keras.Initializer,
        keras.Regularizer,
        keras.constraints.Constraint,
        keras.DTypePolicy,
        keras.dtype_policies.DTypePolicyMap,
        keras.Quantizer,
        keras.random.SeedGenerator,
    )


def _module_of(kind: type, name: str) -> str:
    keras = import_keras()
    public = {
        "layers": keras.layers,
        "initializers": keras.initializers,
        "regularizers": keras.regularizers,
        "constraints": keras.constraints,
        "dtype_policies": keras.dtype_policies,
        "random": keras.random,
        "quantizers": keras.quantizers,
    }
    found = next((f"keras.{module}" for module, owner in public.items() if getattr(owner, name, None) is kind), None)
    return found or kind.__module__


def _modernised(kind: type, config: Any, origin: str) -> Any:
    if not isinstance(config, dict):
        return config
    if kind.__name__ == "Functional":
        return _graph_as_keras_3(config)
    known = _accepted(kind)
    shape = config.get("batch_input_shape")
    if shape is not None and "batch_shape" in known:
        config = {**config, "batch_shape": shape}
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1 and kind.__name__ == "BatchNormalization":
        config = {**config, "axis": axis[0]}
    return {key: item for key, item in config.items() if not _is_old(kind, key, item, known, origin)}


def _graph_as_keras_3(config: dict[str, Any]) -> dict[str, Any]:
    """Refer to layers as Keras 3 does: calls of nested models counted from 0, no slash in a name, one port alone.

    Keras 2 counted the making of a nested model as its first call, so its references begin at 1.
    """
    layers = [layer for layer in config.get("layers", []) if isinstance(layer, dict)]
    nested = {_layer_name(layer) for layer in layers if layer.get("class_name") in _MODELS}
    references = [reference for layer in layers for reference in _references(layer.get("inbound_nodes"))]
    if not references:  # Keras 3 writes calls as dictionaries
        return config
    references += [*_references(config.get("output_layers"))]
    lowest: dict[str, int] = {}
    for reference in references:
        lowest[reference[0]] = min(reference[1], lowest.get(reference[0], reference[1]))
    for reference in references:
        if reference[0] in nested and lowest[reference[0]] == 1:
            reference[1] -= 1
    for reference in [*references, *_references(config.get("input_layers"))]:
        reference[0] = _plain_name(reference[0])
    return {**config, **{key: _alone(config.get(key)) for key in ("input_layers", "output_layers")}}


def _alone(ports: Any) -> Any:
    """One input or output stands alone, not in a list of one."""
    return ports[0] if isinstance(ports, list) and len(ports) == 1 and isinstance(ports[0], list) else ports


def _plain_name(name: str) -> str:
    """Keras 2 allowed slashes in layer names (its DenseNet has them), Keras 3 does not."""
    return name.replace("/", "_")


def _layer_name(layer: Mapping[str, Any]) -> Any:
    config = layer.get("config")
    return layer.get("name") or (config.get("name") if isinstance(config, dict) else None)


def _references(value: Any) -> Iterator[list[Any]]:
    """Yield the `[layer, call, tensor, …]` lists of Keras 2's form, however deep they lie in lists."""
    if not isinstance(value, list):
        return
    if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(number, int) for number in value[1:3]):
        yield value
        return
    for item in value:
        yield from _references(item)


def _is_old(kind: type, key: str, value: Any, known: frozenset[str], origin: str) -> bool:
    """Whether a setting is one of Keras 2's that this class of Keras 3 does not take, at the value without effect."""
    if not known or key in known:
        return False
    if key.endswith(_TRAINING_ONLY):
        return True
    if key not in _KERAS_2_DEFAULTS:
        return False
    if key == "batch_input_shape":
        return True
    if value in _KERAS_2_DEFAULTS[key]:
        return True
    raise _refusal(
        origin,
        f"sets {key}={value!r} on a {kind.__name__}, which Keras 3 does not have",
        f"rebuild the layer with {key}={_KERAS_2_DEFAULTS[key][-1]!r}",
    )


def _accepted(kind: type) -> frozenset[str]:
    """Names of the arguments that a class takes, those that it hands on included; empty for a model: it takes all."""
    if issubclass(kind, import_keras().Model):
        return frozenset()
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters
            names |= parameters.keys()
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
                break
    return frozenset(names)


def _refusal(origin: str, problem: str, remedy: str) -> ModelError:
    return ModelError(f"{origin} {problem}", remedy)
