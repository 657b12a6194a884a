"""Templates: which words vary, what is remembered, and what people agree on."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emitkit_logging._events import templates as module
from emitkit_logging._events.templates import MOST_VALUES, Merged, Templates

SITE = ("shop.accounts", "accounts.py", 20)
NAMES = ["ada", "bob", "carol", "dmitri", "eve", "farid", "grace", "hiro"]
CORPUS = Path(__file__).parents[1] / "data" / "kinds"


@pytest.fixture
def templates():
    return Templates()


def learn(templates, texts, site=SITE):
    return [templates.of(site, text) for text in texts]


def test_word_that_varies(templates):
    """The place of a word is a variable from its sixth value on."""
    found = learn(templates, [f"user {name} cannot log in" for name in NAMES])
    assert found[:MOST_VALUES] == [f"user {name} cannot log in" for name in NAMES[:MOST_VALUES]]
    assert set(found[MOST_VALUES:]) == {"user … cannot log in"}
    assert templates.of(SITE, "user zoe cannot log in") == "user … cannot log in"
    assert templates.of(SITE, "user ada cannot log in") == "user … cannot log in"


def test_words_that_differ(templates):
    """Few values are words: a full primary is not a full replica."""
    texts = ["disk is full on the primary", "disk is full on the replica"] * 20
    assert learn(templates, texts) == texts


def test_all_else_being_equal(templates):
    """Values count only where the rest of the message is the same, and so is its length."""
    texts = [
        f"user {name} {verb}"
        for name, verb in zip(NAMES, ["came", "left", "slept", "ran", "sang", "fell", "won", "lost"], strict=True)
    ]
    assert learn(templates, texts) == texts


def test_several_words_that_vary(templates):
    """Places that vary at the same time are found, although no two messages differ in one place only."""
    learn(templates, [f"moved {name} to the team of {name[::-1]} at once" for name in NAMES])
    assert templates.of(SITE, "moved ines to the team of jo at once") == "moved … to the team of … at once"


def test_names_with_numbers(templates):
    """A name with a number in it is a variable as a whole; a path keeps the words around its variable parts."""
    assert learn(templates, ["worker-7 stopped", "runner12 stopped"]) == ["… stopped"] * 2
    assert templates.of(SITE, "GET failed: /orders/34/items") == "GET failed: /orders/…/items"


def test_words_and_numbers_in_one_place(templates):
    """A place that has held a number and a word is a variable, in whatever order they came."""
    assert learn(templates, ["connected to 10.0.0.7 at last", "connected to db at last"])[1] == "connected to … at last"
    assert learn(templates, ["sent to db at last", "sent to 10.0.0.7 at last"])[1] == "sent to … at last"
    assert templates.latest(SITE, "sent to db at last") == "sent to … at last"


def test_own_words(templates):
    """A template keeps words of its own: single words are not all of one kind."""
    texts = ["active", "closing", "critical", "normal", "running", "stopped", "warning", "blocked"]
    assert learn(templates, texts * 2) == texts * 2


def test_call_sites(templates):
    """What one call site logs says nothing about another."""
    for number, name in enumerate(NAMES):
        assert templates.of(("a", "a.py", number), f"user {name} cannot log in") == f"user {name} cannot log in"


def test_merged(templates):
    """Code that keeps something by template can follow which templates became part of which."""
    texts = [f"user {name} cannot log in" for name in NAMES]
    learn(templates, texts)
    assert templates.pop_merged() == [Merged(SITE, text, "user … cannot log in") for text in texts[: MOST_VALUES + 1]]
    assert templates.pop_merged() == []


def test_latest(templates):
    """An earlier template can be asked for what it has become."""
    learn(templates, [f"user {name} cannot log in" for name in NAMES])
    assert templates.latest(SITE, "user ada cannot log in") == "user … cannot log in"
    assert templates.latest(SITE, "disk is full") == "disk is full"
    assert templates.latest("another", "user ada cannot log in") == "user ada cannot log in"


def test_general_templates_generalise_further(templates):
    """A template that is general already can lose another word, and takes all its texts along."""
    for place in ("paris", "rome", "oslo", "bern", "kiel", "graz"):
        learn(templates, [f"user {name} cannot log in from {place}" for name in NAMES])
    assert templates.latest(SITE, "user ada cannot log in from paris") == "user … cannot log in from …"
    assert templates.of(SITE, "user zoe cannot log in from wien") == "user … cannot log in from …"
    after = {merged.before: merged.after for merged in templates.pop_merged()}
    name = "user ada cannot log in from paris"
    while name in after:
        name = after[name]
    assert name == "user … cannot log in from …"


def test_state(templates):
    """What is known survives as JSON: variables stay, and half-full places fill up."""
    learn(templates, [f"user {name} cannot log in" for name in NAMES])
    learn(templates, [f"quota of {name} exceeded" for name in NAMES[:MOST_VALUES]])
    restored = Templates()
    restored.load(json.loads(json.dumps(templates.pop_learned())))
    assert templates.pop_learned() == restored.pop_learned() == []
    assert len(restored) == len(templates)
    assert restored.of(SITE, "user zoe cannot log in") == "user … cannot log in"
    assert restored.of(SITE, "quota of zoe exceeded") == "quota of … exceeded"


def test_state_that_cannot_be_read(templates):
    """An entry that cannot be read costs itself alone."""
    templates.load(
        [
            None,
            [],
            [SITE, 3, []],
            [SITE, "x y", ["a"]],
            [{}, "x y", []],
            [SITE, "x y", [9]],
            [list(SITE), "disk is full", []],
        ]
    )
    assert len(templates) == 1


def test_size():
    """Memory is bounded; what is forgotten is new again."""
    templates = Templates(size=50)
    for number in range(100):
        letters = f"{number:07b}".translate(str.maketrans("01", "ab"))
        learn(templates, [f"{letters} {name} is unknown here" for name in NAMES], site=number)
        assert len(templates) <= 50
    assert len(templates.pop_learned()) <= 100
    assert len(templates.pop_merged()) <= 50
    assert templates.of(0, "aaaaaaa zoe is unknown here") == "aaaaaaa zoe is unknown here"


def test_one_large_site():
    """A call site with more templates than are remembered forgets its first ones."""
    templates = Templates(size=20)
    for number in range(200):
        letters = f"{number:08b}".translate(str.maketrans("01", "ab"))
        templates.of(SITE, " ".join(letters))
        assert len(templates) <= 20


def test_repeats_are_remembered(templates):
    """A message that comes again with another id costs a lookup, not another mask."""
    learn(templates, ["order 1 failed"])
    started = time.process_time()
    for number in range(10_000, 20_000):
        templates.of(SITE, f"order {number} failed")
    assert time.process_time() - started < 1.0


WORDS = st.sampled_from(["True", "False", "None", "…", "a", "b", "c", "d", "e", "f", "g"])


@given(st.lists(st.lists(WORDS, min_size=4, max_size=6), max_size=80))
def test_words_that_change_places(rows):
    """What is known of a place is known of no other, whichever words change places; and to learn ends."""
    templates = Templates()
    for row in rows:
        templates.of(SITE, " ".join(row))
        for family in templates._families.values():
            values = defaultdict(set)
            for words in family.templates:
                for place, word in enumerate(words):
                    if word:
                        values[place, words[:place], words[place + 1 :]].add(word)
            assert sorted(map(sorted, values.values())) == sorted(map(sorted, filter(None, family._values.values())))


@pytest.mark.parametrize("is_equal", [True, False])
def test_equal_hashes(monkeypatch, is_equal):
    """To learn ends also where the keys of many places are equal."""
    monkeypatch.setattr(module, "hash", lambda _: 0 if is_equal else len(_), raising=False)
    templates = Templates()
    draw = random.Random(1)
    for _ in range(500):
        templates.of(SITE, " ".join(draw.choices("abcdefg…", k=5)))


@given(st.lists(st.text(alphabet="ab 1=…", max_size=12), max_size=60))
def test_any_texts(texts):
    """A text of which nothing new is learned keeps its template, and the templates known are those counted."""
    templates = Templates(size=16)
    known = {}
    for text in texts:
        first = templates.of("site", text)
        assert templates.of("site", text) == first
        for site, template, variables in templates.pop_learned():
            known.pop((site, template), None)
            if variables is not None:
                known[site, template] = variables
        assert len(templates) == len(known) <= 16
    templates.learn_again()
    assert {(site, template): variables for site, template, variables in templates.pop_learned()} == known


def measure(name):
    """Return precision and recall over the pairs of lines of a corpus, by what is known at its end."""
    with (CORPUS / f"{name}.jsonl").open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    templates = Templates()
    sites = [(line["logger"], line["file"], line["line"]) for line in lines]
    found = [templates.of(site, line["text"]) for site, line in zip(sites, lines, strict=True)]
    kinds = [(site[0], templates.latest(site, template)) for site, template in zip(sites, found, strict=True)]
    truth = [line["kind"] for line in lines]
    together = _pairs(zip(kinds, truth, strict=True))
    return together / _pairs(kinds), together / _pairs(truth)


def _pairs(groups):
    return sum(count * (count - 1) // 2 for count in Counter(groups).values())


@pytest.mark.parametrize("name", ["development", "held_out"])
def test_corpus(name):
    """On log lines as Python applications write them, templates agree with what a person takes for one kind."""
    precision, recall = measure(name)
    assert precision >= 0.98
    assert recall >= 0.98
