"""Time ONNX models against their base; `benchmark` has the entrance. Every measuring process imports this: keep it."""
