"""The integer weights of one layer, fitted to the outputs that the float layer has and rounded to decimal steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from precbench.deploy.int8.layer import Layer
from precbench.grids.preferred import preferred_steps

LARGEST_CODE = 127
_LARGEST_BIAS_CODE = 2.0**30
_RIDGE = 0.01  # of the mean variance of an input; more where there are few patches
_ROWS_A_COLUMN = 8  # patches a weight from which on the ridge is as above
_MOST_FITTED_COLUMNS = 4096  # a larger layer's Gram matrix would take more than 128 MiB: bias correction alone
_FINER, _COARSER = 2, 2  # steps of R10 that are tried around the first that cuts no weight off
_LEAST_STEP = 1e-9
_BLOCK_WEIGHTS = 1 << 22  # 32 MiB of float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerLayer:
    """A layer's integer weights.

    Args:
        codes: int8, in the kernel's shape, -127..127.
        steps: float64 [outputs], decimals of at most three significant digits: the weights are codes x steps.
        bias: float32 [outputs], whole multiples of input scale x step, so that a runtime that holds it in int32 loses
            nothing.
    """

    codes: NDArray[np.int8]
    steps: NDArray[np.float64]
    bias: NDArray[np.float32]


def outputs_a_block(layer: Layer) -> int:
    """Return how many outputs of each group are fitted at once: their weights are at most 32 MiB in float64."""
    groups, outputs, columns = layer.rows.shape
    return int(max(1, min(outputs, _BLOCK_WEIGHTS // (groups * columns))))


def integer_layer(
    layer: Layer,
    kernel: tuple[int, ...],
    exact: NDArray[np.float32],
    rounded: NDArray[np.float32],
    input_scale: float,
) -> IntegerLayer:
    """Fit, round and correct one layer.

    Memory: float64 copies of a block of rows, the outputs of its patches, a centred copy of `rounded`, and up to three
    Gram matrices.

    Args:
        layer: in float.
        kernel: its shape.
        exact: [groups, patches, K] of the float network.
        rounded: the same places of the integer network.
        input_scale: of the layer's input.
    """
    inputs = _Inputs.of(exact, rounded, noise=input_scale**2 / 12)
    size = outputs_a_block(layer)
    least_for_bias = np.abs(layer.bias).reshape(layer.rows.shape[:2]) / (input_scale * _LARGEST_BIAS_CODE)
    starts = range(0, layer.rows.shape[1], size)
    blocks = [_block(inputs, layer.rows[:, at : at + size], least_for_bias[:, at : at + size]) for at in starts]
    codes, steps, missing = (np.concatenate(parts, axis=1) for parts in zip(*blocks, strict=True))
    steps = steps.reshape(-1)
    bias = layer.bias + missing.reshape(-1)
    bias_steps = np.float32(input_scale) * steps.astype(np.float32)
    bias_codes = np.rint(bias / bias_steps.astype(np.float64)).astype(np.float32)
    return IntegerLayer(codes=layer.kernel_of(codes, kernel), steps=steps, bias=bias_codes * bias_steps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Inputs:
    """What a layer reads in both networks.

    Args:
        exact: [groups, patches, K] of the float network.
        centred: of the integer network, less its mean: products of a nearly constant input, summed in float32, leave
            nothing of its variance.
        mean: [groups, K] of the integer network.
        noise: variance of the inputs' rounding: so much varies in each, whatever the data show.
        weight: of errors: the inputs' covariance [groups, K, K], or their variances alone [groups, K].
    """

    exact: NDArray[np.float32]
    centred: NDArray[np.float32]
    mean: NDArray[np.float64]
    noise: float
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, exact: NDArray[np.float32], rounded: NDArray[np.float32], *, noise: float) -> "_Inputs":
        mean: NDArray[np.float64] = rounded.mean(axis=1, dtype=np.float64)
        centred = rounded - mean[:, None, :].astype(np.float32)
        columns = rounded.shape[2]
        if columns <= _MOST_FITTED_COLUMNS:
            weight = _products(centred, centred) + noise * np.eye(columns)
        else:
            weight = centred.var(axis=1, dtype=np.float64) + noise
        return cls(exact=exact, centred=centred, mean=mean, noise=noise, weight=weight)


def _block(
    inputs: _Inputs, rows: NDArray[np.float32], least: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Return codes, steps and what the outputs' means then lack, [groups, outputs, K] and twice [groups, outputs].

    Args:
        inputs: of the layer.
        rows: [groups, outputs, K], some outputs of each group.
        least: [groups, outputs], the smallest step that the bias allows.
    """
    aim = inputs.exact @ rows.transpose(0, 2, 1)  # [groups, patches, outputs]
    wanted = aim.mean(axis=1, dtype=np.float64)
    aim -= wanted[:, None, :].astype(np.float32)
    moved = rows.astype(np.float64)
    if inputs.weight.ndim == 3:
        moved = _fitted(moved, inputs, _products(inputs.centred, aim))
    del aim
    least = np.maximum(np.maximum(np.abs(moved).max(axis=2) / LARGEST_CODE, least), _LEAST_STEP)
    codes, steps = _rounded_rows(moved, least, inputs.weight)
    sums = np.matmul(codes * steps[:, :, None], inputs.mean[:, :, None])[:, :, 0]
    return codes.astype(np.int8), steps, wanted - sums


def _products(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean outer products over patches, [groups, columns of one, columns of other]."""
    means: NDArray[np.float64] = np.matmul(one.transpose(0, 2, 1), other).astype(np.float64) / one.shape[1]
    return means


def _fitted(rows: NDArray[np.float64], inputs: _Inputs, towards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows moved by ridge regression to where they give the float outputs from the integer inputs.

    Args:
        rows: [groups, outputs, K].
        inputs: their covariance has the noise on its diagonal: inputs that vary no more than that move nothing.
        towards: of the integer inputs with the float outputs, [groups, K, outputs].
    """
    patches, columns = inputs.centred.shape[1:]
    spread = np.trace(inputs.weight, axis1=1, axis2=2) / columns
    ridge = _RIDGE * max(1.0, _ROWS_A_COLUMN * columns / patches) * spread
    left = inputs.weight + ridge[:, None, None] * np.eye(columns)
    old = rows.transpose(0, 2, 1)
    moved: NDArray[np.float64] = old + np.linalg.solve(left, towards - (inputs.weight @ old - inputs.noise * old))
    return np.ascontiguousarray(moved.transpose(0, 2, 1))


def _rounded_rows(
    rows: NDArray[np.float64], least: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return codes [groups, outputs, K] and steps [groups, outputs]: of the steps tried, that of the least error.

    Args:
        rows: [groups, outputs, K].
        least: [groups, outputs], steps that cut no weight off.
        weight: of errors, see `_Inputs`.
    """
    best = np.full(rows.shape[:2], np.inf)
    codes, steps = np.zeros_like(rows), np.ones(rows.shape[:2])
    for tried in preferred_steps(least.reshape(-1), finer=_FINER, coarser=_COARSER):
        step = tried.reshape(rows.shape[:2])
        found = np.clip(np.rint(rows / step[:, :, None]), -LARGEST_CODE, LARGEST_CODE)
        off = found * step[:, :, None] - rows
        weighed = off @ weight if weight.ndim == 3 else off * weight[:, None, :]
        error = np.einsum("gok,gok->go", weighed, off)
        better = error < best
        best, steps = np.where(better, error, best), np.where(better, step, steps)
        codes[better] = found[better]
    return codes, steps
