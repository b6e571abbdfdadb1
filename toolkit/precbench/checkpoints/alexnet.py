"""AlexNet on one tower, without local response normalisation."""

from typing import Any

from precbench.errors import UsageError

_SIDES = (63, 254)
"""Pixels a side: below, the last pooling has nothing left; above, the first dense layer would take more than 6x6."""


def build_alexnet(keras: Any, *, input_size: int, classes: int, dropout: float | None = None) -> Any:
    """Return AlexNet with random weights: `conv1` to `conv5`, then `fc6`, `fc7` and `predictions`.

    The law: at 224 pixels and 1,000 classes it has torchvision's 61,100,840 parameters. At smaller sizes `fc6` takes
    what grid the last pooling leaves, 2x2 at 96 pixels; nothing else changes.

    Args:
        keras: the module.
        input_size: pixels a side, 63 to 254.
        classes: number of classes.
        dropout: before `fc6` and `fc7`; None: 0.5, as in 2012.

    Raises:
        UsageError: the input is smaller or larger.

    Source: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks", NIPS 2012; A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
        arXiv:1404.5997, 2014, for the single tower; layer widths as torchvision has them.
    """
    if not _SIDES[0] <= input_size <= _SIDES[1]:
        raise UsageError(
            f"AlexNet takes {_SIDES[0]} to {_SIDES[1]} pixels a side, not {input_size}",
            "choose an input size in that range, such as 96 or 224; preprocessing resizes the images",
        )
    layers = keras.layers
    share = 0.5 if dropout is None else dropout
    image = keras.Input((input_size, input_size, 3))
    x = layers.ZeroPadding2D(2, name="conv1_pad")(image)
    x = _conv(layers, x, "conv1", 64, 11, strides=4, padding="valid")
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = _conv(layers, x, "conv2", 192, 5)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = _conv(layers, x, "conv3", 384, 3)
    x = _conv(layers, x, "conv4", 256, 3)
    x = _conv(layers, x, "conv5", 256, 3)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc6", "fc7"):
        x = layers.Dropout(share, name=f"{name}_drop")(x)
        x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name=name)(x)
    x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(image, x, name="alexnet")


def _conv(layers: Any, x: Any, name: str, filters: int, kernel: int, *, strides: int = 1, padding: str = "same") -> Any:
    return layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding=padding,
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)
