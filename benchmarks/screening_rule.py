"""How many images the screening path's sequential test needs, how often it is wrong, and what other rules would do.

Run: python benchmarks/screening_rule.py
It writes benchmarks/results/screening_rule.json and .md. Populations of 10,000 images with given numbers of gained and
lost ones are drawn without replacement; every rule sees the same orders. Just beside the margin every answer but the
right one is an error; far from it the number of images counts. The rule that is kept is asked through the toolkit's own
class, block by block; each of the others is here, in a few lines, at its best values.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from laboratory import HERE, percent, share, table, write_result
from numpy.typing import NDArray
from scipy.special import gammaln

from precbench.accuracy import Answer, SequentialTest
from precbench.accuracy.tango import noninferiority_p

IMAGES, MARGIN_POINTS, ALPHA = 10_000, 0.5, 0.05
ALLOWED = 50  # images that may be lost more than gained
BLOCK = 256
LOOK = 500  # images between the looks of the rules that are not for every image
AT_FIRST = (50, 500, 2_000, IMAGES)  # images that a rule is run on before it is run on more: most end early

HOLDING = ((0, 0), (1, 1), (3, 5), (9, 12), (20, 20), (30, 45), (60, 70), (100, 110))
FAILING = ((60, 130), (100, 200), (100, 400), (100, 1_000), (100, 3_000), (50, 6_000))
JUST_HOLDING = ((0, 50), (10, 60), (100, 150), (500, 550))
JUST_FAILING = ((0, 51), (10, 61), (100, 151), (500, 551))
"""Gained and lost images: of the four last, one lost image more or less makes the other answer right."""

Steps = NDArray[np.int64]
Path_ = NDArray[np.float64]
Fortune = Callable[[Steps, int], Path_]
"""From steps -1, 0, 1 and what all of them sum up to at most, to the log fortune of who bets against that."""
Rule = Callable[[Steps], tuple[Answer, int]]


# --- ways to bet: against "the steps of all images sum up to at most `most`" ---


def odds(steps: Steps, most: int) -> tuple[Path_, Path_]:
    """Return what is expected of each step at most, and what is won per unit of the largest bet on it."""
    before = np.concatenate([[0], np.cumsum(steps)[:-1]])
    expected = (most - before) / (IMAGES - np.arange(len(steps)))
    with np.errstate(all="ignore"):
        return expected, np.where(steps == -1, -1.0, (steps - expected) / (1 + expected))


def split(bets: Sequence[float], stakes: Sequence[float]) -> Fortune:
    """Split the stake over fixed bets, each a part of the largest possible."""
    logs, parts = np.log(np.array(stakes) / np.sum(stakes)), np.array(bets)

    def fortune(steps: Steps, most: int) -> Path_:
        _, win = odds(steps, most)
        with np.errstate(all="ignore"):
            paths = logs + np.cumsum(np.log1p(parts * win[:, None]), axis=0)
            return np.logaddexp.reduce(paths, axis=1)

    return fortune


def counts_before(steps: Steps) -> tuple[Steps, Steps]:
    """Return how many steps were -1, and 1, before each."""
    lost, gained = (np.cumsum(steps == sign) - (steps == sign) for sign in (-1, 1))
    return lost, gained


def best_bet(lost: Path_, gained: Path_, expected: Path_) -> Path_:
    """Return the bet whose log fortune grows fastest (Kelly) where these are the shares of -1 and of 1."""
    with np.errstate(all="ignore"):
        up, level = (1 - expected) / (1 + expected), -expected / (1 + expected)
        rest = 1 - lost - gained
        a = -up * level
        b = gained * up * (level - 1) - lost * (up + level) + rest * level * (up - 1)
        c = gained * up - lost + rest * level
        q = -(b + np.where(b >= 0, 1, -1) * np.sqrt(np.maximum(b * b - 4 * a * c, 0))) / 2
        near, far = c / q, q / a
    bet = np.where((near > 0) & (near <= 1), near, np.where((far > 0) & (far <= 1), far, 0.0))
    return np.where(c > 0, np.minimum(bet, 0.99), 0.0)


def learning(lost: float, gained: float, weight: float) -> Fortune:
    """Bet what would be best if the shares were those seen so far, and `weight` images with given shares."""

    def fortune(steps: Steps, most: int) -> Path_:
        expected, win = odds(steps, most)
        k, g = counts_before(steps)
        images = np.arange(len(steps)) + weight
        bet = best_bet((k + weight * lost) / images, (g + weight * gained) / images, expected)
        with np.errstate(all="ignore"):
            return np.cumsum(np.log1p(bet * win))

    return fortune


def several_alternatives(shares: Sequence[tuple[float, float]]) -> Fortune:
    """Split the stake evenly over what would be best for each of several shares of -1 and 1."""

    def fortune(steps: Steps, most: int) -> Path_:
        expected, win = odds(steps, most)
        bets = [best_bet(np.float64(lost), np.float64(gained), expected) for lost, gained in shares]
        with np.errstate(all="ignore"):
            paths = np.cumsum(np.log1p(np.stack(bets, axis=1) * win[:, None]), axis=0)
            return np.logaddexp.reduce(paths, axis=1) - log(len(shares))

    return fortune


def agrapa(steps: Steps, most: int) -> Path_:
    """Bet as Waudby-Smith and Ramdas do by default (aGRAPA, truncated at 3/4), on (step + 1) / 2."""
    expected, win = odds(steps, most)
    mean_so_far, images = (steps + 1) / 2, np.arange(1, len(steps) + 1)
    means = (0.5 + np.cumsum(mean_so_far)) / (images + 1)
    variances = (0.25 + np.cumsum((mean_so_far - means) ** 2)) / (images + 1)
    means, variances = np.concatenate([[0.5], means[:-1]]), np.concatenate([[0.25], variances[:-1]])
    supposed = (1 + expected) / 2
    with np.errstate(all="ignore"):
        above = means - supposed
        return np.cumsum(np.log1p(np.clip(supposed * above / (variances + above**2), 0, 0.75) * win))


def likelihood_ratio(lost: float, gained: float, weight: float) -> Fortune:
    """Divide what a learner (as above) gives to the sequence by the most that any set of images gives it for which
    the statement is true (universal inference; Wasserman, Ramdas, Balakrishnan, PNAS 117, 2020); every 10 images."""

    def fortune(steps: Steps, most: int) -> Path_:
        k, g = counts_before(steps)
        images = np.arange(len(steps)) + weight
        shares = [(k + weight * lost) / images, (g + weight * gained) / images]
        given = np.where(steps == -1, shares[0], np.where(steps == 1, shares[1], 1 - shares[0] - shares[1]))
        looks = np.arange(9, len(steps), 10)
        ups, downs = np.cumsum(steps == 1)[looks], np.cumsum(steps == -1)[looks]
        found = np.full(len(steps), -np.inf)
        ratio = np.cumsum(np.log(given))[looks] - most_likely(ups, downs, looks + 1, most)
        found[looks] = np.where(IMAGES * (ups - downs) / (looks + 1) > most, ratio, -np.inf)
        return found

    return fortune


def most_likely(ups: Steps, downs: Steps, seen: Steps, most: int) -> Path_:
    """Return the largest log probability of such a sequence over all sets of images with `most` more 1 than -1."""

    def chance(gained: Steps) -> Path_:
        """Of a set with so many; -inf where it has fewer of something than were seen."""
        held = (gained, gained - most, IMAGES - 2 * gained + most)
        missing = [have - had for have, had in zip(held, (ups, downs, seen - ups - downs), strict=True)]
        possible = np.min(missing, axis=0) >= 0
        logs = [gammaln(have + 1) - gammaln(np.maximum(rest, 0) + 1) for have, rest in zip(held, missing, strict=True)]
        return np.where(possible, np.sum(logs, axis=0), -np.inf)

    low = np.maximum(ups, downs + most)
    high = np.maximum((IMAGES + most - (seen - ups - downs)) // 2, low)
    while (high - low).max() > 2:  # the log probability is concave in the number of gained ones
        one, other = low + (high - low) // 3, high - (high - low) // 3
        rises = chance(one) < chance(other)
        low, high = np.where(rises, one, low), np.where(rises, high, other)
    best = np.max([chance(np.minimum(low + more, high)) for more in range(3)], axis=0)
    return best - (gammaln(IMAGES + 1) - gammaln(IMAGES - seen + 1))


# --- rules ---


def kept(steps: Steps) -> tuple[Answer, int]:
    """Ask the toolkit."""
    test = SequentialTest(images=IMAGES, margin_points=MARGIN_POINTS, alpha=ALPHA)
    for start in range(0, IMAGES, BLOCK):
        if test.update(steps[start : start + BLOCK]) is not Answer.UNDECIDED:
            break
    return test.answer, test.seen


def betting(steps: Steps, *, against_loss: Fortune, against_holding: Fortune) -> tuple[Answer, int]:
    """Answer when one of two gamblers has made 1 / alpha, or when it is certain."""
    certain_answer, certain_at = certainty(steps)
    for images in AT_FIRST:
        looked_at = steps[: min(images, certain_at - 1)]
        holds = against_loss(looked_at, -ALLOWED - 1) >= -log(ALPHA)
        fails = against_holding(-looked_at, ALLOWED) >= -log(ALPHA)
        either = holds | fails
        if either.any():
            first = int(either.argmax())
            return (Answer.HOLDS if holds[first] else Answer.DOES_NOT_HOLD), first + 1
    return certain_answer, certain_at


def looking(steps: Steps, *, level: float) -> tuple[Answer, int]:
    """Answer at the first look at which Tango's one-sided test of the margin rejects at a level."""
    certain_answer, certain_at = certainty(steps)
    for images in range(LOOK, certain_at, LOOK):
        lost, gained = (int((steps[:images] == sign).sum()) for sign in (-1, 1))
        p = noninferiority_p(gained=gained, lost=lost, total=images, margin=MARGIN_POINTS / 100)
        if p <= level or p >= 1 - level:
            return (Answer.HOLDS if p <= level else Answer.DOES_NOT_HOLD), images
    return certain_answer, certain_at


def certainty(steps: Steps) -> tuple[Answer, int]:
    """Return the right answer, and after how many images the others can no longer change it."""
    sums, left = np.cumsum(steps), IMAGES - 1 - np.arange(IMAGES)
    at = int(((sums - left >= -ALLOWED) | (sums + left < -ALLOWED)).argmax()) + 1
    return (Answer.HOLDS if sums[-1] >= -ALLOWED else Answer.DOES_NOT_HOLD), at


def pair(against_loss: Fortune, against_holding: Fortune | None = None) -> Rule:
    """Make a rule of two ways to bet."""
    return partial(betting, against_loss=against_loss, against_holding=against_holding or against_loss)


_EVEN = split((np.arange(16) + 0.5) / 16, np.ones(16))
RULES: Mapping[str, Rule] = {
    "kept: six growing bets": kept,
    "six bets": pair(split([0.97, 0.9, 0.75, 0.5, 0.25, 0.1], [6, 1, 1, 1, 1, 1])),
    "one bet, 0.97": pair(split([0.97], [1])),
    "one bet, 0.75": pair(split([0.75], [1])),
    "sixteen bets, evenly": pair(_EVEN),
    "halves: 0.97, 0.5, 0.25 …": pair(split([0.97, 0.5, 0.25, 0.125, 0.0625], [8, 4, 2, 1, 1])),
    "aGRAPA": pair(agrapa),
    "learning": pair(learning(0.001, 0.0005, 500), learning(0.02, 0.1, 20)),
    "six alternatives": pair(
        several_alternatives([(0, 0), (5e-4, 3e-4), (0.0015, 0.001), (0.004, 0.003), (0.01, 0.008), (0.03, 0.028)]),
        several_alternatives([(0.006, 0.013), (0.01, 0.02), (0.01, 0.04), (0.01, 0.1), (0.01, 0.3), (0.005, 0.6)]),
    ),
    "likelihood ratio": pair(likelihood_ratio(0.001, 0.0005, 500), likelihood_ratio(0.02, 0.1, 20)),
    "Tango every 500, corrected": partial(looking, level=ALPHA * LOOK / IMAGES),
    "Tango every 500, as it is": partial(looking, level=ALPHA),
}


# --- simulation and table ---


def run(job: tuple[int, int, int]) -> list[tuple[bool, int]]:
    """Draw one order of a population, and return for each rule whether it was wrong and how many images it saw."""
    gained, lost, number = job
    steps = np.zeros(IMAGES, dtype=np.int64)
    steps[:gained], steps[gained : gained + lost] = 1, -1
    np.random.default_rng([gained, lost, number]).shuffle(steps)
    right = Answer.HOLDS if lost - gained <= ALLOWED else Answer.DOES_NOT_HOLD
    found = [rule(steps) for rule in RULES.values()]
    return [(answer is not right, seen) for answer, seen in found]


def rows_of(gained: int, lost: int, results: Sequence[Sequence[tuple[bool, int]]]) -> list[dict[str, Any]]:
    """Sum up the runs of a population, rule by rule."""
    rows = []
    for index, name in enumerate(RULES):
        wrong = sum(result[index][0] for result in results)
        seen = np.array([result[index][1] for result in results])
        rows.append(
            {
                "gained": gained,
                "lost": lost,
                "holds": lost - gained <= ALLOWED,
                "rule": name,
                "wrong": share(wrong, len(results)),
                "images_mean": float(seen.mean()),
                "images_median": float(np.median(seen)),
                "images_90_percent": float(np.quantile(seen, 0.9)),
            }
        )
    return rows


def population(row: Mapping[str, Any]) -> str:
    """Name a population."""
    return f"{row['gained']:,} / {row['lost']:,}"


def side_by_side(rows: Sequence[Mapping[str, Any]], figure: Callable[[Mapping[str, Any]], str]) -> str:
    """Write one figure of every population (down) and rule (across) as a table."""
    by_population: dict[str, dict[str, str]] = {}
    for row in rows:
        first = {"gained / lost": population(row), "right": "holds" if row["holds"] else "does not hold"}
        by_population.setdefault(population(row), first)[row["rule"]] = figure(row)
    return table(list(by_population.values()))


def mean_images(row: Mapping[str, Any]) -> str:
    """Write the mean number of images until the answer."""
    return f"{row['images_mean']:,.0f}"


def wrong_percent(row: Mapping[str, Any]) -> str:
    """Write the share of wrong answers."""
    return f"{100 * row['wrong']['share']:.1f}"


def of_the_kept(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the figures of the rule that is kept."""
    return table(
        [
            {
                "gained / lost": population(row),
                "right": "holds" if row["holds"] else "does not hold",
                "wrong answers": percent(row["wrong"]),
                "images: median": f"{row['images_median']:,.0f}",
                "mean": f"{row['images_mean']:,.0f}",
                "in nine of ten": f"{row['images_90_percent']:,.0f}",
            }
            for row in rows
            if row["rule"] == next(iter(RULES))
        ]
    )


def main() -> None:
    """Simulate, and write the tables."""
    made = ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--runs", type=int, default=1_000, help="orders of each population (default: %(default)s)")
    made.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    made.add_argument("--results", type=Path, default=HERE / "results", help="folder for the result")
    options = made.parse_args()
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for gained, lost in (*HOLDING, *FAILING, *JUST_HOLDING, *JUST_FAILING):
            jobs = [(gained, lost, number) for number in range(options.runs)]
            rows += rows_of(gained, lost, list(pool.map(run, jobs, chunksize=20)))
    beside = [row for row in rows if (row["gained"], row["lost"]) in (*JUST_HOLDING, *JUST_FAILING)]
    far = [row for row in rows if row not in beside]
    text = (
        f"{IMAGES:,} images, margin {MARGIN_POINTS} points, alpha {ALPHA}. The rule that is kept:\n\n"
        f"{of_the_kept(rows)}\n"
        f"Mean number of images until the answer, rule by rule:\n\n"
        f"{side_by_side(far, mean_images)}\n"
        f"Wrong answers just beside the margin, in percent; 5 are allowed (the last rule is for one look, not 19):\n\n"
        f"{side_by_side(beside, wrong_percent)}"
    )
    value = {"images": IMAGES, "margin_points": MARGIN_POINTS, "alpha": ALPHA, "rows": rows}
    write_result(options.results, "screening_rule", value, text)


if __name__ == "__main__":
    main()
