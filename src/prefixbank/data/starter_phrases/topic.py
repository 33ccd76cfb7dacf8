"""What a text is mainly about: law, money, music or sport. A second field is mentioned and set aside, and many words belong to several fields."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases

LEXICON = {
    "person_law": ("barrister", "judge", "court clerk", "prosecutor", "solicitor", "notary"),
    "person_money": ("banker", "accountant", "bond trader", "auditor", "insurance broker", "fund manager"),
    "person_music": ("cellist", "band leader", "organist", "choir master", "jazz drummer", "opera singer"),
    "person_sport": ("goalkeeper", "cricket captain", "sprinter", "boxing trainer", "tennis umpire", "rowing coach"),
    "np_law": (
        "the bar and its unwritten rules", "an appeal that dragged on", "the sentence that nobody foresaw", "a charge that did not stick",
        "the trial and its missing witness", "a case built on a single letter", "the bench and its oldest member", "the penalty for a broken promise",
        "a brief of forty pages", "the right of way across a meadow",
    ),
    "np_money": (
        "a bond that nobody wanted", "the interest on a long loan", "shares in a shipping line", "the charge for an empty account", "a rise in the price of grain",
        "the record losses of the spring", "a balance that would not balance", "the note that the bank called in", "the yield of a quiet year",
        "a return that was filed too late",
    ),
    "np_music": (
        "a score in five sharps", "the bars before the second theme", "a record that was cut in one take", "the key of the slow movement",
        "a tie across two bars", "the pitch of an old bell", "a chord that never resolves", "the rests in the second part", "a band with two basses",
        "the scale on which the tune is built",
    ),
    "np_sport": (
        "a score of two goals to one", "the pitch after a night of rain", "a record that stood for decades", "the bench and its tired substitutes",
        "a match that went to extra time", "the trial for the second eleven", "a penalty in the last minute", "the court with the crooked net",
        "an appeal for a catch behind", "the relay and its dropped baton",
    ),
    "ing_law": ("drafting wills", "pleading before a jury", "taking statements from witnesses", "contesting a verdict", "reading out a sentence in court"),
    "ing_money": ("pricing bonds", "moving savings between accounts", "writing off bad loans", "chasing unpaid interest", "setting the terms of mortgages"),
    "ing_music": ("tuning a harpsichord", "rehearsing a quartet", "copying out parts for the brass", "practising scales", "arranging songs for a choir"),
    "ing_sport": ("training for the hurdles", "defending a corner", "practising serves", "coaching the under-twelves", "timing laps at the track"),
    "occasion": ("the talk", "the article", "the programme", "the meeting", "the letter", "the podcast", "the chapter", "the conversation"),
    "place": ("in the village hall", "on the night train", "over a late supper", "at the reunion", "in the back room", "on the ferry"),
    "name": ("Ines", "Tobias", "Marguerite", "Anand", "Leila", "Piotr", "Hannah", "Oskar"),
}  # fmt: skip

FRAMES = (
    "the former {person!} now spends the day {ing=}.",
    "{name}, once a {person!}, has taken to {ing=}.",
    "before becoming a {person=}, {name} had earned a living {ing!}.",
    "{occasion} opens with {np!} but is really about {np=}.",
    "{occasion} touched on {np!}, then turned for good to {np=}.",
    "instead of {np!}, {occasion} dealt with {np=}.",
    "{np=}, rather than {np!}, filled {occasion} from start to finish.",
    "what began as a question about {np!} became an hour on {np=}.",
    "{name} was asked about {np!}, but would talk of nothing except {np=}.",
    "although a {person!} chaired {occasion}, it was all about {np=}.",
    "although {occasion} had been announced as one on {np!}, it was devoted to {np=}.",
    "{place}, a {person!} told us about {ing=}.",
    "a {person!} and {name} talked {place}, and not about {np!}: their subject was {np=}.",
    "{occasion} was not about {np!}; it was about {np=}.",
    "{occasion} was about {np=}; it was not about {np!}.",
    "{name} gave up {ing!} in order to go on {ing=}.",
    "{name} never cared for {ing!}; what counted was {ing=}.",
    "{np=} took up {occasion}, and {np!} went unmentioned.",
    "of {np!} there was not a word in {occasion}, of {np=} there were thousands.",
    "{name} explained {np=} by likening it to {np!}.",
    "forget {np!}: {occasion} concerns {np=}.",
    "to the {person!} in the front row, {occasion} on {np=} must have been a surprise.",
)
TEST_FRAMES = (
    "you will look in vain for {np!} in {occasion}, for its theme is {np=}.",
    "{name} left off {ing!} years ago and lives for {ing=}.",
    "despite its title, which promises {np!}, {occasion} examines {np=}.",
    "a {person!} might have been bored, since {occasion} hardly strayed from {np=}.",
    "for every minute on {np!}, {occasion} spent twenty on {np=}.",
    "the {person!} kept silent while the rest of us discussed {np=}.",
)

TOPIC = Phrases(labels=("law", "money", "music", "sport"), frames={"*": FRAMES}, test_frames={"*": TEST_FRAMES}, lexicon=LEXICON)
