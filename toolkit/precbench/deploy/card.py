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
    yield from _about_inputs(manifest)
    yield "\nBefore use on another machine: `precbench verify` on this folder.\n"


def _about_inputs(manifest: Mapping[str, Any]) -> Iterator[str]:
    """How images become inputs; an array of a user's own is fed as it is, and nothing is known of it."""
    found = manifest["preprocessing"]
    if found is None:
        return
    height, width = found["size"]
    channels = ", ".join(f"{s:g} x + {o:g}" for s, o in zip(found["scale"], found["offset"], strict=True))
    order = found["channels"].upper()
    yield (
        f"\nImages: uint8 RGB, the largest centred window of {height} : {width} resized (bilinear) to {height} x "
        f"{width}, channels in the order {_shown(order)}, then per channel {channels}."
    )


def _making(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "## Made\n"
    packages = manifest["environment"]["packages"]
    yield f"- by precbench {manifest['precbench']}, ONNX Runtime {_runtime(packages)}, {manifest['created']}"
    yield f"- from {_shown(manifest['source']['file'])}, {manifest['source']['digest']}"
    if manifest["command"]:
        yield f"- with {_shown(' '.join(manifest['command']))}"
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
    time = "not timed" if not row["time"] else f"time {_ratio(row['time'][0]['ratio'])}"
    return f"{drop}, {time}"


def _runtime(packages: Mapping[str, Any]) -> str:
    return str(packages.get("onnxruntime-gpu") or packages.get("onnxruntime") or "unknown")


def _shown(text: object) -> str:
    """Names come from strangers' files: one line, and nothing that Markdown or HTML would read."""
    plain = printable(str(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", plain)
