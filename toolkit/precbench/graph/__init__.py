"""An ONNX model as weights: load, list, select, round, count, save."""

from precbench.graph.census import Census, CensusRow, count_subnormals, take_census
from precbench.graph.constant_inputs import with_constant_initializers
from precbench.graph.difference import graph_difference
from precbench.graph.initializers import Initializer, Role, list_initializers
from precbench.graph.metadata import InitializerOrigin, ModelMetadata, assign_groups, read_metadata, write_metadata
from precbench.graph.model import OnnxModel, load_model, model_digest, opset_of, save_model
from precbench.graph.rounding import Outcome, Rounded, check_finite, round_model
from precbench.graph.targets import Plan, Selector, parse_selector, select

__all__ = [
    "Census",
    "CensusRow",
    "Initializer",
    "InitializerOrigin",
    "ModelMetadata",
    "OnnxModel",
    "Outcome",
    "Plan",
    "Role",
    "Rounded",
    "Selector",
    "assign_groups",
    "check_finite",
    "count_subnormals",
    "graph_difference",
    "list_initializers",
    "load_model",
    "model_digest",
    "opset_of",
    "parse_selector",
    "read_metadata",
    "round_model",
    "save_model",
    "select",
    "take_census",
    "with_constant_initializers",
    "write_metadata",
]
