"""Does the sentence answer the question? It does if it tells the kind of thing that is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefixbank.data.starter_phrases.grammar import Phrases, table

LEXICON = {
    "deed": table(
        "base/past/part",
        "repair/repaired/repaired", "paint/painted/painted", "hide/hid/hidden", "move/moved/moved", "draw/drew/drawn", "polish/polished/polished", "weigh/weighed/weighed",
        "gild/gilded/gilded", "clean/cleaned/cleaned", "restore/restored/restored", "measure/measured/measured", "pack/packed/packed", "wrap/wrapped/wrapped",
        "copy/copied/copied",
    ),
    "of": (
        "the old clock", "the red piano", "the silver key", "the church bell", "the stone lion", "the copper box", "the brass compass", "the walnut desk", "the glass globe",
        "the carved chair", "the ship's wheel", "the marble bust", "the ivory chess set", "the longest ladder", "the green lantern", "the miller's cart", "the tin whistle",
        "the spare anchor",
    ),
    "person": (
        "Marta the carpenter", "old Mr Silva", "the miller's daughter", "a sailor named Jonas", "the village doctor", "Ingrid from the bakery", "two young monks",
        "the widow next door", "a clerk called Dario", "the lighthouse keeper",
    ),
    "place": (
        "in a barn outside Lyon", "near the harbour wall", "behind the mill", "on the island of Texel", "at the foot of the hill", "beside the canal",
        "in the upper valley", "at the edge of the marsh", "in the cellar of the inn", "under the railway arch",
    ),
    "time": (
        "in the spring of 1994", "on a Tuesday", "at dawn", "shortly before Easter", "in the last week of June", "a year after the war", "towards midnight",
        "in 1907", "during the long winter", "the day after the fair",
    ),
    "reason": (
        "because of a bet", "because of the storms", "out of pity", "for fear of the council", "to please a guest", "out of sheer boredom", "to settle a debt",
        "because of a promise", "for the sake of peace", "to make room for the horses",
    ),
    "manner": (
        "with borrowed tools", "by means of ropes and pulleys", "with bare hands", "by following an old plan", "with the aid of a mirror", "one piece at a time",
        "by a clever trick", "with the simplest of means", "by taking turns", "by lamplight and touch",
    ),
    "source": (
        "as far as anyone knows", "according to the parish records", "if the old diaries are right", "so the story goes", "as the archive shows", "by all accounts",
        "in the words of the chronicle", "as was reported later",
    ),
    "count": (
        "in the presence of nine people", "before a crowd of two hundred", "watched by thirty neighbours", "in front of four witnesses", "with sixty people looking on",
        "watched by a dozen children", "before an audience of eleven", "with three guests looking on",
    ),
}  # fmt: skip

QUESTIONS = {
    "person": ("who {deed.past} {of}?", "by whom was {of} {deed.part}?", "what was the name or trade of the one who {deed.past} {of}?"),
    "place": ("where was {of} {deed.part}?", "in what spot was {of} {deed.part}?", "what was the scene when {of} was {deed.part}?"),
    "time": ("when was {of} {deed.part}?", "on what date or at what hour was {of} {deed.part}?", "how long ago was {of} {deed.part}?"),
    "reason": ("why was {of} {deed.part}?", "for what purpose was {of} {deed.part}?", "what made anyone {deed.base} {of}?"),
    "manner": ("how was {of} {deed.part}?", "by what means was {of} {deed.part}?", "what did it take to {deed.base} {of}?"),
    "count": ("how many people saw {of} being {deed.part}?", "what was the number of those present when {of} was {deed.part}?", "how big was the audience when {of} was {deed.part}?"),
}  # fmt: skip
TEST_QUESTIONS = {
    "person": ("whose doing was it that {of} was {deed.part}?",),
    "place": ("what was the place in which {of} was {deed.part}?",),
    "time": ("what was the day or the year in which {of} was {deed.part}?",),
    "reason": ("what was the cause or the aim when {of} was {deed.part}?",),
    "manner": ("what was the method by which {of} was {deed.part}?",),
    "count": ("how large was the company that saw {of} being {deed.part}?",),
}  # fmt: skip
MISTAKEN = {"person": "reason", "reason": "person", "place": "time", "time": "place", "manner": "count", "count": "manner"}
"""What a sentence tells instead when it does not answer."""
TOLD = {
    "person": (
        "{of} was {deed.part} by {person}.", "{source}, it was {person} who {deed.past} {of}.",
        "the name of the one who did it is on record: it was done by {person}.",
    ),
    "place": (
        "{of} was {deed.part} {place}.", "{source}, {of} was {deed.part} {place}.", "the spot is on record: it was done {place}.",
    ),
    "time": (
        "{of} was {deed.part} {time}.", "{source}, {of} was {deed.part} {time}.", "the date or the hour is on record: it was done {time}.",
    ),
    "reason": (
        "{of} was {deed.part} {reason}.", "{source}, {of} was {deed.part} {reason}.", "the purpose is on record: it was done {reason}.",
    ),
    "manner": (
        "{of} was {deed.part} {manner}.", "{source}, {of} was {deed.part} {manner}.", "the means are on record: it was done {manner}.",
    ),
    "count": (
        "{of} was {deed.part} {count}.", "{source}, {of} was {deed.part} {count}.", "the number of those present is on record: it was done {count}.",
    ),
}  # fmt: skip


def _frames(questions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the frames of both labels: in either, each question and each kind of sentence is as frequent as in the other."""
    found: dict[str, list[str]] = {"yes": [], "no": []}
    for asked, question in ((asked, wording) for asked, wordings in questions.items() for wording in wordings):
        found["yes"] += [f"{question} || {sentence}" for sentence in TOLD[asked]]
        found["no"] += [f"{question} || {sentence}" for sentence in TOLD[MISTAKEN[asked]]]
    return found


ANSWER = Phrases(
    labels=("no", "yes"),
    frames=_frames(QUESTIONS),
    test_frames=_frames(TEST_QUESTIONS),
    lexicon=LEXICON,
)
