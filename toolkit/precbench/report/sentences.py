"""What the single commands say below their tables."""

from collections.abc import Mapping
from typing import Any

from precbench.report.figures import counted, percent
from precbench.study.rounding import is_skipped_target

_MOST_LEFT = 5


def about_the_check(check: Mapping[str, Any]) -> str:
    """Say how an exported model compares with Keras."""
    classes = {True: "the same top-1 classes", False: "other top-1 classes", None: "no classes to compare"}
    return (
        f"Checked against Keras on {check['images']} inputs: largest difference {check['max_error_relative']:.1e} "
        f"of the largest output, {classes[check['top1_same']]}."
    )


def about_accuracy(evaluation: Mapping[str, Any]) -> list[str]:
    """Say how many samples are right, and which flipped against the reference."""
    accuracy, flips = evaluation["accuracy"], evaluation["flips"]
    said = []
    if accuracy is not None:
        said.append(
            f"Accuracy {percent(accuracy['fraction'])} ({accuracy['correct']} of {accuracy['total']}; "
            f"95 % interval {percent(accuracy['low'])} to {percent(accuracy['high'])})."
        )
    if flips is not None:
        reference = percent(evaluation["reference_accuracy"]["fraction"])
        said.append(
            f"Against the reference ({reference}): {flips['gained']} gained, {flips['lost']} lost, "
            f"{flips['changed']} changed class; difference {flips['difference_points']:+.2f} points "
            f"[{flips['low_points']:+.2f}, {flips['high_points']:+.2f}], exact McNemar p = {flips['p_value']:.3g}. "
            f"So many images show a loss to be below {evaluation['smallest_margin_points']:.2g} points at best."
        )
    return said


def about_screening(record: Mapping[str, Any]) -> list[str]:
    """Say what the answers mean, and what they took."""
    layers, images, took = record["layers"], record["images"], record["evaluations"]
    plain = images * len(layers)
    fewer = f" ({plain / took:.1f} times fewer)" if 0 < took < plain else ""
    return [
        f"Holds: rounded alone, the layer loses at most {counted(record['margin_points'], 'point')} on the {images:,} "
        f"images of {record['data']['source']}. Beside it: images that brought the answer. Each is wrong with a chance "
        f"of at most {100 * (1 - record['level']):.3g} %. Layers that hold alone need not hold together: round them "
        f"together and evaluate.",
        f"{took:,} image evaluations in place of {plain:,}{fewer}.",
    ]


def about_fidelity(outputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what the figures of an output cannot say."""
    return [f"{name}: {close['note']}." for name, close in outputs.items() if close["note"]]


def about_what_was_left(record: Mapping[str, Any]) -> list[str]:
    """Say which of the initializers asked for were not rounded, and what was not looked at."""
    left = [o for o in record["outcomes"] if is_skipped_target(o["skipped"])]
    said = [f"Not rounded: {o['initializer']}: {o['skipped']}." for o in left[:_MOST_LEFT]]
    if len(left) > _MOST_LEFT:
        said.append(f"Not rounded: {len(left) - _MOST_LEFT} more; --json lists them.")
    return [*said, *(f"Note: {note}." for note in record["notes"])]
