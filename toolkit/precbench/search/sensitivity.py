"""Layers ranked by what rounding each alone does to the outputs, on no more images than the order takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precbench.accuracy import check_classes, top_classes
from precbench.errors import UsageError
from precbench.graph import OnnxModel, Plan
from precbench.grids import Grid
from precbench.progress import SILENT, Progress
from precbench.runtime import SessionSettings
from precbench.search.damage import LEAST, check_finite, divergences, finite_scores, log_probabilities
from precbench.search.evaluating import Part
from precbench.sweep import Batches, Variant, rounded_variant, sweep

FIRST_IMAGES = 256
TOP = 10
_Z = 2.0
"""Two neighbours in the order are told apart where their difference is so many standard errors from 0."""


_ALL = float(-np.log(LEAST))
"""Nats: all probability on a class that full precision gives none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDamage:
    """What rounding one layer to one grid does.

    Attributes:
        layer: its name.
        grid: what its weights are rounded to.
        images: on so many.
        divergence: mean Kullback-Leibler divergence of the classes from full precision's, in nats.
        divergence_error: its standard error.
        changed: images whose class is another.
        gained: of the labelled, images that only the variant has right; None without labels.
        lost: likewise that only full precision has right.
        sqnr_db: of the logits, over all images and classes; infinite where none changes.
    """

    layer: str
    grid: str
    images: int
    divergence: float
    divergence_error: float
    changed: int
    gained: int | None
    lost: int | None
    sqnr_db: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values; an infinite SQNR is None."""
        return {**asdict(self), "sqnr_db": None if np.isinf(self.sqnr_db) else self.sqnr_db}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Layers by damage at the first grid, the most fragile first.

    Attributes:
        damages: layer to one per grid, in the grids' order.
        settled: how many of the first layers are in an order that the images tell.
        evaluations: images that models were run on, full precision among them.
    """

    damages: Mapping[str, tuple[LayerDamage, ...]]
    settled: int
    evaluations: int


def rank_layers(
    model: OnnxModel,
    layers: Mapping[str, Sequence[str]],
    grids: Sequence[Grid],
    part: Part,
    *,
    settings: SessionSettings,
    batch: int,
    top: int = TOP,
    first: int = FIRST_IMAGES,
    most: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Ranking:
    """Rank layers by the mean divergence that rounding each alone to the first grid causes.

    All layers run at all grids on the first images of one drawn order. Then only those layers go on, at the first grid,
    whose places among the first `top` the images do not tell yet, on as many again, until they do or the images end.

    Args:
        model: full precision, a classifier.
        layers: layer to its initializers.
        grids: at least one; the first orders.
        part: the images; their labels may be missing.
        settings: of the sessions.
        batch: samples per call.
        top: so many places are to be told.
        first: images of the first block.
        most: images at most; None: all.
        seed: of the order.
        progress: told of each block.

    Raises:
        UsageError: there are no images or grids.
        ModelError: the model's scores are no numbers.
        PrecbenchError: a variant cannot be run.
    """
    if not grids or first < 1 or top < 1:
        raise UsageError("there is no grid, no image or no place to rank by", "give at least one of each")
    limit = min(part.rows, most or part.rows)
    race = _Race(model, layers, grids, part, settings=settings, batch=batch, progress=progress)
    order = np.random.default_rng(seed).permutation(part.rows)[:limit]
    race.run(order[:first], [(layer, place) for layer in layers for place in range(len(grids))])
    while race.longest() < limit and (open_ := race.open(top)):
        end = min(2 * race.longest(), limit)
        for start in sorted({race.length(layer) for layer in open_}):  # who was left behind catches up
            race.run(order[start:end], [(layer, 0) for layer in open_ if race.length(layer) == start])
    ranked = race.ranked()
    return Ranking(
        damages={layer: tuple(race.damage(layer, place) for place in range(len(grids))) for layer in ranked},
        settled=race.settled(),
        evaluations=race.evaluations,
    )


class _Race:
    """What is known of each layer at each grid, image by image."""

    def __init__(
        self,
        model: OnnxModel,
        layers: Mapping[str, Sequence[str]],
        grids: Sequence[Grid],
        part: Part,
        *,
        settings: SessionSettings,
        batch: int,
        progress: Progress,
    ) -> None:
        self._model, self._layers, self._grids, self._part = model, layers, grids, part
        self._settings, self._batch, self._progress = settings, batch, progress
        self._found: dict[tuple[str, int], list[_Block]] = {}
        self.evaluations = 0

    def run(self, rows: NDArray[np.intp], asked: Sequence[tuple[str, int]]) -> None:
        """Run full precision and the variants asked for on some images."""
        variants = [Variant(name="base", values=dict), *map(self._variant, asked)]
        scores = dict(self._scores(rows, variants))
        base = check_finite(scores.pop("base"))
        truth = None if self._part.labels is None else check_classes(self._part.labels)[rows]
        for (layer, place), found in ((pair, scores[_name(*pair)]) for pair in asked):
            self._found.setdefault((layer, place), []).append(_Block.of(base, found, truth))
        self.evaluations += len(rows) * len(variants)

    def _variant(self, pair: tuple[str, int]) -> Variant:
        layer, place = pair
        plan = Plan(grids=dict.fromkeys(self._layers[layer], self._grids[place]))
        return rounded_variant(_name(layer, place), self._model, plan)

    def _scores(self, rows: NDArray[np.intp], variants: Sequence[Variant]) -> Iterator[tuple[str, NDArray[Any]]]:
        batches = Batches(rows=len(rows), size=self._batch, make=lambda a, b: self._part.make(rows[a:b]))
        for one in sweep(self._model, variants, batches, self._settings, progress=self._progress):
            yield one.variant, next(iter(one.outputs.values()))

    def divergences(self, layer: str) -> NDArray[np.float64]:
        return np.concatenate([block.divergences for block in self._found[layer, 0]])

    def length(self, layer: str) -> int:
        """So many images of the order, from its beginning, the layer was run on at the first grid."""
        return len(self.divergences(layer))

    def longest(self) -> int:
        return max(map(self.length, self._layers))

    def ranked(self) -> list[str]:
        return sorted(self._layers, key=lambda layer: -float(self.divergences(layer).mean()))

    def open(self, top: int) -> list[str]:
        """The layers whose places among the first are not told: neighbours that overlap, and all that reach in."""
        ranked = self.ranked()
        doubtful = set[str]()
        for place in range(min(top, len(ranked) - 1)):
            for other in ranked[place + 1 :]:
                if self._are_told(ranked[place], other):
                    continue
                doubtful |= {ranked[place], other}
        return [layer for layer in ranked if layer in doubtful]

    def settled(self) -> int:
        """How many of the first layers are told from the next, and so on from the front."""
        ranked = self.ranked()
        for place in range(len(ranked) - 1):
            if not all(self._are_told(ranked[place], other) for other in ranked[place + 1 :]):
                return place
        return len(ranked)

    def _are_told(self, one: str, other: str) -> bool:
        """Whether the first is the worse of two, by the images that both were run on, paired.

        Where these say the contrary, the longer of the two was ranked by images that the other has not seen: not told.
        """
        pair = self.divergences(one), self.divergences(other)
        common = min(map(len, pair))
        difference = pair[0][:common] - pair[1][:common]
        error = float(difference.std(ddof=1)) / np.sqrt(common) if common > 1 else np.inf
        return bool(difference.mean() > _Z * error)

    def damage(self, layer: str, place: int) -> LayerDamage:
        blocks = self._found[layer, place]
        every = np.concatenate([block.divergences for block in blocks])
        noise = sum(block.noise for block in blocks)
        labelled = blocks[0].gained is not None
        return LayerDamage(
            layer=layer,
            grid=str(self._grids[place]),
            images=len(every),
            divergence=float(every.mean()),
            divergence_error=float(every.std(ddof=1) / np.sqrt(len(every))) if len(every) > 1 else 0.0,
            changed=sum(block.changed for block in blocks),
            gained=sum(block.gained or 0 for block in blocks) if labelled else None,
            lost=sum(block.lost or 0 for block in blocks) if labelled else None,
            sqnr_db=10 * float(np.log10(sum(block.signal for block in blocks) / noise)) if noise else float("inf"),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """A variant beside full precision on some images."""

    images: int
    divergences: NDArray[np.float64]
    changed: int
    gained: int | None
    lost: int | None
    signal: float
    noise: float

    @classmethod
    def of(cls, base: NDArray[Any], found: NDArray[Any], truth: NDArray[np.int64] | None) -> "_Block":
        """Of scores; where a variant's are no numbers the image is lost, and its divergence the largest there is."""
        usable = finite_scores(found)
        one, other = log_probabilities(base), log_probabilities(usable)
        centred = one - one.mean(axis=1, keepdims=True)
        noise = centred - (other - other.mean(axis=1, keepdims=True))
        numbers = np.isfinite(found).all(axis=1)
        before, after = top_classes(base), np.where(numbers, top_classes(usable), found.shape[1])
        return cls(
            images=len(base),
            divergences=np.where(numbers, divergences(one, other), _ALL),
            changed=int((before != after).sum()),
            gained=None if truth is None else int(((before != truth) & (after == truth)).sum()),
            lost=None if truth is None else int(((before == truth) & (after != truth)).sum()),
            signal=float(np.square(centred).sum()),
            noise=float(np.square(noise).sum()),
        )


def _name(layer: str, place: int) -> str:
    return f"{layer} {place}"
