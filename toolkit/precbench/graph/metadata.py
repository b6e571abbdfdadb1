"""What an exported model says of itself: versions, source, preprocessing, class names, groups, origin of each weight.

Export writes it into `metadata_props` under `precbench.*`, as JSON; everything else only reads it.
"""

import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import onnx

from precbench.errors import ModelError, TargetError
from precbench.nearest import nearest

SCHEMA_VERSION = 1
_KEY = "precbench.metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializerOrigin:
    """Where an initializer came from in Keras.

    The law: `np.transpose(keras_array, permutation).reshape(initializer.shape)` equals the initializer bit for bit.
    """

    layer: str
    variable: str
    keras_shape: tuple[int, ...]
    permutation: tuple[int, ...]
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """The metadata of an exported model.

    Attributes:
        versions: package name to version, of what made the model.
        source: file name to digest (`sha256:…`) of what it was made from.
        preprocessing: `datasets.Preprocessing.to_json()` to apply to uint8 RGB images; None where it is not known.
        class_names: in the order of the outputs; empty where they are not known.
        groups: group name to globs over initializer names; how the groups were recognised.
        initializers: initializer name to where it came from.
    """

    versions: Mapping[str, str]
    source: Mapping[str, str]
    preprocessing: Mapping[str, Any] | None
    class_names: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    initializers: Mapping[str, InitializerOrigin]


def write_metadata(model: onnx.ModelProto, metadata: ModelMetadata) -> None:
    """Write `metadata` into the model, in place of what was there."""
    kept = [entry for entry in model.metadata_props if entry.key != _KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    value = {"schema_version": SCHEMA_VERSION, **asdict(metadata)}
    model.metadata_props.add(key=_KEY, value=json.dumps(value, sort_keys=True))


def read_metadata(model: onnx.ModelProto) -> ModelMetadata | None:
    """Return the model's precbench metadata, or None where it has none.

    Raises:
        ModelError: there is metadata, but a newer precbench wrote it or it is damaged.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == _KEY), None)
    if text is None:
        return None
    try:
        value = json.loads(text)
        version = value["schema_version"]
        if version == SCHEMA_VERSION:
            return _from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"the model's {_KEY} is damaged ({type(error).__name__}: {error})",
            "export the model again, or remove that metadata entry",
        ) from error
    raise ModelError(
        f"the model's {_KEY} has schema version {version!r}, this precbench reads {SCHEMA_VERSION}",
        "use the precbench that exported the model, or a newer one",
    )


def assign_groups(names: Iterable[str], groups: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """Give each initializer name the group whose globs (case-sensitive, `fnmatch`) match it; None where none does.

    Raises:
        TargetError: a glob matches no name, or a name falls into two groups.
    """
    assigned: dict[str, str | None] = dict.fromkeys(names)
    for group, patterns in groups.items():
        for pattern in patterns:
            matched = match_names(assigned, pattern)
            if not matched:
                raise TargetError(
                    f"the pattern {pattern!r} of group {group!r} matches no initializer", nearest(pattern, assigned)
                )
            for name in matched:
                if assigned[name] not in (None, group):
                    raise TargetError(
                        f"{name} falls into two groups, {assigned[name]!r} and {group!r}",
                        "make the patterns of the groups exclude each other",
                    )
                assigned[name] = group
    return assigned


def match_names(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names that a pattern means: the very name where there is one, else what the glob matches."""
    names = list(names)
    if pattern in names:
        return [pattern]
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]


def _from_json(value: Mapping[str, Any]) -> ModelMetadata:
    preprocessing = value["preprocessing"]
    return ModelMetadata(
        versions={str(k): str(v) for k, v in value["versions"].items()},
        source={str(k): str(v) for k, v in value["source"].items()},
        preprocessing=None if preprocessing is None else dict(preprocessing),
        class_names=tuple(str(name) for name in value["class_names"]),
        groups={str(k): tuple(str(p) for p in v) for k, v in value["groups"].items()},
        initializers={str(k): _origin_from_json(v) for k, v in value["initializers"].items()},
    )


def _origin_from_json(value: Mapping[str, Any]) -> InitializerOrigin:
    group = value["group"]
    return InitializerOrigin(
        layer=str(value["layer"]),
        variable=str(value["variable"]),
        keras_shape=tuple(int(n) for n in value["keras_shape"]),
        permutation=tuple(int(n) for n in value["permutation"]),
        group=None if group is None else str(group),
    )
