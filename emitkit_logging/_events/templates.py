"""Learn the templates of log messages: which of their words stay and which vary.

`masking` masks what is variable at sight. A word is variable when its place has taken more than `MOST_VALUES` values
at one call site, all else being equal: *user ada cannot log in*, *user bob cannot log in*, … are `user … cannot log
in` from the sixth name on. Until then *disk is full on the primary* and *disk is full on the replica* are two
templates. Several places of one call site that vary at the same time are found in the same way.

A name with a variable part in it, such as `worker-7`, is a variable as a whole; so is the place of a word that also has
held a variable: *connected to db.internal* after *connected to 10.0.0.7*.

Drain (He et al., ICWS 2017) learns in a similar way, but takes a word for a variable at its second value.
"""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Any, NamedTuple

from emitkit_logging._events.masking import LONGEST_MASKED, MASK, headline, mask, shape

MOST_VALUES = 5
"""Values that the place of a word may take before it is a variable."""

_MOST_WORDS = 64
_JOINT_EVERY = 8
_JOINT_SAMPLE = 64
_MOST_PATTERNS = 16
_SEPARATORS = re.compile(r"([\s=:,;|()\[\]{}<>\"'&]+)")
_LETTER = re.compile(r"[^\W\d_]")

_Words = tuple[str, ...]


class Merged(NamedTuple):
    """A template that became part of a more general one.

    Attributes:
        site: the call site of both.
        before: the template that no text has any more.
        after: the template that its texts have now.
    """

    site: Hashable
    before: str
    after: str


class Learned(NamedTuple):
    """What changed of one template.

    Attributes:
        site: its call site.
        text: the template.
        variables: its places that are variables because of what they have held; `None`: it is gone.
    """

    site: Hashable
    text: str
    variables: tuple[int, ...] | None


class _Template:
    """A template, and the more general one that replaced it."""

    __slots__ = ("family", "into", "text", "variables", "words")

    def __init__(self, family: _Family, words: _Words, variables: tuple[int, ...] = ()) -> None:
        self.family = family
        self.words = words
        self.variables = variables
        self.text = family.join(words)
        self.into: _Template | None = None

    def latest(self) -> _Template:
        """Return the template that this one is part of now."""
        latest = self
        while latest.into is not None:
            latest = latest.into
        return latest


class _Family:
    """The templates of one call site that have the same number of words and the same separators.

    Args:
        site: the call site.
        separators: what stands between the words.

    Attributes:
        templates: by their words, in the order in which they were learned.
    """

    __slots__ = ("_learned", "_patterns", "_values", "separators", "site", "templates")

    def __init__(self, site: Hashable, separators: _Words) -> None:
        self.site = site
        self.separators = separators
        self.templates: OrderedDict[_Words, _Template] = OrderedDict()
        self._patterns: dict[tuple[int, ...], None] = {}
        self._values: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
        self._learned = 0

    def join(self, words: _Words) -> str:
        """Return the words with the separators between them."""
        return "".join(chain.from_iterable(zip_longest(words, self.separators, fillvalue="")))

    def find(self, words: _Words) -> _Template | None:
        """Return the template that `words` have, or `None` if it is not known."""
        found = self.templates.get(words)
        if found is None:
            for places in self._patterns:
                if all(words[place] for place in places):
                    found = self.templates.get(_generalised(words, places))
                    if found is not None:
                        break
        return found

    def learn(self, words: _Words) -> tuple[_Template, list[_Template]]:
        """Add the template of words that `find` does not find.

        Returns:
            The template, which is more general than `words` if they complete a variable, and the templates that it
            replaces.
        """
        template = self._add(words, ())
        self._learned += 1
        places = self._varying(words)
        if not places and self._learned % _JOINT_EVERY == 0:
            places = self._varying_jointly(words)
        replaced: list[_Template] = []
        while places:
            before = template.words
            template, merged = self._generalise(template, places)
            replaced += merged
            if template.words == before and not merged:
                break  # the values of two places have one key by accident
            places = self._varying(template.words)
        return template, replaced

    def restore(self, words: _Words, variables: tuple[int, ...]) -> None:
        """Add a template that was exported."""
        if variables:
            self._patterns[variables] = None
        self._add(words, variables)

    def forget(self, template: _Template) -> None:
        """Remove a template, and its words from the values of their places."""
        del self.templates[template.words]
        for key, word in _places(template.words):
            values = self._values[key]
            values.discard(word)
            if not values:
                del self._values[key]

    def _add(self, words: _Words, variables: tuple[int, ...]) -> _Template:
        template = self.templates[words] = _Template(self, words, variables)
        for key, word in _places(words):
            self._values[key].add(word)
        return template

    def _varying(self, words: _Words) -> tuple[int, ...]:
        """Return the first place that has taken too many values while all else was equal."""
        for key, _ in _places(words):
            if _are_too_many(self._values[key]) and _has_own_words(_generalised(words, key[:1])):
                return key[:1]
        return ()

    def _varying_jointly(self, words: _Words) -> tuple[int, ...]:
        """Return the places that have each taken too many values while all others were equal."""
        alike = list(islice(reversed(self.templates), _JOINT_SAMPLE))
        places: tuple[int, ...] = tuple(range(len(words)))
        while True:
            varying = tuple(place for place in places if _counts_enough(other[place] for other in alike))
            if not varying or not _has_own_words(_generalised(words, varying)):
                return ()
            others = [place for place in range(len(words)) if place not in varying]
            alike_now = [other for other in alike if all(other[place] == words[place] for place in others)]
            if varying == places and len(alike_now) == len(alike):
                return varying
            places, alike = varying, alike_now

    def _generalise(self, template: _Template, places: tuple[int, ...]) -> tuple[_Template, list[_Template]]:
        words = _generalised(template.words, places)
        merged = [
            other
            for other in self.templates.values()
            if all(map(other.words.__getitem__, places)) and _generalised(other.words, places) == words
        ]
        variables = tuple(sorted({*places, *chain.from_iterable(other.variables for other in merged)}))
        for other in merged:
            self.forget(other)
        general = self._add(words, variables)
        for other in merged:
            other.into = general
        self._patterns[variables] = None
        if len(self._patterns) > _MOST_PATTERNS:
            del self._patterns[next(iter(self._patterns))]
        return general, [other for other in merged if other.text != general.text]


def _places(words: _Words) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield for each place that holds a word a key of the place and all other words, and the word."""
    # of strings: the hashes of tuples are so regular that their sums are often equal where two words change places
    hashes = [hash(f"{place} {word}") for place, word in enumerate(words)]
    total = sum(hashes)
    for place, word in enumerate(words):
        if word:
            yield (place, total - hashes[place]), word


def _generalised(words: _Words, places: Iterable[int]) -> _Words:
    general = list(words)
    for place in places:
        general[place] = MASK
    return tuple(general)


def _are_too_many(values: set[str]) -> bool:
    """Whether the values of a place make it a variable: there are many, or one word where there also was a variable."""
    return len(values) > MOST_VALUES or (len(values) > 1 and MASK in values)


def _counts_enough(values: Iterable[str]) -> bool:
    distinct = set(values)
    return len(distinct) > MOST_VALUES and "" not in distinct


def _has_own_words(words: _Words) -> bool:
    """Whether at least as many words stay as vary: a template of variables alone would take in everything."""
    own = sum(word != MASK and _LETTER.search(word) is not None for word in words)
    return own >= max(1, sum(MASK in word for word in words))


class Templates:
    """The templates of the messages of any number of call sites.

    It has no clock. Time and memory for a text are bounded whatever the text holds.

    Args:
        size: how many templates, and how many texts, are remembered. Those seen least recently are forgotten, and what
            was generalised in them is learned anew.
    """

    def __init__(self, size: int = 4_096) -> None:
        self._size = size
        self._texts: OrderedDict[tuple[Hashable, str], _Template] = OrderedDict()
        self._families: OrderedDict[tuple[Hashable, _Words], _Family] = OrderedDict()
        self._count = 0
        self._merged: list[Merged] = []
        self._learned: dict[tuple[Hashable, str], tuple[int, ...] | None] = {}

    def __len__(self) -> int:
        return self._count

    def of(self, site: Hashable, text: str) -> str:
        """Return the template of a message, with `MASK` for each variable part.

        Args:
            site: where it was logged, such as logger, file and line.
            text: the message.
        """
        if len(text) > LONGEST_MASKED:
            text = headline(text)
        key = (site, shape(text))
        known = self._texts.get(key)
        if known is not None:
            template = known.latest()
            self._touch(template.family)
            self._texts.move_to_end(key)
            return template.text
        template = self._texts[key] = self._learn(site, mask(headline(text)))
        if len(self._texts) > self._size:
            self._texts.popitem(last=False)
        return template.text

    def latest(self, site: Hashable, template: str) -> str:
        """Return what a template that `of` returned earlier has become; itself if it was not generalised.

        Args:
            site: its call site.
            template: the template.
        """
        words, separators = _split(template)
        family = self._families.get((site, separators))
        found = family.find(words) if family else None
        return found.text if found else template

    def pop_merged(self) -> list[Merged]:
        """Return which templates became part of others since the last call, in that order.

        The last `size` of them are kept.
        """
        merged, self._merged = self._merged, []
        return merged

    def pop_learned(self) -> list[Learned]:
        """Return what has changed since the last call: all of it, applied in order, is what is known.

        Of what nobody asks for, the last `2 * size` changes are kept.
        """
        learned, self._learned = self._learned, {}
        return [Learned(*key, variables) for key, variables in learned.items()]

    def load(self, learned: Iterable[Sequence[Any]]) -> None:
        """Know what `pop_learned` returned, and nothing else; what cannot be read is skipped.

        Args:
            learned: its values, or what JSON makes of them.
        """
        self._texts.clear()
        self._families.clear()
        self._count = 0
        for entry in learned:
            try:
                site, text, variables = entry
                (words, separators), places = _split(text), tuple(map(int, variables))
                site = _hashable(site)
                hash(site)
            except (TypeError, ValueError):
                continue
            if all(0 <= place < len(words) for place in places):
                family = self._family(site, separators)
                if words not in family.templates:
                    family.restore(words, places)
                    self._count += 1
        self._forget()
        self._learned.clear()

    def learn_again(self) -> None:
        """Let the next `pop_learned` return all that is known."""
        for family in self._families.values():
            for template in family.templates.values():
                self._note(template)

    def _learn(self, site: Hashable, masked: str) -> _Template:
        words, separators = _split(masked)
        family = self._family(site, separators)
        template = family.find(words)
        if template is None:
            before = len(family.templates)
            template, replaced = family.learn(words)
            self._count += len(family.templates) - before
            for other in replaced:
                self._merged.append(Merged(site, other.text, template.text))
                self._note(other, is_gone=True)
            del self._merged[: -self._size]
            self._note(template)
            self._forget()
        return template

    def _note(self, template: _Template, *, is_gone: bool = False) -> None:
        key = (template.family.site, template.text)
        self._learned.pop(key, None)
        self._learned[key] = None if is_gone else template.variables
        if len(self._learned) > 2 * self._size:
            del self._learned[next(iter(self._learned))]

    def _family(self, site: Hashable, separators: _Words) -> _Family:
        family = self._families.get((site, separators))
        if family is None:
            family = self._families[site, separators] = _Family(site, separators)
        else:
            self._touch(family)
        return family

    def _touch(self, family: _Family) -> None:
        key = (family.site, family.separators)
        if key in self._families:
            self._families.move_to_end(key)

    def _forget(self) -> None:
        """Forget the families seen least recently, and of one that is too large alone its first templates."""
        while self._count > self._size:
            family = next(iter(self._families.values()))
            if len(self._families) > 1:
                self._families.popitem(last=False)
                gone = list(family.templates.values())
            else:
                gone = [next(iter(family.templates.values()))]
                family.forget(gone[0])
            self._count -= len(gone)
            for template in gone:
                self._note(template, is_gone=True)


def _split(text: str) -> tuple[_Words, _Words]:
    """Return the words of a masked text, and what stands between them. What follows the last place is one word."""
    parts = _SEPARATORS.split(text, maxsplit=_MOST_WORDS)
    return tuple(map(_whole, parts[::2])), tuple(parts[1::2])


def _whole(word: str) -> str:
    """Return `MASK` for a name with a variable part, such as `worker-…`; a path keeps what is around it."""
    return MASK if MASK in word and "/" not in word and "\\" not in word else word


def _hashable(site: Any) -> Any:
    return tuple(map(_hashable, site)) if isinstance(site, list) else site
