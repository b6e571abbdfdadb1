"""What a study found: a table per experiment, and the answer in plain sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from precbench.report.figures import count, interval, megabytes
from precbench.report.tables import add_row, plain_table
from precbench.report.terminal import say

_WORDS = {"loss within the margin": "small loss"}


def show_study(console: Console, results: Mapping[str, Any]) -> None:
    """Print every experiment's table, then the sentences."""
    for experiment in results["experiments"]:
        say(console, f"\n{experiment['name']}")
        console.print(experiment_table(results, experiment))
        if experiment["targets"] == "all" and results["study"]["published"]["full"]:
            console.print()
            console.print(published_table(results, experiment))
        if experiment["targets"] == "all":
            console.print()
            console.print(weights_table(results, experiment))
    for sentence in study_sentences(results):
        say(console, f"\n{sentence}")


def experiment_table(results: Mapping[str, Any], experiment: Mapping[str, Any]) -> Table:
    """Return an experiment's table, in the shape that its targets ask for."""
    if experiment["targets"] == "all":
        return _table_of_all(results, experiment)
    if experiment["targets"] == "combinations":
        return _table_of_combinations(results, experiment)
    return _grid(experiment)


def _table_of_all(results: Mapping[str, Any], experiment: Mapping[str, Any]) -> Table:
    """One row per number of decimals: accuracy, flips, what they show, time, bytes."""
    table = Table(padding=(0, 1), collapse_padding=True, pad_edge=False, box=None, header_style="bold")
    for header in ("N", "acc. %", "+", "-", "accuracy", "time ratio [95 %]", "verdict", "zstd MB"):
        table.add_column(header, justify="right", no_wrap=True)
    base = results["base"]
    add_row(table, "full", _accuracy(base["accuracy"]), "", "", "", "1 (base)", "", megabytes(base["zstd_bytes"]))
    if results["control"] is not None:
        add_row(table, "A/A", "", "", "", "", interval(results["control"]), "A/A", "")
    for row in experiment["rows"]:
        timing, files = row["timing"], row["file"]
        add_row(
            table,
            str(row["decimals"]),
            *_flips(row),
            "" if timing is None else interval(timing["ratio"]),
            "" if timing is None else timing["verdict"],
            "" if files is None else megabytes(files["zstd_bytes"]),
        )
    return table


def published_table(results: Mapping[str, Any], experiment: Mapping[str, Any]) -> Table:
    """Our accuracy and difference from full precision with their intervals, and what was published."""
    published = results["study"]["published"]
    theirs = {point["decimals"]: point for point in published["rounded"]}
    level = f"[{100 * results['level']:g} %]"
    table = plain_table("N", "acc. % [95 %]", "publ. %", f"points {level}", "publ. pts", "publ. time")
    full = published["full"]
    add_row(table, "full", _with_interval(results["base"]["accuracy"]), _percent(full["accuracy"]), "", "", "1")
    for row in experiment["rows"]:
        if row["flips"] is None:
            continue
        flips, point = row["flips"], theirs.get(row["decimals"])
        cells = ["", "", ""]
        if point is not None:
            points = 100 * (point["accuracy"] - full["accuracy"])
            cells = [_percent(point["accuracy"]), f"{points:+.2f}", f"{point['time_s'] / full['time_s']:.3f}"]
        ours = f"{flips['difference_points']:+.2f} [{flips['low_points']:+.2f}, {flips['high_points']:+.2f}]"
        add_row(table, str(row["decimals"]), _with_interval(row["accuracy"]), cells[0], ours, *cells[1:])
    return table


def weights_table(results: Mapping[str, Any], experiment: Mapping[str, Any]) -> Table:
    """How many weights were rounded and how many of these changed (the paper's Table 1), and what they became."""
    table = plain_table("N", "weights rounded", "changed", "distinct", "zeros", "subnormal")
    add_row(table, "full", "", "", *_census(results["base"]))
    for row in experiment["rows"]:
        done = row["flips"] is not None
        amounts = [count(row["elements"]), count(row["changed"])] if done else ["", ""]
        add_row(table, str(row["decimals"]), *amounts, *_census(row["file"]))
    published = results["study"]["published"]["elements"]
    if published:
        add_row(table, "published", count(published), "", "", "", "")
    return table


def _census(about: Mapping[str, Any] | None) -> list[str]:
    return (
        ["", "", ""] if about is None else [count(about["targets"][key]) for key in ("distinct", "zeros", "subnormals")]
    )


def _with_interval(accuracy: Mapping[str, Any]) -> str:
    return f"{_accuracy(accuracy)} [{_percent(accuracy['low'])}, {_percent(accuracy['high'])}]"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _table_of_combinations(results: Mapping[str, Any], experiment: Mapping[str, Any]) -> Table:
    """One row per combination: the decimals of each group, then accuracy and flips."""
    groups = list(dict.fromkeys(part for row in experiment["rows"] for part in row["parts"]))
    table = plain_table(*groups, "acc. %", "+", "-", "accuracy", left=0)
    add_row(table, *["full"] * len(groups), _accuracy(results["base"]["accuracy"]), "", "", "")
    for row in experiment["rows"]:
        add_row(table, *(str(row["parts"].get(group, "full")) for group in groups), *_flips(row))
    return table


def _grid(experiment: Mapping[str, Any]) -> Table:
    """Groups or layers against decimals: each cell is the difference in accuracy, in percentage points."""
    columns = list(dict.fromkeys(row["decimals"] for row in experiment["rows"]))
    by_part: dict[str, dict[int, str]] = {}
    for row in experiment["rows"]:
        by_part.setdefault(next(iter(row["parts"])), {})[row["decimals"]] = _cell(row)
    table = plain_table("points at N =", *(str(n) for n in columns))
    for part, cells in by_part.items():
        add_row(table, part, *(cells.get(n, "") for n in columns))
    return table


def _cell(row: Mapping[str, Any]) -> str:
    """`=` where no image changes its class; `!` behind a difference that is shown."""
    flips = row["flips"]
    if flips is None:
        return str(row["state"])
    if not flips["changed"]:
        return "="
    shown = row["decision"]["change"] in ("loss", "gain", "loss within the margin")
    return f"{flips['difference_points']:+.2f}{'!' if shown else ''}"


def _accuracy(accuracy: Mapping[str, Any]) -> str:
    return _percent(accuracy["fraction"])


def _flips(row: Mapping[str, Any]) -> list[str]:
    flips = row["flips"]
    if flips is None:
        return ["", "", "", row["state"]]
    word = row["decision"]["change"]
    return [
        f"{100 * flips['variant_correct'] / flips['total']:.2f}",
        count(flips["gained"]),
        count(flips["lost"]),
        _WORDS.get(word, word),
    ]


def study_sentences(results: Mapping[str, Any]) -> list[str]:
    """Say what the tables say: accuracy first, then time, then bytes, each with its evidence."""
    return [text for text in _sentences(results) if text]


def _sentences(results: Mapping[str, Any]) -> Iterator[str]:
    yield _about_the_tables(results)
    yield about_guessing(results)
    for experiment in results["experiments"]:
        yield _about_experiment(results, experiment)
    yield _about_time(results)
    yield _about_bytes(results)
    yield _about_the_publication(results)
    yield _about_failures(results)


def _about_the_tables(results: Mapping[str, Any]) -> str:
    base, margin = results["base"], results["margin_points"]
    return (
        f"{base['accuracy']['total']:,} test images; + and -: images that only the variant, only full precision has "
        f"right; points: difference in accuracy, = where no image changes its class, ! where a difference is shown. "
        f"'No loss' is said where a loss of {margin:g} points is excluded ({100 * results['level']:g} %, corrected for "
        f"the variants of an experiment); so many images show {results['smallest_margin_points']:.2g} points at best, "
        f"of one variant alone{_of_all_together(results)}."
    )


def about_guessing(results: Mapping[str, Any]) -> str:
    """Say where full precision itself is not shown to know anything; else nothing."""
    base = results["base"]
    classes = len(base["class_names"])
    if classes < 2 or base["accuracy"]["low"] > 1 / classes:
        return ""
    return (
        f"Full precision is not shown to be better than guessing one of the {classes} classes: that rounding changes "
        f"nothing says nothing here."
    )


def _of_all_together(results: Mapping[str, Any]) -> str:
    if not results["experiments"]:
        return ""
    largest = max(results["experiments"], key=lambda one: len(one["rows"]))
    many = len(largest["rows"])
    return "" if many < 2 else f", and {largest['smallest_margin_points']:.2g} of all {many} of {largest['name']}"


def _about_experiment(results: Mapping[str, Any], experiment: Mapping[str, Any]) -> str:
    rows = [row for row in experiment["rows"] if row["flips"] is not None]
    if not rows:
        return ""
    if experiment["targets"] == "all":
        return f"All groups together: {_from_which_on(experiment['rows'], results)}"
    if experiment["targets"] == "combinations":
        winner = next((row for row in rows if row["name"] == results["winners"].get(experiment["name"])), None)
        return f"Combinations: {_best_combination(rows, winner, results['margin_points'])}"
    kind = "Groups" if experiment["targets"] == "each-group" else "Layers"
    return f"{kind}, one at a time: {_which_lose(experiment['rows'], results['margin_points'])}"


def _from_which_on(rows: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> str:
    keeps = fewest_from_which_on(rows, lambda row: row["decision"]["within_margin"])
    steady = fewest_from_which_on(rows, lambda row: not row["flips"]["changed"])
    said = []
    if keeps is not None:
        said.append(f"from {keeps['decimals']} decimals on, a loss of {results['margin_points']:g} points is excluded")
    else:
        said.append(f"at no number of decimals is a loss of {results['margin_points']:g} points excluded")
    if steady is not None:
        said.append(f"from {steady['decimals']} on, none of the {steady['flips']['total']:,} images changes its class")
    losses = [str(row["decimals"]) for row in rows if row["flips"] and row["decision"]["change"].startswith("loss")]
    if losses:
        said.append(f"a loss is shown at {', '.join(losses)}")
    return "; ".join(said) + "."


def fewest_from_which_on(rows: Sequence[Mapping[str, Any]], holds: Any) -> Mapping[str, Any] | None:
    """Return the row of the fewest decimals from which on it holds for all; of one that failed it does not."""
    fewest = None
    for row in sorted(rows, key=lambda row: -row["decimals"]):
        if row["flips"] is None or not holds(row):
            break
        fewest = row
    return fewest


def _best_combination(rows: Sequence[Mapping[str, Any]], winner: Mapping[str, Any] | None, margin_points: float) -> str:
    keeps = [row for row in rows if row["decision"]["within_margin"]]
    said = f"for {len(keeps)} of {len(rows)} a loss of {margin_points:g} points is excluded"
    if winner is not None:
        parts = ", ".join(f"{group} {n}" for group, n in winner["parts"].items())
        said += (
            f"; the fewest decimals among these: {parts} ({winner['flips']['difference_points']:+.2f} points on these "
            f"images, which chose it: other images have to confirm it)"
        )
    return said + "."


def _which_lose(rows: Sequence[Mapping[str, Any]], margin_points: float) -> str:
    by_decimals: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_decimals.setdefault(row["decimals"], []).append(row)
    said, steady = list[str](), _steady_from(by_decimals)
    for decimals, some in sorted(by_decimals.items()):
        if decimals == steady:
            said.append(f"from {decimals} on no image changes its class")
            break
        done = [row for row in some if row["flips"] is not None]
        losing = [row for row in done if row["decision"]["change"].startswith("loss")]
        excluded = sum(1 for row in done if row["decision"]["within_margin"])
        text = f"at {decimals} a loss of {margin_points:g} points is excluded for {excluded} of {len(some)}"
        if losing:
            worst = min(losing, key=lambda row: row["flips"]["difference_points"])
            text += (
                f", and a loss shown for {len(losing)}, the largest {worst['flips']['difference_points']:+.2f} points "
                f"({next(iter(worst['parts']))})"
            )
        said.append(text)
    return "; ".join(said) + "."


def _steady_from(by_decimals: Mapping[int, Sequence[Mapping[str, Any]]]) -> int | None:
    """The number of decimals from which on nothing changes any image's class."""
    steady = None
    for decimals, rows in sorted(by_decimals.items(), reverse=True):
        if any(row["flips"] is None or row["flips"]["changed"] for row in rows):
            break
        steady = decimals
    return steady


def _timed(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for experiment in results["experiments"] for row in experiment["rows"] if row["timing"] is not None]


def _about_time(results: Mapping[str, Any]) -> str:
    rows, timing = dict[str, Mapping[str, Any]](), results["timing"]
    for row in _timed(results):  # a variant that two experiments share is named as the first of them does
        rows.setdefault(row["timing"]["arm"], row)
    if not rows:
        return ""
    session, margin = timing["session"], timing["settings"]["margin"]
    points = [row["timing"]["ratio"]["point"] for row in rows.values()]
    single = [row for row in rows.values() if next(iter(row["parts"])) != "all"]
    winners = "; ".join(f"{_parts(row)} {interval(row['timing']['ratio'])}" for row in single)
    smallest = [r["timing"]["smallest_effect"] for r in rows.values() if r["timing"]["smallest_effect"] is not None]
    able = (
        f"; effects from {100 * max(smallest):.1f} % could have been called" if smallest and max(smallest) < 1 else ""
    )
    return (
        f"Time on {session['provider']}, {session['intra_op_threads']} thread(s): ratios from {min(points):.3f} to "
        f"{max(points):.3f}, the base against itself {interval(results['control'])}. {_verdicts([*rows.values()])} "
        f"(margin {100 * margin:g} %, corrected for {len(rows)} variants{able})."
        f"{f' Of the winners: {winners}.' if winners else ''}"
    )


def _parts(row: Mapping[str, Any]) -> str:
    return " + ".join(f"{part} at {decimals}" for part, decimals in row["parts"].items())


def _verdicts(rows: Sequence[Mapping[str, Any]]) -> str:
    by_word: dict[str, list[str]] = {}
    for row in rows:
        name = f"N = {row['decimals']}" if next(iter(row["parts"])) == "all" else _parts(row)
        by_word.setdefault(row["timing"]["verdict"], []).append(name)
    text = "; ".join(
        f"{word} than full precision: {', '.join(names)}"
        if word in ("faster", "slower")
        else f"{word}{' to full precision' if word == 'equivalent' else ''}: {', '.join(names)}"
        for word, names in by_word.items()
    )
    return text[:1].upper() + text[1:]


def _about_bytes(results: Mapping[str, Any]) -> str:
    base = results["base"]
    rows = [row for one in results["experiments"] if one["targets"] == "all" for row in one["rows"] if row["file"]]
    if not rows:
        return ""
    done = [row for row in rows if row["flips"] is not None]
    chosen = fewest_from_which_on(done, lambda row: row["decision"]["within_margin"]) or fewest_from_which_on(
        done, lambda row: not row["flips"]["changed"]
    )
    chosen = chosen or max(rows, key=lambda row: row["decimals"])
    return (
        f"Bytes: the file keeps its size ({megabytes(base['file_bytes'])} MB), since rounded float32 is still float32; "
        f"compressed (zstd) it takes {megabytes(chosen['file']['zstd_bytes'])} MB at {chosen['decimals']} decimals, "
        f"{megabytes(base['zstd_bytes'])} MB before."
    )


def _about_the_publication(results: Mapping[str, Any]) -> str:
    published = results["study"]["published"]
    if not published["full"]:
        return ""
    full = published["full"]
    rounded = "; ".join(
        f"at {p['decimals']} decimals {100 * p['accuracy']:.2f} % and {p['time_s']:.2f} s, a ratio of "
        f"{p['time_s'] / full['time_s']:.3f}"
        for p in published["rounded"]
    )
    return (
        f"Published ({published['source']}): full precision {100 * full['accuracy']:.2f} % of {published['images']:,} "
        f"images in {full['time_s']:.2f} s; {rounded}."
    )


def _about_failures(results: Mapping[str, Any]) -> str:
    failed = [(e["name"], r) for e in results["experiments"] for r in e["rows"] if r["state"] == "failed"]
    if not failed:
        return ""
    experiment, row = failed[0]
    more = f"; {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"Failed: {row['name']} of {experiment}: {row['detail']}{more}."
