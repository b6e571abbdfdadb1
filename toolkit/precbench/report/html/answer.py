"""The answer, in two or three sentences with their intervals, made from the records alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from precbench.report.figures import interval, megabytes, points
from precbench.report.html.material import Experiment, RunMaterial
from precbench.report.study_report import about_guessing, fewest_from_which_on

Row = Mapping[str, Any]


def answer(run: RunMaterial, deployed: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Return how few decimals lose nothing, what rounding did to time, and what the deployed form gives.

    Args:
        run: what was found.
        deployed: manifests of deployed folders.
    """
    said = [] if run.is_finished else ["This run is not finished: what follows is of what is there so far."]
    said.append(about_guessing(run.results))
    together = run.experiments("all")
    for one in together:
        which = f"{one.name}: " if len(together) > 1 else ""
        said += [which + _about_decimals(run, one), which + _about_time(run, one)]
    if not together:
        said += ["No variant with all groups rounded together is evaluated.", _not_timed(run)]
    said += [_about_deployed(manifest) for manifest in deployed]
    return [text for text in said if text]


def _about_decimals(run: RunMaterial, one: Experiment) -> str:
    planned, margin = one.planned, run.results["margin_points"]
    rows, total = one.rows, run.results["base"]["accuracy"]["total"]
    if not rows:
        return "No variant with all groups rounded together is evaluated."
    missing = len(planned) - len(rows)
    left = f" {missing} of {len(planned)} numbers of decimals are not evaluated." if missing else ""
    keeping = fewest_from_which_on(planned, lambda row: row["decision"]["within_margin"])
    if keeping is not None:
        flips = keeping["flips"]
        return (
            f"From {_listed([keeping])} on a loss of {margin:g} points is excluded. There "
            f"{_percent(flips['variant_correct'], total)} of {total:,} test images are right, "
            f"{_percent(flips['reference_correct'], total)} at full precision: {points(flips)}.{left}"
        )
    losing = [row for row in rows if row["decision"]["change"].startswith("loss")]
    if len(losing) == len(rows):
        return f"A loss is shown at every number of decimals that is evaluated: {_listed(losing)}.{left}"
    steady = fewest_from_which_on(planned, lambda row: not row["flips"]["changed"])
    unchanged = "" if steady is None else f" From {_listed([steady])} on no image changes its class."
    smallest = one.smallest_margin_points
    why = f", since {total:,} images show {smallest:.2g} points at best" if smallest > margin else ""
    lost = f" A loss is shown at {_listed(losing)}." if losing else ""
    return (
        f"Inconclusive: at no number of decimals is a loss of {margin:g} points excluded{why}.{unchanged}{lost}{left}"
    )


def _not_timed(run: RunMaterial) -> str:
    if run.results["timing"] is not None:
        return "Of variants with all groups rounded together none was timed."
    return f"What rounding does to time is not measured{'' if run.is_finished else ' yet'}."


def _about_time(run: RunMaterial, one: Experiment) -> str:
    timed = [row for row in one.rows if row["timing"] is not None]
    if not timed:
        return _not_timed(run)
    margin = 100 * run.results["timing"]["settings"]["margin"]
    by_word: dict[str, list[Row]] = {}
    for row in timed:
        by_word.setdefault(row["timing"]["verdict"], []).append(row)
    with_interval = [row["timing"]["ratio"] for row in timed if row["timing"]["ratio"]["low"] is not None]
    ends = sorted(with_interval, key=lambda ratio: ratio["point"])
    facts = f"; ratios go from {interval(ends[0])} to {interval(ends[-1])}" if ends else ""
    if list(by_word) == ["equivalent"]:
        return (
            f"Rounding alone changes no time by {margin:g} % or more: all {len(timed)} variants are equivalent to full "
            f"precision{facts}."
        )
    words = "; ".join(f"{word}: {_listed(rows)}" for word, rows in by_word.items())
    return f"Rounding alone, time over full precision's: {words} (margin {margin:g} %){facts}."


def _about_deployed(manifest: Mapping[str, Any]) -> str:
    size, time, accuracy = manifest["bytes"], manifest["time"], manifest["accuracy"]
    told = [f"{size['model'] / size['reference']:.3f} of the bytes ({megabytes(size['model'])} MB)"]
    for one in (time or {}).get("ratios", []):
        if one["ratio"]["point"] is not None:
            told.append(f"{interval(one['ratio'])} of the time at batch {one['batch']} ({one['verdict']})")
    flips = None if accuracy is None else accuracy["flips"]
    told.append("accuracy not measured" if flips is None else points(flips))
    return f"Deployed as {manifest['form']}: {', '.join(told)}."


def _listed(rows: Sequence[Row]) -> str:
    numbers = [str(row["decimals"]) for row in rows]
    return f"{', '.join(numbers)} {'decimal' if numbers == ['1'] else 'decimals'}"


def _percent(correct: int, total: int) -> str:
    return f"{100 * correct / total:.2f} %"
