"""All combinations in one small result: gpu.json, and gpu.md for people."""

import datetime
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from combinations import TF32_WORDS
from store import MEASURED, Stored, digests_of

from precbench.errors import DataError
from precbench.files import value_digest, write_json, write_text
from precbench.report.bench_report import ratio_text

_ENVIRONMENT = (
    "cpu_model", "cpu_count", "affinity", "cpu_limit", "governor", "memory_bytes", "gpus", "os", "os_release",
    "machine", "python", "packages",
)  # fmt: skip
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\"]+/)+")


def summarize(
    stored: Sequence[Stored], *, command: str, tests: Mapping[str, Any] | None, fp16: Mapping[str, Any]
) -> Any:
    """Return the result: small, without samples, plans and paths. Strict JSON.

    Raises:
        DataError: the records are not of the same models.
    """
    records = [one.record for one in stored if one.record is not None]
    machines = _machines(records)
    return {
        "schema_version": 1,
        "command": command,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "complete": all(one.state == MEASURED or one.combination.provider == "tensorrt" for one in stored),
        "tests": tests,
        "models": _models(records),
        "fp16": dict(fp16),
        "combinations": [_combination(one, machines) for one in stored],
        "machines": list(machines.values()),
    }


def write_summary(value: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write NAME.json and NAME.md."""
    write_json(folder / f"{name}.json", value)
    write_text(folder / f"{name}.md", "\n".join(_lines(value)) + "\n")


def without_folders(text: str) -> str:
    """Return a text whose absolute paths are file names only: a result is published, the folders of a machine not."""
    return _FOLDERS.sub("", text)


def _models(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for record in records:
        for name, digest in digests_of(record).items():
            told = record["models"][name]
            about = {"digest": digest, **{key: told[key] for key in ("file_bytes", "subnormals", "graph_difference")}}
            if models.setdefault(name, about)["digest"] != digest:
                raise DataError(
                    f"the folder holds measurements of two different models under the name {name!r}",
                    "measure each base in a folder of its own (-o)",
                )
    return models


def _machines(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The machines that the records were made on, by a digest of what they are: one, unless parts were put together."""
    found = [_machine(record) for record in records]
    return {value_digest(machine): machine for machine in found}


def _machine(record: Mapping[str, Any]) -> dict[str, Any]:
    environment = {key: record["environment"].get(key) for key in _ENVIRONMENT}
    return {"environment": environment, "gpu": record["gpu"], "libraries": record["libraries"]}


def _combination(one: Stored, machines: Mapping[str, Any]) -> dict[str, Any]:
    told = {"name": one.combination.name, **one.combination.to_json(), "state": one.state}
    told["reason"] = None if one.reason is None else without_folders(one.reason)
    record = one.record
    if record is None or not record["measurements"]:
        return told
    measurement, session = record["measurements"][0], record["session"]
    return {
        **told,
        "measured_by": record["measured_by"],
        "machine": list(machines).index(value_digest(_machine(record))),
        "created": record["created"],
        "budget_s": record["settings"]["budget_s"],
        "elapsed_s": measurement["elapsed_s"],
        "ended": measurement["ended"],
        "processes": sum(bool(process["blocks"]) for process in measurement["processes"]),
        "blocks": sum(process["blocks"] for process in measurement["processes"]),
        "base_median_ns": measurement["arms"]["base"]["median_ns"],
        "control_ratio": measurement["comparisons"][0]["control_ratio"],
        "rows": [_row(comparison, measurement) for comparison in measurement["comparisons"]],
        "tf32_as_recorded": session["tf32"],
        "cudnn_conv_algo_search": session["effective_provider_options"].get("cudnn_conv_algo_search"),
        "placement": session["placement"],
        "memcpy_nodes": session["memcpy_nodes"],
        "telemetry": record["telemetry"],
        "load": {key: record["environment"].get(key) for key in ("load_before", "load_after", "other_cores")},
        "warnings": [
            without_folders(warning["problem"]) for held in (record, measurement) for warning in held["warnings"]
        ],
    }


def _row(comparison: Mapping[str, Any], measurement: Mapping[str, Any]) -> dict[str, Any]:
    arm = comparison["arm"]
    keys = ("ratio", "verdict", "reason", "smallest_effect", "p_difference", "p_equivalence")
    return {
        "variant": arm,
        **{key: comparison[key] for key in keys},
        "median_ns": measurement["arms"][arm]["median_ns"],
    }


# --- for people ---


def _lines(value: Mapping[str, Any]) -> Iterator[str]:
    yield f"`{value['command']}`\n"
    yield from _conditions(value)
    measured = [one for one in value["combinations"] if "rows" in one]
    yield "\n## In short\n"
    for one in measured:
        yield f"- {_in_short(one)}"
    for one in value["combinations"]:
        if "rows" not in one:
            yield f"- {_named(one)}: {one['state']}{': ' + one['reason'] if one['reason'] else ''}"
    yield "\n## All ratios\n"
    yield "Time of the variant over time of the base, with its 95 % interval; below 1 is faster. A/A is the base, in a"
    yield "second session, over itself.\n"
    yield "| provider | TF32 | clock | batch | variant | median, ms | ratio | verdict |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in measured:
        yield from _rows(one)
    yield from _meanwhile(measured, len(value["machines"]))


def _conditions(value: Mapping[str, Any]) -> Iterator[str]:
    for number, machine in enumerate(value["machines"]):
        gpu, environment, libraries = (machine[key] or {} for key in ("gpu", "environment", "libraries"))
        yield f"- machine {number}: {gpu.get('name') or 'no NVIDIA GPU'}, {environment['cpu_model']}"
        if gpu:
            yield (
                f"  - driver {gpu['driver']}, compute capability {gpu['compute_capability']}, SM clock at most "
                f"{gpu['most_sm_clock_mhz']} MHz, power limit {gpu['power_limit_w']} W"
                f"{', MIG on' if gpu['mig'] else ''}"
            )
        yield (
            f"  - ONNX Runtime {libraries['onnxruntime']} (built for CUDA {libraries['onnxruntime_built_for_cuda']}), "
            f"CUDA {libraries['cuda_runtime']}, cuDNN {libraries['cudnn']}, TensorRT {libraries['tensorrt']}; "
            f"Python {environment['python']}, precbench {environment['packages']['precbench']}"
        )
    tests = value["tests"]
    yield f"- `{tests['command']}`: {tests['summary']}" if tests else "- the tests in tests/gpu were not run"
    yield f"- {_about_fp16(value['fp16'])}"


def _about_fp16(fp16: Mapping[str, Any]) -> str:
    if not fp16.get("made"):
        return f"no fp16: {fp16.get('reason', 'not made')}"
    told = "; ".join(_agreement(compared) for compared in fp16["against_float32_on_the_cpu"])
    converted = fp16["converted"]
    return (
        f"fp16: {converted['elements']:,} constants converted, {converted['flushed']:,} became zero; against float32 "
        f"on the CPU, seeded inputs: {told}"
    )


def _agreement(compared: Mapping[str, Any]) -> str:
    words = f"on {compared['provider']} differs by at most {compared['largest_difference']:.2g}"
    if "top1_agreement" in compared:
        words += f", same top-1 on {100 * compared['top1_agreement']:.1f} % of {compared['samples']}"
        words += f" ({compared['classes']} classes came up)"
    return words


def _in_short(one: Mapping[str, Any]) -> str:
    rounded = [row for row in one["rows"] if row["variant"].startswith("dp")]
    forms = [row for row in one["rows"] if not row["variant"].startswith("dp")]
    counts = Counter(row["verdict"] for row in rounded)
    words = [f"rounded: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}"] if rounded else []
    words += [f"{row['variant']}: {row['verdict']}, {ratio_text(row['ratio'])}" for row in forms]
    words += [f"A/A {ratio_text(one['control_ratio'])}"]
    state = "" if one["state"] == MEASURED else f" ({one['state']}: {one['reason']})"
    return f"{_named(one)}{state}: {'; '.join(words)}"


def _named(one: Mapping[str, Any]) -> str:
    tf32 = "" if one["tf32"] is None else f", TF32 {_tf32(one)}"
    return f"{one['provider']}{tf32}, {one['clock']}, batch {one['batch']}"


def _tf32(one: Mapping[str, Any]) -> str:
    return TF32_WORDS[one["tf32"]]


def _rows(one: Mapping[str, Any]) -> Iterator[str]:
    place = f"| {one['provider']} | {_tf32(one)} | {one['clock']} | {one['batch']} |"
    base_ms = _ms(one["base_median_ns"])
    yield f"{place} A/A | {base_ms} | {ratio_text(one['control_ratio'])} | |"
    for row in one["rows"]:
        yield f"{place} {row['variant']} | {_ms(row['median_ns'])} | {ratio_text(row['ratio'])} | {row['verdict']} |"


def _ms(elapsed_ns: float | None) -> str:
    return "-" if elapsed_ns is None else f"{elapsed_ns / 1e6:.3f}"


def _meanwhile(measured: Sequence[Mapping[str, Any]], machines: int) -> Iterator[str]:
    yield "\n## Meanwhile\n"
    yield "| combination | processes | blocks | s | cuDNN search | SM clock, MHz | °C | W | held back by |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in measured:
        read = one["telemetry"] or {}
        where = f" (machine {one['machine']})" if machines > 1 else ""
        figures = " | ".join(_span(read.get(name)) for name in ("sm_clock_mhz", "temperature_c", "power_w"))
        reasons = ", ".join(
            f"{name} {count}x" for name, count in (read.get("throttle_reasons") or {}).items() if name != "gpu_idle"
        )
        yield (
            f"| {_named(one)}{where} | {one['processes']} | {one['blocks']} | {one['elapsed_s']:.0f} "
            f"| {one['cudnn_conv_algo_search'] or '-'} | {figures} | {reasons or '-'} |"
        )
    problems = dict.fromkeys(problem for one in measured for problem in one["warnings"])
    if problems:
        yield "\n## Warnings\n"
    for problem in problems:
        yield f"- {problem}"


def _span(span: Mapping[str, float] | None) -> str:
    return "-" if span is None else f"{span['least']:.0f} / {span['median']:.0f} / {span['most']:.0f}"
