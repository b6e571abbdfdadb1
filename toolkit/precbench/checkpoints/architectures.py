"""Networks by name at a study's input size and class count: those of `keras.applications`, AlexNet and GoogLeNet."""

import inspect
from pathlib import Path
from typing import Any, Literal

from precbench.checkpoints.alexnet import build_alexnet
from precbench.checkpoints.googlenet import build_googlenet
from precbench.checkpoints.pretrained import load_pretrained
from precbench.checkpoints.tensorflow_quietly import import_keras
from precbench.errors import DataError, UsageError
from precbench.nearest import nearest

_OWN = {"AlexNet": build_alexnet, "GoogLeNet": build_googlenet}


def build(
    name: str,
    *,
    input_size: int,
    classes: int,
    alpha: float = 1.0,
    weights: Path | Literal["imagenet"] | None = None,
    dropout: float | None = None,
    bn_momentum: float | None = None,
    seed: int = 0,
) -> Any:
    """Return a `keras.Model` with a softmax head of random weights; layer names are those of `keras.applications`.

    The law: the same arguments give the same model, names and weights included, whatever was built before. For that
    Keras's global state (name counters, seeds of Python, NumPy and TensorFlow) is reset first.

    With `weights` or `dropout`, a network of `keras.applications` ends in global average pooling, dropout and one
    dense layer, `predictions`, for transfer learning. For most networks (MobileNetV2 among them) that is the top that
    they have anyway; VGG loses its two hidden dense layers.

    Args:
        name: a model of `keras.applications`, such as "MobileNetV2", or "AlexNet" or "GoogLeNet".
        input_size: pixels a side of the RGB input; most need at least 32.
        classes: number of classes, at least 2.
        alpha: width multiplier, over 0; only the MobileNet families take another than 1.
        weights: a file with the ImageNet weights of this network without its top, or "imagenet" for Keras's own
            download of them; None: random weights throughout.
        dropout: share of what the head sees that is dropped in training, 0 to less than 1; None: as the architecture
            has it.
        bn_momentum: of every batch normalisation, over 0 and under 1; None leaves the architecture's own.
        seed: of the weights, 0 to 2^32 - 1.

    Raises:
        UsageError: an unknown name, or an argument that this architecture does not take.
        ModelError: the weights cannot be read, or are those of another network or alpha.
        DataError: they cannot be downloaded.
        MissingDependencyError: Keras or TensorFlow is not installed.
    """
    _check(classes, alpha, dropout, bn_momentum, seed)
    keras = import_keras()
    make = _find(keras, name)
    options = {"alpha": alpha} if "alpha" in inspect.signature(make).parameters else {}
    if not options and alpha != 1.0:
        raise UsageError(f"{name} has no width multiplier; alpha is {alpha}", "leave alpha at 1.0")
    if name in _OWN and weights is not None:
        raise UsageError(f"{name} takes no ImageNet weights; they are {weights}", "begin with random weights")
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    if name in _OWN:
        model = make(keras, input_size=input_size, classes=classes, dropout=dropout)
    elif weights is None and dropout is None:
        model = _made(make, name, input_size, options, classes=classes)
    else:
        downloads = weights == "imagenet"
        network = _made(make, name, input_size, options, include_top=False, pooling="avg", downloads=downloads)
        if isinstance(weights, Path):
            load_pretrained(network, weights, description=_described(name, options))
        model = _with_head(keras, network, classes, dropout)
    if bn_momentum is not None:
        set_bn_momentum(model, bn_momentum)
    return model


def set_bn_momentum(model: Any, momentum: float) -> int:
    """Set the momentum of every batch normalisation of a Keras model, nested ones included; return how many.

    Keras's own 0.99 needs hundreds of steps before the moving statistics are of use; a small data set has fewer.
    """
    count = 0
    for layer in model.layers:
        if hasattr(layer, "layers"):
            count += set_bn_momentum(layer, momentum)
        elif type(layer).__name__ == "BatchNormalization":
            layer.momentum = momentum
            count += 1
    return count


def _made(
    make: Any, name: str, input_size: int, options: dict[str, Any], *, downloads: bool = False, **top: Any
) -> Any:
    weights = "imagenet" if downloads else None
    try:
        return make(input_shape=(input_size, input_size, 3), weights=weights, **top, **options)
    except ValueError as error:
        raise UsageError(
            f"{name} cannot be built for {input_size} x {input_size} pixels and alpha {options.get('alpha', 1.0)}: "
            f"{error}",
            "choose a larger input size, or another architecture",
        ) from error
    except Exception as error:  # whatever a network raises
        if not downloads:
            raise
        raise DataError(
            f"the ImageNet weights of {_described(name, options)} cannot be downloaded: {' '.join(str(error).split())}",
            "name a file that has them with --weights",
        ) from error


def _described(name: str, options: dict[str, Any]) -> str:
    return f"{name} with alpha {options['alpha']}" if options else name


def _with_head(keras: Any, network: Any, classes: int, dropout: float | None) -> Any:
    features = network.output
    if dropout:
        features = keras.layers.Dropout(dropout, name="predictions_drop")(features)
    head = keras.layers.Dense(classes, activation="softmax", name="predictions")(features)
    return keras.Model(network.input, head, name=network.name)


def _find(keras: Any, name: str) -> Any:
    made = {key: value for key, value in vars(keras.applications).items() if inspect.isfunction(value)} | _OWN
    if name in made:
        return made[name]
    raise UsageError(
        f"the architecture {name!r} is unknown",
        f"{nearest(name, made)}; choose a model of keras.applications, {' or '.join(_OWN)}",
    )


def _check(classes: int, alpha: float, dropout: float | None, bn_momentum: float | None, seed: int) -> None:
    if classes < 2:
        raise UsageError(f"the number of classes is {classes}; it must be at least 2", "give the classes of the data")
    if not alpha > 0:
        raise UsageError(f"alpha is {alpha}; it must be over 0", "choose a width such as 0.35, 0.5 or 1.0")
    if dropout is not None and not 0 <= dropout < 1:
        raise UsageError(
            f"the dropout is {dropout}; it must be at least 0 and less than 1", "choose 0.2, or leave it out"
        )
    if bn_momentum is not None and not 0 < bn_momentum < 1:
        raise UsageError(
            f"the momentum of batch normalisation is {bn_momentum}; it must lie between 0 and 1",
            "choose 0.9 for a small data set, 0.99 for a large one",
        )
    if not 0 <= seed < 2**32:
        raise UsageError(f"the seed {seed} is outside 0 to {2**32 - 1}", "choose a seed in that range")
