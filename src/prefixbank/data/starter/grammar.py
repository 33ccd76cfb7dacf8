"""A small phrase grammar: frames with slots, words that fill them, and one seeded draw.

A frame is a text with slots in braces. `{place}` draws an entry of the lexicon `place`; the same
slot again repeats the entry, and `{place2}` draws another one. `{verb.past}` is a form of an entry;
without a form it is `word`, and from the second time on `again` if there is one. `{clause=}` draws
from `clause_<label of the row>`, `{clause!}` from `clause_<some other label>`. So one frame serves
every label, and words alone reveal little about the label. ` || ` separates the texts of a pair.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Entry = str | Mapping[str, str]
Lexicon = Mapping[str, Sequence[Entry]]
Item = TypeVar("Item")

SLOT = re.compile(r"\{([a-z_]+)([=!]?)(\d?)(?:\.([a-z]+))?\}")
ARTICLE = re.compile(
    r"\b([Aa]) (?=(?:[aeio]|u(?!ni(?:[^mn]|$)|s[eu]|t[ei]|k))|(?:hour|hono|hones|heir))"
    r"(?!one\b|once\b|eu)"
)
SENTENCE = re.compile(r"(^|[.?!] )([a-z])")
PAIR = " || "


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """Everything that a starter task is generated from.

    Args:
        labels: label names in order; for a graded task the scores, written as numbers.
        frames: the frames of each label; the key `*` holds frames for every label.
        test_frames: the same, for frames that occur in the test split only.
        lexicon: entries for each slot name.
        scopes: further lexicons of words that belong together; one is drawn for each row.
        graded: whether labels are scores.
    """

    labels: tuple[str, ...]
    frames: Mapping[str, Sequence[str]]
    test_frames: Mapping[str, Sequence[str]]
    lexicon: Lexicon
    scopes: Sequence[Lexicon] = ({},)
    graded: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """An example; `pair` is empty for a single text, `label` counts from 0."""

    text: str
    pair: str
    label: int
    frame: str


@dataclass(kw_only=True)
class Draw:
    """The words drawn so far for one row."""

    rng: random.Random
    lexicon: Lexicon
    roles: Mapping[str, str]
    bound: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def fill(self, frame: str) -> str:
        """Return the frame with every slot filled, also slots inside entries."""
        return SLOT.sub(lambda slot: self.fill(self._word(*slot.groups())), frame)

    def _word(self, name: str, role: str, index: str, form: str | None) -> str:
        key = f"{name}_{self.roles[role]}" if role else name
        again = (key, index) in self.bound
        if not again:
            taken = [entry for (other, _), entry in self.bound.items() if other == key]
            free = [entry for entry in self.lexicon[key] if entry not in taken]
            self.bound[key, index] = pick(self.rng, free)
        entry = self.bound[key, index]
        if isinstance(entry, str):
            return entry
        return entry[form or ("again" if again and "again" in entry else "word")]


def pick(rng: random.Random, items: Sequence[Item]) -> Item:
    """Return a random item. Only `random()` is used, whose sequence is the same in every Python."""
    return items[int(rng.random() * len(items))]


def polish(text: str) -> str:
    """Return the text with `an` for `a` before vowels, and a capital at the start of sentences."""
    return SENTENCE.sub(lambda match: match[1] + match[2].upper(), ARTICLE.sub(r"\1n ", text))


def compose(phrases: Phrases, rng: random.Random, label: int, *, held_out: bool) -> Row:
    """Return a row with this label; its frame is one of the test split only if `held_out`."""
    name = phrases.labels[label]
    frames = phrases.test_frames if held_out else phrases.frames
    frame = pick(rng, [*frames.get("*", ()), *frames.get(name, ())])
    other = pick(rng, [each for each in phrases.labels if each != name])
    lexicon = {**phrases.lexicon, **pick(rng, phrases.scopes)}
    filled = Draw(rng=rng, lexicon=lexicon, roles={"=": name, "!": other}).fill(frame)
    text, _, pair = filled.partition(PAIR)
    return Row(text=polish(text), pair=polish(pair), label=label, frame=frame)
