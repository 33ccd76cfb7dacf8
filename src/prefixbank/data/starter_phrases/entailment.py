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
        "wear a helmet/wore a helmet", "cross the border/crossed the border", "vote for the plan/voted for the plan", "sleep in the hall/slept in the hall",
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
    "day": ("on Monday", "last week", "that morning", "in March", "during the strike", "on that holiday"),
    "more": table("than/opposite", "taller/shorter", "older/younger", "richer/poorer", "faster/slower", "heavier/lighter", "louder/quieter"),
}  # fmt: skip

ALL = "all of the {group} {where} {act.past}. || "
SOME = "some of the {group} {where} {act.past}. || "
NONE = "none of the {group} {where} {act.past}. || "
KIND = "{name} {got.past} a {kind.one} {day}. || "
NO_KIND = "{name} did not {got.base} a single {kind.any} {day}. || "
ORDER = "{name} {act.past} before {name2} {act2.past}. || "
MORE = "{name} is {more.than} than {name2}. || "
BOTH = "both {name} and {name2} {act.past} {day}. || "
NEITHER = "neither {name} nor {name2} {act.past} {day}. || "
MANAGED = "{name} managed to {act.base} {day}. || "
FAILED = "{name} failed to {act.base} {day}. || "
HOPED = "{name} hoped to {act.base} {day}. || "

ENTAILED = (
    ALL + "some of the {group} {where} {act.past}.", ALL + "there was no one among the {group} {where} who did not {act.base}.",
    SOME + "it is not true that none of the {group} {where} {act.past}.", SOME + "at least one of the {group} {where} {act.past}.",
    NONE + "not one of the {group} {where} {act.past}.", NONE + "it is not true that some of the {group} {where} {act.past}.",
    KIND + "{name} {got.past} a {kind.any} {day}.", KIND + "{name} {got.past} something {day}.", NO_KIND + "{name} did not {got.base} a {kind.one} {day}.",
    ORDER + "{name2} {act2.past} after {name} {act.past}.",
    MORE + "{name2} is {more.opposite} than {name}.", MORE + "{name2} is not {more.than} than {name}.", BOTH + "{name2} {act.past} {day}.",
    NEITHER + "{name2} did not {act.base} {day}.",
    MANAGED + "{name} {act.past} {day}.", FAILED + "{name} did not {act.base} {day}.", HOPED + "{name} had a wish to {act.base} {day}.",
)  # fmt: skip
RULED_OUT = (
    ALL + "not all of the {group} {where} {act.past}.", ALL + "there was someone among the {group} {where} who did not {act.base}.",
    SOME + "it is true that none of the {group} {where} {act.past}.", SOME + "not one of the {group} {where} {act.past}.",
    NONE + "at least one of the {group} {where} {act.past}.", NONE + "it is true that some of the {group} {where} {act.past}.",
    KIND + "{name} did not {got.base} a single {kind.any} {day}.", KIND + "{name} {got.past} nothing {day}.", NO_KIND + "{name} {got.past} a {kind.one} {day}.",
    ORDER + "{name2} {act2.past} before {name} {act.past}.",
    MORE + "{name} is {more.opposite} than {name2}.", MORE + "{name2} is {more.than} than {name}.", BOTH + "{name2} did not {act.base} {day}.",
    NEITHER + "{name2} {act.past} {day}.",
    MANAGED + "{name} did not {act.base} {day}.", FAILED + "{name} {act.past} {day}.", HOPED + "{name} had no wish to {act.base} {day}.",
)  # fmt: skip
OPEN = (
    ALL + "some of the {group2} {where} {act.past}.", ALL + "all of the {group} {where} {act2.past}.",
    SOME + "not all of the {group} {where} {act2.past}.", SOME + "all of the {group} {where} {act.past}.",
    NONE + "not one of the {group2} {where} {act.past}.", NONE + "it is true that some of the {group} {where} {act2.past}.",
    KIND + "{name2} {got.past} a {kind.any} {day}.", KIND + "{name} did not {got.base} a {kind2.one} {day}.", NO_KIND + "{name} did not {got.base} a {kind2.one} {day}.",
    ORDER + "{name2} {act2.past} because {name} {act.past}.",
    MORE + "{name2} is {more2.opposite} than {name}.", MORE + "{name2} is not {more2.than} than {name}.", BOTH + "{name3} {act.past} {day}.",
    NEITHER + "{name3} did not {act.base} {day}.",
    MANAGED + "{name2} {act.past} {day}.", FAILED + "{name2} did not {act.base} {day}.", HOPED + "{name} {act.past} {day}.", HOPED + "{name} did not {act.base} {day}.",
)  # fmt: skip
EVERY = "every one of the {group} {where} {act.past}. || "
NOBODY = "nobody among the {group} {where} {act.past}. || "
LATER = "{name} {act.past}, and only later {name2} {act2.past}. || "
ALIKE = "{name} and {name2} alike {act.past} {day}. || "
REFUSED = "{name} refused to {act.base} {day}. || "
SUCCEEDED = "{name} found a way to {act.base} {day}. || "
OWNED = "what {name} {got.past} {day} was a {kind.one}. || "

TEST_ENTAILED = (
    EVERY + "some of the {group} {where} {act.past}.", NOBODY + "not one of the {group} {where} {act.past}.",
    LATER + "{name2} {act2.past} after {name} {act.past}.", ALIKE + "{name2} {act.past} {day}.", REFUSED + "{name} did not {act.base} {day}.",
    SUCCEEDED + "{name} {act.past} {day}.", OWNED + "{name} {got.past} a {kind.any} {day}.",
)  # fmt: skip
TEST_RULED_OUT = (
    EVERY + "not all of the {group} {where} {act.past}.", NOBODY + "at least one of the {group} {where} {act.past}.",
    LATER + "{name2} {act2.past} before {name} {act.past}.", ALIKE + "{name2} did not {act.base} {day}.", REFUSED + "{name} {act.past} {day}.",
    SUCCEEDED + "{name} did not {act.base} {day}.", OWNED + "{name} did not {got.base} a single {kind.any} {day}.",
)  # fmt: skip
TEST_OPEN = (
    EVERY + "some of the {group2} {where} {act.past}.", NOBODY + "not one of the {group2} {where} {act.past}.",
    LATER + "{name2} {act2.past} because {name} {act.past}.", ALIKE + "{name3} {act.past} {day}.", REFUSED + "{name2} did not {act.base} {day}.",
    SUCCEEDED + "{name2} {act.past} {day}.", OWNED + "{name2} {got.past} a {kind.any} {day}.",
)  # fmt: skip

ENTAILMENT = Phrases(
    labels=("contradiction", "entailment", "neutral"),
    frames={"contradiction": RULED_OUT, "entailment": ENTAILED, "neutral": OPEN},
    test_frames={"contradiction": TEST_RULED_OUT, "entailment": TEST_ENTAILED, "neutral": TEST_OPEN},
    lexicon=LEXICON,
)
