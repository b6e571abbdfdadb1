"""The variables of a Keras checkpoint under their Keras paths, whichever of three layouts holds them."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precbench.checkpoints.weights_file import WeightsFile, datasets, guarded, open_for_reading, open_weights
from precbench.errors import ModelError

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel")
_NORMALIZER_VARIABLES = {
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "group_normalization": ("gamma", "beta"),
    "layer_normalization": ("gamma", "beta"),
}
_KERAS_2_13_LAYERS = "_layer_checkpoint_dependencies"
_ATTENTION_PARTS = ("query_dense", "key_dense", "value_dense", "output_dense")
_KERNEL_AND_BIAS = ("kernel", "bias")
_VARIABLES_BY_CLASS = {
    **{
        f"{kind}conv{rank}d{suffix}": _KERNEL_AND_BIAS
        for kind in ("", "depthwise_")
        for rank in (1, 2, 3)
        for suffix in ("", "_transpose")
    },
    **{f"separable_conv{rank}d": ("depthwise_kernel", "pointwise_kernel", "bias") for rank in (1, 2)},
    "recurrent_cell": ("kernel", "recurrent_kernel", "bias"),
    "dense": _KERNEL_AND_BIAS,
    "einsum_dense": _KERNEL_AND_BIAS,
    "embedding": ("embeddings",),
    "normalization": ("mean", "variance", "count"),
    "p_re_lu": ("alpha",),
}
_KERAS_1_SUFFIXES = {
    "W": "kernel",
    "b": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
_KERAS_1_NAME = re.compile(rf"(?:^|_)({'|'.join(_KERAS_1_SUFFIXES)})(?:_\d+)?$")
_ARCHITECTURE_REMEDY = "give the architecture JSON with it, or round the .keras file"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointVariable:
    """One variable of a checkpoint.

    Args:
        name: its Keras path, `block_1_expand/kernel`, as the exported model calls it; unique in the file.
        layer: the path without its last part.
        dataset_path: where the HDF5 file holds it.
        shape: in Keras's order of axes.
        dtype: NumPy's name of the type, or "bfloat16".
        role: "kernel", "bias", "batch_norm" or "other".
    """

    name: str
    layer: str
    dataset_path: str
    shape: tuple[int, ...]
    dtype: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A dataset with what its layout says of it; `owners` are the nested models around it."""

    path: str
    layer: str
    variable: str
    owners: tuple[str, ...] = ()
    batch_norm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """What an architecture says of one layer."""

    name: str
    class_name: str
    config: Mapping[str, Any]


def list_variables(path: Path, *, architecture: Path | None = None) -> tuple[CheckpointVariable, ...]:
    """Return the variables of a Keras checkpoint; optimizer state is left out. TensorFlow is not needed.

    The law: names are the Keras paths that the exported model has. Three layouts are read, told by their content:
    the one of Keras 2 (also inside a whole-model `.h5`), where the file names its variables, `depthwise_kernel:0`
    becoming `kernel` as in Keras 3; `.keras`, where the archive's architecture names them; and Keras 3's
    `.weights.h5`, which records layer names but only numbers the variables of a layer. There a number becomes a name
    where the class of the layer leaves no doubt; else it stays `<layer>/vars/<number>`.

    Args:
        path: `.h5`, `.weights.h5` or `.keras`.
        architecture: JSON that belongs to a `.weights.h5`; needed only where that file records no layer names.

    Raises:
        ModelError: the file is missing, damaged, no Keras file, or does not fit the architecture.
        MissingDependencyError: h5py is not installed.
    """
    with open_weights(path) as weights:
        return read_variables(weights, architecture=architecture)


def read_variables(weights: WeightsFile, *, architecture: Path | None = None) -> tuple[CheckpointVariable, ...]:
    """Return the variables of an open checkpoint, as `list_variables` does."""
    with open_for_reading(weights) as file:
        held = datasets(file, weights.source)
        found = _find(file, held, weights, architecture)
        return tuple(_describe(item, name, held[item.path]) for item, name in zip(found, _names(found), strict=True))


def _find(file: Any, held: Mapping[str, Any], weights: WeightsFile, architecture: Path | None) -> list[_Found]:
    for prefix in ("", "model_weights/"):
        group = file[prefix] if prefix and prefix.rstrip("/") in file else file
        names = _attribute_names(group, "layer_names")
        if names is not None:
            return list(_find_legacy(group, prefix, names, held, weights.source))
    numbered = [path for path in held if re.search(r"(^|/)vars/\d+$", path) and not path.startswith("optimizer/")]
    if not numbered:
        raise ModelError(
            f"{weights.source} is HDF5 but holds no Keras weights",
            "name a file that Keras saved: weights or a whole model",
        )
    config = weights.config if architecture is None else _read_architecture(architecture)
    layers = {} if config is None else dict(_layers_of(config, ""))
    places = {place: number for number, place in enumerate(layers)}
    numbered.sort(key=lambda path: (places.get(_current(path).rpartition("/vars/")[0], len(places)), _natural(path)))
    return [_find_numbered(file, path, weights.source, layers) for path in numbered]


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort key: conv2d_2 comes before conv2d_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def _find_legacy(
    group: Any, prefix: str, layer_names: Sequence[str], held: Mapping[str, Any], source: Path
) -> Iterator[_Found]:
    """Keras 2's layout: each layer's group lists the names of its variables."""
    for layer in [*layer_names, *(["top_level_model_weights"] if "top_level_model_weights" in group else [])]:
        names = (_attribute_names(group[layer], "weight_names") if layer in group else None) or []
        for name in names:
            path = f"{prefix}{layer}/{name}"
            if path not in held:
                raise ModelError(
                    f"{source} lists the variable {name} of {layer}, but holds no values of it",
                    "the file is damaged: copy or save it again",
                )
            yield _legacy_variable(path, layer, name, names)


def _legacy_variable(path: str, group: str, name: str, siblings: Sequence[str]) -> _Found:
    parts = name.removesuffix(":0").split("/")
    variable = _legacy_word(parts[-1], siblings)
    owners = parts[:-1]
    if group in owners:
        layer = "/".join(owners[owners.index(group) :])
    elif not owners or _is_numbered_twin(owners, group):
        layer = group
    else:
        return _Found(
            path=path,
            layer="/".join(owners),
            variable=variable,
            owners=(group,),
            batch_norm=_has_statistics(siblings, "/".join(owners)),
        )
    return _Found(path=path, layer=layer, variable=variable, batch_norm=_has_statistics(siblings, "/".join(owners)))


def _legacy_word(word: str, siblings: Sequence[str]) -> str:
    """Map older names of variables to Keras 3's."""
    if word == "depthwise_kernel" and not any("pointwise_kernel" in name for name in siblings):
        return "kernel"
    old = _KERAS_1_NAME.search(word)
    return _KERAS_1_SUFFIXES[old.group(1)] if old and word not in _KERAS_1_SUFFIXES.values() else word


def _is_numbered_twin(owners: Sequence[str], group: str) -> bool:
    """Keras 2 called the variables of a layer's second life `conv_1/kernel:0` inside the group `conv`."""
    return len(owners) == 1 and re.fullmatch(rf"{re.escape(group)}_\d+", owners[0]) is not None


def _has_statistics(names: Sequence[str], owner: str) -> bool:
    """Whether the layer with the variables' common prefix has moving statistics, so is a batch normalisation."""
    same_owner = [name for name in names if name.rpartition("/")[0] == owner]
    return any("moving_" in name or "running_" in name for name in same_owner)


def _find_numbered(file: Any, path: str, source: Path, layers: Mapping[str, _Layer]) -> _Found:
    """Keras 3's layout: `layers/conv2d_3/vars/0`, the layer's name an attribute of `vars` or in the architecture."""
    location, _, number = f"/{path}".rpartition("/vars/")
    location = location.removeprefix("/")
    places = _places(location)
    names = [_layer_name(file, place, source, layers) for place in places]
    segments = [place.rpartition("/")[2] for place in places]
    layer = layers.get(_current(location))
    class_name = _class_name(segments, layer)
    variable = _numbered_word(class_name, int(number), len(file[f"{location}/vars"]), layer)
    models = [position for position, segment in enumerate(segments[:-1]) if _is_functional(segment)]
    return _Found(
        path=path,
        layer="/".join(name for position, name in enumerate(names) if position not in models),
        variable=variable,
        owners=tuple(names[position] for position in models),
        batch_norm=class_name == "batch_normalization",
    )


def _places(location: str) -> list[str]:
    """Return the paths of the objects from the outermost to the one itself: layers/lstm, layers/lstm/cell."""
    parts = location.split("/") if location else []
    return ["/".join(parts[: end + 1]) for end, part in enumerate(parts) if part not in ("layers", _KERAS_2_13_LAYERS)]


def _current(place: str) -> str:
    """Return what Keras 3 calls a place that Keras 2.13 wrote."""
    return place.replace(_KERAS_2_13_LAYERS, "layers")


def _layer_name(file: Any, place: str, source: Path, layers: Mapping[str, _Layer]) -> str:
    """Return the name that the architecture gives, else the one that the file records."""
    current = _current(place)
    group = file.get(f"{place}/vars")
    recorded = None if group is None else group.attrs.get("name")
    if current in layers:
        if recorded is not None and recorded != layers[current].name:
            raise ModelError(
                f"{source} calls {place} {recorded}, the architecture {layers[current].name}",
                "give the architecture that belongs to these weights",
            )
        return layers[current].name
    if recorded is not None:
        return str(recorded)
    if current.startswith("layers/") and current.count("/") == 1:
        raise ModelError(
            f"{source} records no name for {place}: a version of Keras wrote it that did not", _ARCHITECTURE_REMEDY
        )
    return place.rpartition("/")[2]


def _class_name(segments: Sequence[str], layer: _Layer | None) -> str:
    """Return the class in Keras's snake case, without the number of its occurrence."""
    if layer is not None:
        return to_snake_case(layer.class_name)
    if not segments:
        return ""
    last = segments[-1]
    if last == "cell":
        return "recurrent_cell"
    return "einsum_dense" if last in _ATTENTION_PARTS else _without_number(last)


def _numbered_word(class_name: str, number: int, count: int, layer: _Layer | None) -> str:
    if class_name in _NORMALIZER_VARIABLES:
        names = _normalizer_words(_NORMALIZER_VARIABLES[class_name], count, layer)
    else:
        names = _VARIABLES_BY_CLASS.get(class_name, ())
    return names[number] if number < len(names) else f"vars/{number}"


def _normalizer_words(every: tuple[str, ...], count: int, layer: _Layer | None) -> tuple[str, ...]:
    """Name the variables of a normalisation; where some are absent, only its configuration says which."""
    if count == len(every):
        return every
    if layer is None:
        return ()
    absent = {name for name, key in (("gamma", "scale"), ("beta", "center")) if not layer.config.get(key, True)}
    names = tuple(name for name in every if name not in absent)
    return names if len(names) == count else ()


def _is_functional(segment: str) -> bool:
    return _without_number(segment) in ("functional", "model")


def _without_number(segment: str) -> str:
    return re.sub(r"_\d+$", "", segment)


def _layers_of(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, _Layer]]:
    """Yield every layer of an architecture with the place that Keras 3 saves it at, nested models included."""
    inner = config.get("config")
    entries = inner.get("layers", []) if isinstance(inner, Mapping) else []
    used: Counter[str] = Counter()
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
            continue
        base = to_snake_case(entry["class_name"])
        place = f"{prefix}layers/{base}_{used[base]}" if used[base] else f"{prefix}layers/{base}"
        used[base] += 1
        own = entry.get("config")
        own = own if isinstance(own, Mapping) else {}
        yield place, _layer(entry["class_name"], own)
        wrapped = own.get("layer")
        if isinstance(wrapped, Mapping) and isinstance(wrapped.get("config"), Mapping):
            yield f"{place}/layer", _layer(str(wrapped.get("class_name")), wrapped["config"])
        yield from _layers_of(entry, f"{place}/")


def _layer(class_name: str, config: Mapping[str, Any]) -> _Layer:
    return _Layer(name=str(config.get("name")), class_name=class_name, config=config)


def to_snake_case(name: str) -> str:
    """Return a class name in the snake case that Keras 3 names groups by (`keras.src.utils.naming`)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _read_architecture(path: Path) -> Mapping[str, Any]:
    with guarded(path):
        config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ModelError(f"{path} is no Keras architecture", "give the JSON that model.to_json() returns")
    return config


def _attribute_names(group: Any, name: str) -> list[str] | None:
    """Return a list that Keras keeps in an attribute, or, where it is long, in several numbered ones."""
    parts = [name] if name in group.attrs else []
    while not parts or parts[0] != name:
        following = f"{name}{len(parts)}"
        if following not in group.attrs:
            break
        parts.append(following)
    if not parts:
        return None
    words = [word for part in parts for word in group.attrs[part]]
    return [word.decode() if isinstance(word, bytes) else str(word) for word in words]


def _names(found: Sequence[_Found]) -> list[str]:
    """Return each variable's path; where two share one, with the nested model in front, or where it is held."""
    plain = [f"{item.layer}/{item.variable}" if item.layer else item.variable for item in found]
    counts = Counter(plain)
    longer = [
        "/".join([*item.owners, name]) if counts[name] > 1 else name for item, name in zip(found, plain, strict=True)
    ]
    again = Counter(longer)
    return [item.path if again[name] > 1 else name for item, name in zip(found, longer, strict=True)]


def _describe(item: _Found, name: str, dataset: Any) -> CheckpointVariable:
    bfloat16 = dataset.attrs.get("dtype") in ("bfloat16", b"bfloat16")
    dtype = "empty" if dataset.shape is None else "bfloat16" if bfloat16 else str(dataset.dtype.name)
    layer = name.removesuffix(f"/{item.variable}")
    return CheckpointVariable(
        name=name, layer=layer, dataset_path=item.path, shape=tuple(dataset.shape or ()), dtype=dtype, role=_role(item)
    )


def _role(item: _Found) -> str:
    if item.batch_norm:
        return "batch_norm"
    if item.variable in _KERNELS:
        return "kernel"
    return "bias" if item.variable == "bias" else "other"
