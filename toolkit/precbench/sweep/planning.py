"""In which order variants are run: those that change the same tensors together, the shallowest first."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from precbench.errors import UsageError
from precbench.graph import OnnxModel
from precbench.graph.partition import check_replacement, cut_model
from precbench.sweep.variants import Values, Variant, differing, digest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Family:
    """Variants that change the same tensors, none of them to what another has.

    Attributes:
        depth: where in the model the first node lies that they can change, 0 (at its input) to 1.
        share: of the model's nodes, how many they can change on the way to an output, 0..1.
    """

    variants: tuple[Variant, ...]
    depth: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweepPlan:
    """What has to be run.

    Attributes:
        as_base: variants that change nothing, or nothing that reaches an output.
        families: in the order in which they are to be run.
        twins: name of a variant that is run -> the variants that have the very same values.
    """

    as_base: tuple[Variant, ...]
    families: tuple[Family, ...]
    twins: Mapping[str, tuple[Variant, ...]]


def plan_sweep(model: OnnxModel, variants: Sequence[Variant]) -> SweepPlan:
    """Look at each variant's values, one variant's in memory at a time, and plan which are run and when.

    Raises:
        UsageError: two variants have one name.
        TargetError: a variant names a tensor that the model lacks, or has values that the tensor cannot take.
    """
    _check_names(variants)
    as_base: list[Variant] = []
    first: dict[str, Variant] = {}
    twins: dict[str, list[Variant]] = defaultdict(list)
    families: dict[frozenset[int], list[Variant]] = defaultdict(list)
    for variant in variants:
        values = variant.values()
        _check_values(model, variant, values)
        changes = differing(model, values)
        same = first.setdefault(digest(changes), variant)
        if not changes:
            as_base.append(variant)
        elif same is not variant:
            twins[same.name].append(variant)
        else:
            families[frozenset(changes)].append(variant)
    found = [_family(model, *each) for each in families.items()]
    as_base += [variant for family in found if family.share == 0 for variant in family.variants]
    return SweepPlan(
        as_base=tuple(as_base),
        families=tuple(sorted((family for family in found if family.share > 0), key=lambda family: family.depth)),
        twins={name: tuple(found) for name, found in twins.items()},
    )


def _family(model: OnnxModel, changed: frozenset[int], variants: Sequence[Variant]) -> Family:
    behind, nodes = cut_model(model, changed).nodes, max(1, len(model.proto.graph.node))
    return Family(variants=tuple(variants), depth=behind[0] / nodes if behind else 1.0, share=len(behind) / nodes)


def _check_names(variants: Sequence[Variant]) -> None:
    seen: set[str] = set()
    for variant in variants:
        if variant.name in seen:
            raise UsageError(f"two variants have the name {variant.name!r}", "give each a name of its own")
        seen.add(variant.name)


def _check_values(model: OnnxModel, variant: Variant, values: Values) -> None:
    left = set(values)
    for held in model.tensors():
        if held.position in left:
            check_replacement(held, values[held.position])
            left.remove(held.position)
    if left:
        raise UsageError(
            f"the variant {variant.name!r} has values for the tensor {min(left)}, the model has none of that position",
            "make the variant for this model",
        )
