"""GoogLeNet (Inception v1), batch normalised in place of local response normalisation and auxiliary classifiers."""

from typing import Any

from precbench.errors import UsageError

_SMALLEST_SIDE = 32  # pixels: five halvings leave one

_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Filters of each inception module, in the order of the paper's table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool
projection."""


def build_googlenet(keras: Any, *, input_size: int, classes: int, dropout: float | None = None) -> Any:
    """Return GoogLeNet with random weights.

    Convolutions are `conv1_7x7`, `conv2_3x3_reduce`, `conv2_3x3`, then `inception_3a_1x1`, `…_3x3_reduce`, `…_3x3`,
    `…_5x5_reduce`, `…_5x5` and `…_pool_proj` for each of the nine modules; the head is `predictions`.

    The law: at 1,000 classes kernels, one bias per filter and the head are the 6,998,552 parameters of the network of
    2014. Here batch normalisation stands behind each convolution (its beta is the bias) so that it trains without the
    auxiliary classifiers and local response normalisation, which are left out, as in torchvision.

    Args:
        keras: the module.
        input_size: pixels a side, at least 32.
        classes: number of classes.
        dropout: before the head; None: the paper's 0.4.

    Raises:
        UsageError: the input is smaller.

    Source: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, table 1; S. Ioffe, C. Szegedy, "Batch
        Normalization", ICML 2015.
    """
    if input_size < _SMALLEST_SIDE:
        raise UsageError(
            f"GoogLeNet takes at least {_SMALLEST_SIDE} pixels a side, not {input_size}",
            "choose a larger input size; preprocessing resizes the images",
        )
    layers = keras.layers
    image = keras.Input((input_size, input_size, 3))
    x = _conv(layers, image, "conv1_7x7", 64, 7, strides=2)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    x = _conv(layers, x, "conv2_3x3_reduce", 64, 1)
    x = _conv(layers, x, "conv2_3x3", 192, 3)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(x)
    for name, filters in _MODULES.items():
        x = _inception(layers, x, f"inception_{name}", filters)
        if name in ("3b", "4e"):
            x = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{name[0]}")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dropout(0.4 if dropout is None else dropout, name="dropout")(x)
    x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(image, x, name="googlenet")


def _inception(layers: Any, x: Any, name: str, filters: tuple[int, ...]) -> Any:
    one, three_reduce, three, five_reduce, five, projected = filters
    pooled = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    branches = [
        _conv(layers, x, f"{name}_1x1", one, 1),
        _conv(layers, _conv(layers, x, f"{name}_3x3_reduce", three_reduce, 1), f"{name}_3x3", three, 3),
        _conv(layers, _conv(layers, x, f"{name}_5x5_reduce", five_reduce, 1), f"{name}_5x5", five, 5),
        _conv(layers, pooled, f"{name}_pool_proj", projected, 1),
    ]
    return layers.Concatenate(name=f"{name}_output")(branches)


def _conv(layers: Any, x: Any, name: str, filters: int, kernel: int, *, strides: int = 1) -> Any:
    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
