"""How the codes of one tensor are stored: in one integer type, or in a narrow one with exceptions apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper

from precbench.grids import codes_outside, count_outside, integer_type_bits

INTEGERS = {4: ir.DataType.INT4, 8: ir.DataType.INT8, 16: ir.DataType.INT16, 32: ir.DataType.INT32}
LABELS = ("codes", "exceptions", "indices", "shape", "float", "exceptions_float", "scattered", "quotient")
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the codes of one tensor are stored: in one type, or in a narrow one with exceptions apart.

    Args:
        shape: of the tensor.
        divisor: codes to be divided by it; a float32. 1: they are the values.
        bits: of a code.
        exceptions: codes that are stored apart.
        exception_bits: of such a code.
    """

    shape: tuple[int, ...]
    divisor: int
    bits: int
    exceptions: int
    exception_bits: int

    @property
    def rank(self) -> int:
        """The number of dimensions of the codes as they are divided, which the divisor shares.

        With a scalar divisor, ONNX Runtime 1.31 divides kernels of 1x1 one element at a time: to make a session of 20
        such kernels of 320x320 took 36 ms, with [1, 1, 1, 1] 8 to 13.
        """
        return 1 if self.exceptions else len(self.shape)

    def parts(self) -> dict[str, tuple[ir.DataType, tuple[int, ...]]]:
        """Return the type and shape of each initializer that the layout needs."""
        if not self.exceptions:
            return {"codes": (INTEGERS[self.bits], self.shape)}
        return {
            "codes": (INTEGERS[self.bits], (prod(self.shape),)),
            "exceptions": (INTEGERS[self.exception_bits], (self.exceptions,)),
            "indices": (ir.DataType.INT32, (self.exceptions,)),
            "shape": (ir.DataType.INT64, (len(self.shape),)),
        }

    def arrays(self, codes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the values of those initializers. The codes are consumed: exceptions become 0 in them."""
        flat, narrow = codes.reshape(-1), INTEGERS[self.bits].numpy()
        if not self.exceptions:
            return {"codes": codes.astype(narrow)}
        indices = codes_outside(codes, self.bits)
        exceptions = flat[indices].astype(INTEGERS[self.exception_bits].numpy())
        flat[indices] = 0
        return {
            "codes": flat.astype(narrow),
            "exceptions": exceptions,
            "indices": indices.astype(np.int32),
            "shape": np.array(self.shape, np.int64),
        }

    def nodes(self, names: Mapping[str, str], divisor: str, value: str) -> list[onnx.NodeProto]:
        """Return the nodes that rebuild `value`; every step but the division is exact, and that is correctly rounded.

        The codes are scattered as floats, so that any two integer types go together; float32 holds them (<= 2^24).
        """
        nodes = [helper.make_node("Cast", [names["codes"]], [names["float"]], to=onnx.TensorProto.FLOAT)]
        if self.exceptions:
            exceptions, scattered = names["exceptions_float"], [names["scattered"]]
            nodes.append(helper.make_node("Cast", [names["exceptions"]], [exceptions], to=onnx.TensorProto.FLOAT))
            inputs = [names["float"], names["indices"], exceptions]
            nodes.append(helper.make_node("ScatterElements", inputs, scattered, axis=0))
        if self.divisor != 1:
            nodes.append(helper.make_node("Div", [nodes[-1].output[0], divisor], [names["quotient"]]))
        if self.exceptions:
            nodes.append(helper.make_node("Reshape", [nodes[-1].output[0], names["shape"]], [value]))
        nodes[-1].output[0] = value
        return nodes

    def file_bytes(self, names: Mapping[str, str], value: str) -> int:
        """Return what the tensor takes in a model file: data, names and nodes, with a divisor of its own."""
        parts = {names[label]: part for label, part in self.parts().items()}
        divisor = divisor_name(self.divisor, self.rank)
        if self.divisor != 1:
            parts[divisor] = (ir.DataType.FLOAT, (1,) * self.rank)
        headers = [
            onnx.TensorProto(name=name, data_type=int(dtype), dims=shape) for name, (dtype, shape) in parts.items()
        ]
        graph = onnx.GraphProto(node=self.nodes(names, divisor, value), initializer=headers)
        return int(graph.ByteSize()) + sum(data_bytes(dtype, shape) for dtype, shape in parts.values())


def candidates(codes: NDArray[np.int64], divisor: int, smallest_bits: int) -> list[Layout]:
    """Return one type for all, and each narrower type with exceptions (at int32 positions) in that one."""
    widest = max(integer_type_bits(codes), smallest_bits)
    narrower = [bits for bits in INTEGERS if smallest_bits <= bits < widest and codes.size <= _MAX_INT32]
    return [
        Layout(shape=codes.shape, divisor=divisor, bits=bits, exceptions=exceptions, exception_bits=widest)
        for bits, exceptions in [(widest, 0), *((bits, count_outside(codes, bits)) for bits in narrower)]
    ]


def divisor_name(divisor: int, rank: int) -> str:
    """Return what the initializer with a divisor is called, which has `rank` dimensions."""
    return f"divisor_{divisor}_{rank}d"


def data_bytes(dtype: ir.DataType, shape: Sequence[int]) -> int:
    """Return the bytes of a tensor's elements; types under 8 bits are packed."""
    return (prod(shape) * dtype.bitwidth + 7) // 8
