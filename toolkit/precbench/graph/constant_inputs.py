"""Initializers of old models, which are listed as inputs as well."""

import onnx

from precbench.graph.model import OnnxModel

_FREE_IR_VERSION = 4


def with_constant_initializers(model: OnnxModel) -> OnnxModel:
    """Return the model with its initializers constant, also where its IR version is older than 4.

    Before that version each initializer had to be listed as an input, and could not be fed: new ones would have to be
    listed too. The copy has version 4, and the inputs that are fed. Of a newer model a listed initializer is a default
    that a caller may override; that one is returned as it is.

    Source: ONNX's IR specification, "Initializers".
    """
    if model.proto.ir_version >= _FREE_IR_VERSION:
        return model
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    names = {tensor.name for tensor in proto.graph.initializer}
    fed = [value for value in proto.graph.input if value.name not in names]
    del proto.graph.input[:]
    proto.graph.input.extend(fed)
    proto.ir_version = _FREE_IR_VERSION
    return OnnxModel(proto=proto, folder=model.folder, replaced=model.replaced)
