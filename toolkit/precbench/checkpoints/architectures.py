"""Networks by name, with random weights: those of `keras.applications`, at a study's input size and class count."""

import inspect
from typing import Any

from precbench.checkpoints.tensorflow_quietly import import_keras
from precbench.errors import UsageError
from precbench.nearest import nearest


def build(
    name: str,
    *,
    input_size: int,
    classes: int,
    alpha: float = 1.0,
    bn_momentum: float | None = None,
    seed: int = 0,
) -> Any:
    """Return an untrained `keras.Model` with a softmax head; layer names are those of `keras.applications`.

    The law: the same arguments give the same model, names and weights included, whatever was built before. For that
    Keras's global state (name counters, seeds of Python, NumPy and TensorFlow) is reset first.

    Args:
        name: a model of `keras.applications`, such as "MobileNetV2".
        input_size: pixels a side of the RGB input; most need at least 32.
        classes: number of classes, at least 2.
        alpha: width multiplier, over 0; only the MobileNet families take another than 1.
        bn_momentum: of every batch normalisation, over 0 and under 1; None leaves the architecture's own.
        seed: of the weights, 0 to 2^32 - 1.

    Raises:
        UsageError: an unknown name, or an argument that this architecture does not take.
        MissingDependencyError: Keras or TensorFlow is not installed.
    """
    _check(classes, alpha, bn_momentum, seed)
    keras = import_keras()
    make = _find(keras, name)
    options = {"alpha": alpha} if "alpha" in inspect.signature(make).parameters else {}
    if not options and alpha != 1.0:
        raise UsageError(f"{name} has no width multiplier; alpha is {alpha}", "leave alpha at 1.0")
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    try:
        model = make(input_shape=(input_size, input_size, 3), weights=None, classes=classes, **options)
    except ValueError as error:
        raise UsageError(
            f"{name} cannot be built for {input_size} x {input_size} pixels and alpha {alpha}: {error}",
            "choose a larger input size, or another architecture",
        ) from error
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


def _find(keras: Any, name: str) -> Any:
    known = [key for key, value in vars(keras.applications).items() if inspect.isfunction(value)]
    if name in known:
        return getattr(keras.applications, name)
    raise UsageError(
        f"the architecture {name!r} is unknown", f"{nearest(name, known)}; choose a model of keras.applications"
    )


def _check(classes: int, alpha: float, bn_momentum: float | None, seed: int) -> None:
    if classes < 2:
        raise UsageError(f"the number of classes is {classes}; it must be at least 2", "give the classes of the data")
    if not alpha > 0:
        raise UsageError(f"alpha is {alpha}; it must be over 0", "choose a width such as 0.35, 0.5 or 1.0")
    if bn_momentum is not None and not 0 < bn_momentum < 1:
        raise UsageError(
            f"the momentum of batch normalisation is {bn_momentum}; it must lie between 0 and 1",
            "choose 0.9 for a small data set, 0.99 for a large one",
        )
    if not 0 <= seed < 2**32:
        raise UsageError(f"the seed {seed} is outside 0 to {2**32 - 1}", "choose a seed in that range")
