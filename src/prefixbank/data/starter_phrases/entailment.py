"""Does the first sentence make the second one certain, rule it out, or neither? Quantifiers, negation, kinds of things, order, comparison."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases, table

LEXICON = {
    "name": ("Alma", "Bruno", "Carla", "Dmitri", "Edith", "Farid", "Greta", "Hugo", "Irene", "Jamal", "Klara", "Luis", "Mona", "Nils"),
    "group": ("pilots", "nurses", "dancers", "farmers", "students", "plumbers", "tourists", "clerks", "poets", "drivers", "cooks", "guards"),
    "where": ("at the station", "in the tower", "on the north bank", "in the waiting room", "from the next village", "on the night shift", "at the back", "in the tent"),
    "act": table(
        "base/past",
        "sign the petition/signed the petition", "leave before noon/left before noon", "sing along/sang along", "pay in cash/paid in cash",
        "wear a helmet/wore a helmet", "miss the signal/missed the signal", "vote for the plan/voted for the plan", "sleep in the hall/slept in the hall",
        "swim across the bay/swam across the bay", "ask for a map/asked for a map", "drink the water/drank the water", "call a lawyer/called a lawyer",
        "bring an umbrella/brought an umbrella", "take the lift/took the lift",
    ),
    "kind": table(
        "one/all/any",
        "violin/violins/musical instrument", "poodle/poodles/dog", "carrot/carrots/vegetable", "hammer/hammers/tool", "oak/oaks/tree", "sofa/sofas/piece of furniture",
        "lorry/lorries/vehicle", "salmon/salmon/fish", "ring/rings/piece of jewellery", "jacket/jackets/garment", "pear/pears/fruit", "sparrow/sparrows/bird",
        "novel/novels/book", "rifle/rifles/weapon",
    ),
    "got": table("past/base", "bought/buy", "photographed/photograph", "drew/draw", "inherited/inherit", "sold/sell", "noticed/notice", "described/describe"),
    "day": ("on Monday", "last week", "that morning", "in March", "during the strike", "on her birthday"),
    "more": table("than/opposite", "taller/shorter", "older/younger", "richer/poorer", "faster/slower", "heavier/lighter", "louder/quieter"),
    "low": ("two", "three", "four"),
    "high": ("nine", "twelve", "twenty"),
}  # fmt: skip

ALL = "all of the {group} {where} {act.past}. || "
SOME = "some of the {group} {where} {act.past}. || "
NONE = "none of the {group} {where} {act.past}. || "
KIND = "{name} {got.past} a {kind.one} {day}. || "
NO_KIND = "{name} did not {got.base} a single {kind.any} {day}. || "
ANY_KIND = "{name} {got.past} a {kind.any} {day}. || "
ORDER = "{name} {act.past} before {name2} {act2.past}. || "
MORE = "{name} is {more.than} than {name2}. || "
BOTH = "both {name} and {name2} {act.past} {day}. || "
EITHER = "either {name} or {name2} {act.past} {day}, but not both of them. || "
NEITHER = "neither {name} nor {name2} {act.past} {day}. || "
LEAST = "at least {high} of the {group} {where} {act.past}. || "
MOST = "at most {low} of the {group} {where} {act.past}. || "
MANAGED = "{name} managed to {act.base} {day}. || "
FAILED = "{name} failed to {act.base} {day}. || "
HOPED = "{name} hoped to {act.base} {day}. || "

ENTAILED = (
    ALL + "some of the {group} {where} {act.past}.", ALL + "there was no one among the {group} {where} who did not {act.base}.",
    SOME + "it is not true that none of the {group} {where} {act.past}.", SOME + "at least one of the {group} {where} {act.past}.",
    NONE + "not one of the {group} {where} {act.past}.", NONE + "it is not true that some of the {group} {where} {act.past}.",
    KIND + "{name} {got.past} a {kind.any} {day}.", KIND + "{name} {got.past} something {day}.", NO_KIND + "{name} did not {got.base} a {kind.one} {day}.",
    ANY_KIND + "it is not true that {name} {got.past} nothing {day}.", ORDER + "{name2} {act2.past} after {name} {act.past}.",
    MORE + "{name2} is {more.opposite} than {name}.", MORE + "{name2} is not {more.than} than {name}.", BOTH + "{name2} {act.past} {day}.",
    EITHER + "one of the two, {name} or {name2}, did not {act.base} {day}.", NEITHER + "{name2} did not {act.base} {day}.",
    LEAST + "more than {low} of the {group} {where} {act.past}.", MOST + "fewer than {high} of the {group} {where} {act.past}.",
    MANAGED + "{name} {act.past} {day}.", FAILED + "{name} did not {act.base} {day}.", HOPED + "{name} had a wish to {act.base} {day}.",
)  # fmt: skip
RULED_OUT = (
    ALL + "not all of the {group} {where} {act.past}.", ALL + "there was someone among the {group} {where} who did not {act.base}.",
    SOME + "it is true that none of the {group} {where} {act.past}.", SOME + "not one of the {group} {where} {act.past}.",
    NONE + "at least one of the {group} {where} {act.past}.", NONE + "it is true that some of the {group} {where} {act.past}.",
    KIND + "{name} did not {got.base} a single {kind.any} {day}.", KIND + "{name} {got.past} nothing {day}.", NO_KIND + "{name} {got.past} a {kind.one} {day}.",
    ANY_KIND + "it is true that {name} {got.past} nothing {day}.", ORDER + "{name2} {act2.past} before {name} {act.past}.",
    MORE + "{name} is {more.opposite} than {name2}.", MORE + "{name2} is {more.than} than {name}.", BOTH + "{name2} did not {act.base} {day}.",
    EITHER + "both of the two, {name} and {name2}, {act.past} {day}.", NEITHER + "{name2} {act.past} {day}.",
    LEAST + "fewer than {low} of the {group} {where} {act.past}.", MOST + "more than {high} of the {group} {where} {act.past}.",
    MANAGED + "{name} did not {act.base} {day}.", FAILED + "{name} {act.past} {day}.", HOPED + "{name} had no wish to {act.base} {day}.",
)  # fmt: skip
OPEN = (
    ALL + "some of the {group2} {where} {act.past}.", ALL + "all of the {group} {where} {act2.past}.",
    SOME + "not all of the {group} {where} {act2.past}.", SOME + "all of the {group} {where} {act.past}.",
    NONE + "not one of the {group2} {where} {act.past}.", NONE + "it is true that some of the {group} {where} {act2.past}.",
    KIND + "{name2} {got.past} a {kind.any} {day}.", KIND + "{name} did not {got.base} a {kind2.one} {day}.", NO_KIND + "{name} did not {got.base} a {kind2.one} {day}.",
    ANY_KIND + "{name} {got.past} a {kind.one} {day}.", ORDER + "{name2} {act2.past} because {name} {act.past}.",
    MORE + "{name2} is {more2.opposite} than {name}.", MORE + "{name2} is not {more2.than} than {name}.", BOTH + "{name3} {act.past} {day}.",
    EITHER + "{name} did not {act.base} {day}.", EITHER + "{name2} {act.past} {day}.", NEITHER + "{name3} did not {act.base} {day}.",
    LEAST + "all of the {group} {where} {act.past}.", MOST + "none of the {group} {where} {act.past}.",
    MANAGED + "{name2} {act.past} {day}.", FAILED + "{name2} did not {act.base} {day}.", HOPED + "{name} {act.past} {day}.", HOPED + "{name} did not {act.base} {day}.",
)  # fmt: skip
EVERY = "without exception, the {group} {where} {act.past}. || "
LATER = "{name} {act.past} only after {name2} {act2.past}. || "

TEST_ENTAILED = (
    EVERY + "there were {group} {where} who {act.past}.", EVERY + "it is not true that some of the {group} {where} did not {act.base}.",
    LATER + "{name2} {act2.past} before {name} {act.past}.", NO_KIND + "whatever {name} {got.past} {day}, it was not a {kind.one}.",
    NEITHER + "it is not true that {name} {act.past} {day}.", BOTH + "at least one of {name} and {name2} {act.past} {day}.",
)  # fmt: skip
TEST_RULED_OUT = (
    EVERY + "there were {group} {where} who did not {act.base}.", EVERY + "it is true that some of the {group} {where} did not {act.base}.",
    LATER + "{name} {act.past} before {name2} {act2.past}.", NO_KIND + "among the things {name} {got.past} {day} was a {kind.one}.",
    NEITHER + "it is true that {name} {act.past} {day}.", BOTH + "at most one of {name} and {name2} {act.past} {day}.",
)  # fmt: skip
TEST_OPEN = (
    EVERY + "there were {group2} {where} who {act.past}.", EVERY + "it is not true that some of the {group2} {where} did not {act.base}.",
    LATER + "{name2} {act2.past} because {name} {act.past}.", NO_KIND + "whatever {name} {got.past} {day}, it was not a {kind2.one}.",
    NEITHER + "it is not true that {name3} {act.past} {day}.", BOTH + "at least one of {name3} and {name4} {act.past} {day}.",
)  # fmt: skip

ENTAILMENT = Phrases(
    labels=("contradiction", "entailment", "neutral"),
    frames={"contradiction": RULED_OUT, "entailment": ENTAILED, "neutral": OPEN},
    test_frames={"contradiction": TEST_RULED_OUT, "entailment": TEST_ENTAILED, "neutral": TEST_OPEN},
    lexicon=LEXICON,
)
