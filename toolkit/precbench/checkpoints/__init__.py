"""The Keras side: architectures, training, loading and rounding checkpoints, export to ONNX.

Import the module you need (`precbench.checkpoints.export`, …). None of them imports TensorFlow before it must.
"""
