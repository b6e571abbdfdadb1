"""The screening path against the exact path: each layer of a finished study at N = 1, 3, 5, 7, 9 decimals.

Run: python benchmarks/screening.py STUDY RUN --data-dir FOLDER
RUN is the folder of a finished study with an experiment of single layers. What each variant really loses on the test
images is in it; screening asks the same of the same images, in several drawn orders. It writes
benchmarks/results/screening.json and .md: image evaluations against the plain loop's (every variant on every image),
and how many answers were wrong, far from the margin and beside it.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from laboratory import HERE, percent, share, table, with_load, write_result

from precbench.accuracy import Answer
from precbench.bench.sessions import open_model
from precbench.files import file_digest
from precbench.grids import DecimalGrid
from precbench.runtime import SessionSettings
from precbench.study.definition import Targets
from precbench.study.evaluation import load_data
from precbench.study.screening import screen_layers
from precbench.study.table import read_results
from precbench.sweep import evaluations


def main() -> None:
    """Screen in each order, compare, and write the result."""
    options = read_options()
    results = read_results(options.run)
    experiment = next(one for one in results["experiments"] if one["targets"] == Targets.EACH_LAYER)
    exact = {row["name"]: row for row in experiment["rows"] if row["flips"] is not None}
    rounds = []
    for seed in range(options.orders):
        rounds.append(with_load(lambda seed=seed: screened(options, results, seed)))
        print(f"order {seed}: {rounds[-1]['evaluations']:,} evaluations in {rounds[-1]['elapsed_s']:.0f} s", flush=True)
    images = results["base"]["accuracy"]["total"]
    value = {
        "study": results["study"]["name"],
        "base_digest": file_digest(options.run / "base.onnx"),
        "images": images,
        "variants": len(exact),
        "margin_points": options.margin,
        "level": options.level,
        "plain_evaluations": images * len(exact),
        "rounds": rounds,
        "answers": compared(exact, rounds, images, options.margin),
    }
    written = {**value, "rounds": [brief(each) for each in rounds]}
    write_result(options.results, "screening", written, text(value))


def read_options() -> Namespace:
    """Read the command line."""
    made = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    made.add_argument("study", help="its file, or its name if it comes with precbench")
    made.add_argument("run", type=Path, help="folder of its finished run")
    made.add_argument("--data-dir", type=Path, help="where the study's images lie, if not in the package")
    made.add_argument("--orders", type=int, default=3, help="of the images, each drawn anew (default: %(default)s)")
    made.add_argument("--margin", type=float, default=0.5, help="percentage points (default: %(default)s)")
    made.add_argument("--level", type=float, default=0.95, help="of each answer (default: %(default)s)")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    return made.parse_args()


def screened(options: Namespace, results: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Screen every layer in one order of the images."""
    began = time.perf_counter()
    session = open_model(options.run / "base.onnx", SessionSettings())
    data = load_data(options.study, session, split="test", directory=options.data_dir)
    if data.labels is None or len(data.labels) != results["base"]["accuracy"]["total"]:
        raise SystemExit("these are not the images that the run was evaluated on")
    experiment = next(one for one in results["study"]["experiment"] if one["targets"] == Targets.EACH_LAYER)
    found = screen_layers(
        session,
        data,
        grids=[DecimalGrid(number) for number in experiment["decimals"]],
        margin_points=options.margin,
        alpha=1 - options.level,
        seed=seed,
    )
    return {
        "seed": seed,
        "elapsed_s": time.perf_counter() - began,
        "evaluations": evaluations([one.found for one in found]),
        "answers": {f"{one.layer}.dp{str(one.grid).removeprefix('decimal:')}": one.to_json() for one in found},
    }


def compared(
    exact: Mapping[str, Mapping[str, Any]], rounds: Sequence[Mapping[str, Any]], images: int, margin: float
) -> list[dict[str, Any]]:
    """Set each variant's answers beside its true loss."""
    allowed = int(margin * images / 100 + 1e-9)
    found = []
    for name, row in exact.items():
        lost = row["flips"]["lost"] - row["flips"]["gained"]
        expected = Answer.HOLDS if lost <= allowed else Answer.DOES_NOT_HOLD
        answers = [each["answers"][name]["answer"] for each in rounds]
        wrong = sum(answer != expected for answer in answers)
        found.append({"variant": name, "lost_more_than_gained": lost, "answer": str(expected), "wrong": wrong})
    return found


def brief(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order's record with the number of images in place of each answer, which `answers` has."""
    kept = {key: each for key, each in order.items() if key != "answers"}
    return {**kept, "evaluated": {name: one["evaluated"] for name, one in order["answers"].items()}}


def text(value: Mapping[str, Any]) -> str:
    """Write the result as Markdown."""
    answers, rounds, plain = value["answers"], value["rounds"], value["plain_evaluations"]
    allowed = value["margin_points"] * value["images"] / 100
    near = [one for one in answers if abs(one["lost_more_than_gained"] - allowed) <= allowed / 2]
    rows = [
        {
            "order": str(each["seed"]),
            "image evaluations": f"{each['evaluations']:,}",
            "times fewer": f"{plain / each['evaluations']:.1f}",
            "answers": f"{len(each['answers'])}",
            "wrong": str(sum(wrong_in(each, one) for one in answers)),
            "seconds": f"{each['elapsed_s']:.0f}",
        }
        for each in rounds
    ]
    shares = [
        {
            "layers at N": name,
            "variants": str(len(some)),
            "that hold": str(sum(one["answer"] == Answer.HOLDS for one in some)),
            "wrong answers": percent(share(sum(one["wrong"] for one in some), len(some) * len(rounds), runs=len(some))),
        }
        for name, some in (("all", answers), ("true loss within half a margin of it", near))
        if some
    ]
    head = (
        f"{value['study']}: {value['variants']} variants, {value['images']:,} images, a margin of "
        f"{value['margin_points']:g} points, each answer at {100 * value['level']:g} %. The plain loop takes {plain:,} "
        f"image evaluations."
    )
    return f"{head}\n\n{table(rows)}\n{table(shares)}"


def wrong_in(order: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    """Whether the answer on a variant in one order is not the exact one."""
    return bool(order["answers"][one["variant"]]["answer"] != one["answer"])


if __name__ == "__main__":
    main()
