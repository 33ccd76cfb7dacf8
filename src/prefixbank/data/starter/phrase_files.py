"""The words of the starter suite, read from `phrases/<task>.yaml`.

A file has these parts:

* `labels`, and `graded: true` if they are scores;
* `lexicon`: the words of each slot. Words with several forms are a table: `forms` names its
  columns, `rows` holds the words;
* `scopes`: further lexicons by name, one of which is drawn for each row;
* `texts`: named texts, or lists of texts, for the frames of pairs;
* `frames` and `test_frames`: texts with slots for each label, or under `*` for every label. A pair
  is `[first, second]`. A single word is a name from `texts`; a list there means all of its texts.

YAML parses a bare `no` as false and `5` as a number; words that are not strings are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import yaml
from annotated_types import Len
from pydantic import BaseModel

from prefixbank.config.schema import STRICT
from prefixbank.data.starter.grammar import PAIR, Entry, Lexicon, Phrases
from prefixbank.errors import DataError

FOLDER = Path(__file__).with_name("phrases")
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C loader is seven times faster; PyYAML has it if it was built with libyaml."""


class Table(BaseModel):
    """Words with several forms."""

    model_config = STRICT

    forms: list[str]
    rows: list[list[str]]

    def entries(self) -> list[Entry]:
        """Return an entry for each row; raise ValueError unless it has a word for each form."""
        return [dict(zip(self.forms, row, strict=True)) for row in self.rows]


Words = dict[str, list[str] | Table]
Pair = Annotated[list[str], Len(2, 2)]
Frames = dict[str, list[str | Pair]]


class PhraseFile(BaseModel):
    """The content of a file."""

    model_config = STRICT

    labels: list[str]
    graded: bool = False
    lexicon: Words
    scopes: dict[str, Words] = {}
    texts: dict[str, str | list[str]] = {}
    frames: Frames
    test_frames: Frames


def load_phrases(name: str) -> Phrases:
    """Return the phrases of one starter task.

    Raises:
        DataError: its file does not have these parts.
    """
    path = FOLDER / f"{name}.yaml"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
        return _phrases(PhraseFile.model_validate(content))
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} is not a file of phrases: {reason}",
            expected="the parts that prefixbank.data.starter.phrase_files describes",
            fix="mend the file, or install prefixbank again",
        ) from error


def _phrases(file: PhraseFile) -> Phrases:
    return Phrases(
        labels=tuple(file.labels),
        frames=_frames(file.frames, file),
        test_frames=_frames(file.test_frames, file),
        lexicon=_lexicon(file.lexicon),
        scopes=tuple(map(_lexicon, file.scopes.values())) or ({},),
        graded=file.graded,
    )


def _lexicon(words: Words) -> Lexicon:
    return {slot: one.entries() if isinstance(one, Table) else one for slot, one in words.items()}


def _frames(frames: Frames, file: PhraseFile) -> Mapping[str, Sequence[str]]:
    """Return the frames of each label, with names replaced by texts and pairs joined."""
    unknown = frames.keys() - {*file.labels, "*"}
    if unknown:
        raise ValueError(f"frames of {', '.join(sorted(unknown))}, which is not a label")
    return {
        label: [text for frame in group for text in _written_out(frame, file.texts)]
        for label, group in frames.items()
    }


def _written_out(frame: str | Pair, texts: Mapping[str, str | list[str]]) -> list[str]:
    if isinstance(frame, str):
        return [frame]
    return [PAIR.join(pair) for pair in product(*(_named(part, texts) for part in frame))]


def _named(part: str, texts: Mapping[str, str | list[str]]) -> list[str]:
    """Return the texts that `part` names, or `part` itself if it is a text."""
    if " " in part:
        return [part]
    if part not in texts:
        raise ValueError(f"no text has the name '{part}'")
    named = texts[part]
    return [named] if isinstance(named, str) else named
