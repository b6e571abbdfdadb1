"""The packed form: weights on a decimal grid stored as small integers, and rebuilt bit for bit by plain ONNX nodes.

A tensor rounded to N decimals becomes its integer codes, and `Cast` and `Div` by 10^N in front of the graph, which ONNX
Runtime folds away when a session is made. A few large values do not make a whole tensor wide: they are stored apart,
and `ScatterElements` puts them in. A type per output channel (`Concat`, `Gather`) would save next to nothing more.
"""
