"""How long callables take, compared in pairs: drawn orders, raw nanoseconds, ratios, verdicts. No ONNX here."""
