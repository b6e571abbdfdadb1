"""The model card of a deployed folder, in Markdown, from its manifest alone."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from precbench.errors import printable

_FORMS = {
    "packed": "Weights are stored as integer codes and rebuilt exactly when a session is made; it executes in float32.",
    "int8": "Weights and activations are eight-bit integers in QDQ form; runtimes execute it in integer kernels.",
    "fp16": "Weights and arithmetic are float16, but for the nodes named below; for GPU providers.",
}


def model_card(manifest: Mapping[str, Any]) -> str:
    """Return the card; what was not measured says so."""
    return "\n".join([*_head(manifest), *_figures(manifest), *_use(manifest), *_making(manifest)]) + "\n"


def _head(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {_shown(manifest['source']['file'])}, {manifest['form']}\n"
    yield _FORMS[manifest["form"]] + "\n"


def _figures(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield f"Beside {_shown(manifest['reference']['file'])}:\n"
    yield "| | this model | the reference |"
    yield "|---|---|---|"
    yield _accuracy_row(manifest["accuracy"])
    yield from _time_rows(manifest["time"])
    size = manifest["bytes"]
    share = size["model"] / size["reference"]
    yield f"| bytes | {size['model']:,} ({share:.3f}) | {size['reference']:,} |"
    yield f"| bytes after zstd | {size['zstd_model']:,} | {size['zstd_reference']:,} |\n"
    yield from _accuracy_notes(manifest["accuracy"], manifest["accuracy_not_measured"])
    yield from _time_notes(manifest["time"])


def _accuracy_row(accuracy: Mapping[str, Any] | None) -> str:
    if accuracy is None or accuracy["accuracy"] is None:
        return "| accuracy | not measured | not measured |"
    own, reference = accuracy["accuracy"], accuracy["reference_accuracy"]
    return f"| accuracy | {100 * own['fraction']:.2f} % | {100 * reference['fraction']:.2f} % |"


def _time_rows(time: Mapping[str, Any] | None) -> Iterator[str]:
    if time is None:
        yield "| time | not measured | |"
        return
    for one in time["ratios"]:
        ratio = one["ratio"]
        yield f"| time at batch {one['batch']} | {_ratio(ratio)}, {one['verdict']} | 1 |"


def _ratio(ratio: Mapping[str, Any]) -> str:
    if ratio["point"] is None:
        return "not measured"
    if ratio["low"] is None:
        return f"{ratio['point']:.3f} [no interval]"
    return f"{ratio['point']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def _accuracy_notes(accuracy: Mapping[str, Any] | None, why_not: str | None) -> Iterator[str]:
    if accuracy is None or accuracy["flips"] is None:
        yield f"Nothing is claimed about accuracy: it was not measured{f' ({_shown(why_not)})' if why_not else ''}.\n"
        return
    flips = accuracy["flips"]
    yield (
        f"Accuracy on {accuracy['samples']:,} test samples, the same for both: {flips['gained']} gained, "
        f"{flips['lost']} lost; {flips['difference_points']:+.2f} points [{flips['low_points']:+.2f}, "
        f"{flips['high_points']:+.2f}] (95 %, paired).\n"
    )


def _time_notes(time: Mapping[str, Any] | None) -> Iterator[str]:
    if time is None:
        return
    machine = time["environment"].get("cpu_model") or "an unnamed processor"
    threads = time["intra_op_threads"]
    yield (
        f"Time: the ratio of this model's to the reference's, interleaved in fresh processes, on {time['provider']} "
        f"({_shown(machine)}), {threads} thread{'s' if threads > 1 else ''}. Another machine gives another ratio.\n"
    )


def _use(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "## Use\n"
    yield "`model.onnx` is plain ONNX, opset " + f"{manifest['opset']}:\n"
    yield "| | name | type | shape |"
    yield "|---|---|---|---|"
    for what in ("inputs", "outputs"):
        for one in manifest[what]:
            shape = " x ".join(str(size) if size is not None else "?" for size in one["shape"])
            yield f"| {what.removesuffix('s')} | {_shown(one['name'])} | {_shown(one['dtype'])} | {_shown(shape)} |"
    yield from _feeding(manifest["preprocessing"])
    yield "\nBefore use on another machine: `precbench verify` on this folder.\n"


def _feeding(preprocessing: Mapping[str, Any] | None) -> Iterator[str]:
    if preprocessing is None:
        yield "\nNo preprocessing is recorded: the inputs have to be such as the model was trained on."
        return
    height, width = preprocessing["size"]
    scale, offset = (", ".join(f"{value:.9g}" for value in preprocessing[key]) for key in ("scale", "offset"))
    yield (
        f"\nImages are cut to the largest centred window of the shape {height} x {width} (height x width), resized to "
        f"that size ({_shown(preprocessing['resize'])}), and their channels, 0 to 255, put in the order "
        f"{_shown(preprocessing['channels'].upper())}. Then each channel is multiplied and added to in float32:\n"
    )
    yield f"- scale {scale}"
    yield f"- offset {offset}"


def _making(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "## Made\n"
    packages = manifest["environment"]["packages"]
    yield f"- by precbench {manifest['precbench']}, ONNX Runtime {_runtime(packages)}, {manifest['created']}"
    yield f"- from {_shown(manifest['source']['file'])}, {manifest['source']['digest']}"
    if manifest["command"]:
        yield f"- with {_code(' '.join(manifest['command']))}"
    calibration = manifest["about"].get("calibration")
    if calibration is not None:
        fitted = manifest["about"]["fitted_on_samples"]
        yield f"- calibrated on {calibration['samples']} samples, {calibration['method']}; fitted on {fitted} of them"
    fixed = manifest["about"].get("fixed_inputs")
    if fixed:
        yield f"- inputs that had defaults and are constants now: {', '.join(_shown(name) for name in fixed)}"
    kept = manifest["about"].get("kept_in_float32")
    if kept:
        yield f"- in float32: {', '.join(_shown(name) for name in kept)}"
    tried = [row for row in manifest["tried"] if row["form"] != manifest["form"]]
    for row in tried:
        yield f"- also tried: {row['form']}, {_tried(row)}"


def _tried(row: Mapping[str, Any]) -> str:
    if not row["made"]:
        return _shown(row["reason"])
    drop = "accuracy not measured" if row["drop_points"] is None else f"may lose {row['drop_points']:.2f} points"
    times = [f"time at batch {one['batch']} {_ratio(one['ratio'])}" for one in row["time"] or ()]
    return ", ".join([drop, *(times or ["not timed"])])


def _runtime(packages: Mapping[str, Any]) -> str:
    return str(packages.get("onnxruntime-gpu") or packages.get("onnxruntime") or "unknown")


_READ_BY_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>()#!|~&:@$]|(?<=www)\.", re.IGNORECASE)
"""CommonMark and HTML inside a line, and what GitHub adds: tables, formulas, links without brackets."""


def _shown(text: object) -> str:
    """Names come from strangers' files: one line, and nothing that Markdown would read."""
    return _READ_BY_MARKDOWN.sub(r"\\\g<0>", printable(str(text)))


def _code(text: str) -> str:
    """Return text as it is, between more backticks than there are in it."""
    line = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"
