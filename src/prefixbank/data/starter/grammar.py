"""A small phrase grammar: frames with slots, words that fill them, and one seeded draw.

A frame is a text with slots in braces. `{place}` draws an entry of the lexicon `place`; the same
slot again repeats it, `{place2}` draws another one. `{verb.past}` takes one form of an entry;
without a form it is `word`, and from the second time on `again` if there is one. `{clause=}` draws
from `clause_<label of the row>`, `{clause!}` from `clause_<some other label>`: so one frame serves
every label, and words alone say little about the label. ` || ` parts the two texts of a pair.
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
    """Everything that one starter task is made of.

    Args:
        labels: label names in order; of a graded task the scores, written as numbers.
        frames: for each label its frames; the key `*` holds frames that serve every label.
        test_frames: the same, for frames that occur in the test split alone.
        lexicon: entries for each slot name.
        scopes: further lexicons, one of which is drawn for each row: words that belong together.
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
    """One example: `pair` is empty for a single text, `label` counts from 0, `frame` made it."""

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
        """Return the frame with every slot filled, slots inside entries too."""
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
    """Return one item. Only `random()` is used: its sequence is the same in every Python."""
    return items[int(rng.random() * len(items))]


def polish(text: str) -> str:
    """Return the text with `a` made `an` where it must be, and capitals where sentences begin."""
    return SENTENCE.sub(lambda found: found[1] + found[2].upper(), ARTICLE.sub(r"\1n ", text))


def compose(phrases: Phrases, rng: random.Random, label: int, *, held_out: bool) -> Row:
    """Return one row of the given label, from a frame kept for the test split if `held_out`."""
    name = phrases.labels[label]
    frames = phrases.test_frames if held_out else phrases.frames
    frame = pick(rng, [*frames.get("*", ()), *frames.get(name, ())])
    other = pick(rng, [each for each in phrases.labels if each != name])
    lexicon = {**phrases.lexicon, **pick(rng, phrases.scopes)}
    filled = Draw(rng=rng, lexicon=lexicon, roles={"=": name, "!": other}).fill(frame)
    text, _, pair = filled.partition(PAIR)
    return Row(text=polish(text), pair=polish(pair), label=label, frame=frame)
