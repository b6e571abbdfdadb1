"""Ranking layers by screening against ranking them by the full table: every layer at every N on every image.

Run: python benchmarks/sensitivity.py BASE.onnx STUDY --data-dir FOLDER
On the study's validation images, at 1 to 4 decimals. It writes benchmarks/results/sensitivity.json and .md: image
evaluations of both, in several drawn orders, and whether the ten most fragile layers come in the same order, by the
divergence that the ranking goes by and by the images that are lost.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from laboratory import HERE, table_of, write_result

from precbench.bench.sessions import open_model
from precbench.files import file_digest
from precbench.graph import list_initializers, load_model
from precbench.grids import DecimalGrid
from precbench.runtime import SessionSettings
from precbench.search.evaluating import part_of
from precbench.search.sensitivity import TOP, Ranking, rank_layers
from precbench.study.evaluation import load_data
from precbench.study.experiments import target_layers

DECIMALS = (1, 2, 3, 4)


def main() -> None:
    """Rank both ways, compare, and write the result."""
    options = read_options()
    session = open_model(options.base, SessionSettings())
    part = part_of(session, load_data(options.study, session, split="validation", directory=options.data_dir))
    model = load_model(options.base)
    layers, grids = target_layers(list_initializers(model)), [DecimalGrid(number) for number in DECIMALS]

    def ranked(seed: int, **more: Any) -> tuple[Ranking, float]:
        began = time.perf_counter()
        found = rank_layers(model, layers, grids, part, settings=session.settings, batch=32, seed=seed, **more)
        return found, time.perf_counter() - began

    rounds = []
    for seed in range(options.orders):
        found, elapsed_s = ranked(seed)
        rounds.append({"seed": seed, "elapsed_s": elapsed_s, **summary(found)})
        print(f"order {seed}: {found.evaluations:,} evaluations in {elapsed_s:.0f} s", flush=True)
    whole, elapsed_s = ranked(0, first=part.rows)
    value = {
        "base_digest": file_digest(options.base),
        "study": options.study,
        "images": part.rows,
        "layers": len(layers),
        "decimals": DECIMALS,
        "whole": {"elapsed_s": elapsed_s, **summary(whole)},
        "rounds": rounds,
    }
    write_result(options.results, "sensitivity", value, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("base", type=Path, help="the full-precision model")
    made.add_argument("study", help="whose validation images are meant")
    made.add_argument("--data-dir", type=Path, help="where they lie")
    made.add_argument("--orders", type=int, default=3, help="drawn orders of the images")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def summary(found: Ranking) -> dict[str, Any]:
    """Return a ranking's order, with the images that each layer loses at the first N."""
    first = {layer: damages[0] for layer, damages in found.damages.items()}
    return {
        "evaluations": found.evaluations,
        "settled": found.settled,
        "order": list(first),
        "lost": {layer: (one.lost or 0) - (one.gained or 0) for layer, one in first.items()},
    }


def text(value: Mapping[str, Any]) -> str:
    """Return the result as Markdown."""
    whole = value["whole"]
    best = whole["order"][:TOP]
    by_loss = sorted(whole["lost"], key=lambda layer: -whole["lost"][layer])[:TOP]
    rows = [
        [
            str(one["seed"]),
            f"{one['evaluations']:,}",
            f"{whole['evaluations'] / one['evaluations']:.1f}",
            f"{one['elapsed_s']:.0f}",
            "the same" if one["order"][:TOP] == best else f"{agreeing(one['order'], best)} places the same",
            f"{len(set(one['order'][:TOP]) & set(best))} of {TOP}",
            f"{len(set(one['order'][:TOP]) & set(by_loss))} of {TOP}",
        ]
        for one in value["rounds"]
    ]
    head = ["order", "image evaluations", "times fewer", "seconds", "first ten, in order", "among them", "of most lost"]
    layers = [[layer, f"{whole['lost'][layer]:,}"] for layer in best]
    return (
        f"{value['study']}: {value['layers']} layers at {', '.join(map(str, value['decimals']))} decimals, "
        f"{value['images']:,} validation images; the full table took {whole['evaluations']:,} image evaluations in "
        f"{whole['elapsed_s']:.0f} s.\n\n{table_of(head, rows)}\n\nThe ten most fragile by the full table's divergence "
        f"at 1 decimal, and how many images each loses (net):\n\n{table_of(['layer', 'lost'], layers)}\n"
    )


def agreeing(order: list[str], best: list[str]) -> int:
    """Return how many of the first places are held by the same layer."""
    return sum(one == other for one, other in zip(order, best, strict=False))


if __name__ == "__main__":
    main()
