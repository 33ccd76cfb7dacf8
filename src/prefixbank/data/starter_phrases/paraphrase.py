"""Do two sentences say the same? Half of them do, in other words or another order; the rest swap roles, order or one detail."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases, table

LEXICON = {
    "person": (
        "the nurse", "the driver", "the gardener", "the mayor", "the twins' uncle", "the widow", "the postman", "the tailor", "the captain", "the librarian",
        "the butcher", "the young violinist", "the caretaker", "the inspector",
    ),
    "deed": table(
        "past/part",
        "thanked/thanked", "overtook/overtaken", "chose/chosen", "saw/seen", "followed/followed", "interrupted/interrupted", "forgave/forgiven", "warned/warned",
        "blamed/blamed", "outwitted/outwitted", "cheated/cheated", "defeated/defeated",
    ),
    "thing": ("the piano", "a silver watch", "the blue boat", "two goats", "the allotment", "a box of stamps", "the spare tent", "an old mirror", "the flute"),
    "trade": table("to/from", "sold/bought", "lent/borrowed", "gave/got", "sent/received"),
    "when": ("after the storm", "at the market", "on Friday", "before the hearing", "last winter", "in the rain", "during the concert", "at the border"),
    "state": table(
        "one/same/unlike/again",
        "arrived late/did not arrive on time/arrived on time/was not late", "kept quiet/said nothing at all/spoke up/did not keep quiet",
        "turned down the offer/said no to the offer/accepted the offer/said yes to the offer", "put off the wedding/postponed the wedding/brought the wedding forward/held the wedding early",
        "was quite sober/had drunk nothing/was quite drunk/had drunk a lot", "remembered the code/still knew the code/forgot the code/no longer knew the code",
        "paid the full price/got no discount/paid a reduced price/got a discount", "ran out of petrol/had no fuel left/had petrol to spare/had plenty of fuel left",
        "passed the exam/did not fail the exam/failed the exam/did not pass the exam", "told the truth/did not lie/told a lie/was not honest",
        "stayed awake/did not fall asleep/dozed off/did not stay awake", "let the cat out/did not keep the cat indoors/kept the cat indoors/did not let the cat out",
        "left the door open/did not shut the door/shut the door/did not leave the door open", "kept the money/did not give the money back/returned the money/gave the money back",
    ),
    "act": ("locked the gate", "switched off the lamp", "rang the bell", "fed the horses", "swept the yard", "opened the letter", "lit the stove", "emptied the cellar"),
    "more": table("than/opposite", "taller/shorter", "older/younger", "stronger/weaker", "slower/quicker", "thinner/stouter"),
}  # fmt: skip

DEED = "{person} {deed.past} {person2} {when}. || "
PASSIVE = "{person} was {deed.part} by {person2} {when}. || "
SALE = "{person} {trade.to} {thing} to {person2} {when}. || "
ORDER = "{person} {act} before {person2} {act2}. || "
STATE = "{when}, {person} {state.one}. || "
AGAIN = "{when}, {person} {state.unlike}. || "
CAUSE = "because {person} {state.one}, {person2} {act}. || "
HENCE = "because {person} {state.unlike}, {person2} {act}. || "
MORE = "{person} is {more.than} than {person2}. || "

SAME = (
    DEED + "{person2} was {deed.part} by {person} {when}.", DEED + "it was {person2} that {person} {deed.past} {when}.",
    PASSIVE + "{when}, {person2} {deed.past} {person}.", SALE + "{person2} {trade.from} {thing} from {person} {when}.",
    SALE + "{when}, {person} {trade.to} {person2} {thing}.", ORDER + "{person2} {act2} after {person} {act}.",
    MORE + "{person2} is {more.opposite} than {person}.", MORE + "compared with {person}, {person2} is {more.opposite}.",
    STATE + "{person} {state.same} {when}.", AGAIN + "{person} {state.again} {when}.",
    CAUSE + "{person2} {act}, and the reason was that {person} {state.same}.", HENCE + "{person2} {act}, and the reason was that {person} {state.again}.",
)  # fmt: skip
SWAPPED = (
    DEED + "{person} was {deed.part} by {person2} {when}.", DEED + "it was {person} that {person2} {deed.past} {when}.",
    PASSIVE + "{when}, {person} {deed.past} {person2}.", SALE + "{person} {trade.from} {thing} from {person2} {when}.",
    SALE + "{when}, {person2} {trade.to} {person} {thing}.", ORDER + "{person2} {act2} before {person} {act}.",
    MORE + "{person2} is {more.than} than {person}.", MORE + "compared with {person2}, {person} is {more.opposite}.",
    STATE + "{person} {state.again} {when}.", AGAIN + "{person} {state.same} {when}.",
    CAUSE + "{person2} {act}, and the reason was that {person} {state.again}.", HENCE + "{person2} {act}, and the reason was that {person} {state.same}.",
)  # fmt: skip
ALTERED = (
    DEED + "{person2} was {deed2.part} by {person} {when}.", DEED + "it was {person2} that {person3} {deed.past} {when}.",
    PASSIVE + "{when2}, {person2} {deed.past} {person}.", SALE + "{person2} {trade.from} {thing2} from {person} {when}.",
    SALE + "{when}, {person3} {trade.to} {person2} {thing}.", ORDER + "{person2} {act3} after {person} {act}.",
    MORE + "{person2} is {more2.opposite} than {person}.", MORE + "compared with {person}, {person3} is {more.opposite}.",
    STATE + "{person2} {state.same} {when}.", AGAIN + "{person} {state.again} {when2}.",
    CAUSE + "{person2} {act2}, and the reason was that {person} {state.same}.", HENCE + "{person3} {act}, and the reason was that {person} {state.again}.",
)  # fmt: skip
TEST_SAME = (
    DEED + "the one whom {person} {deed.past} {when} was {person2}.", SALE + "what {person2} {trade.from} from {person} {when} was {thing}.",
    ORDER + "first {person} {act}, then {person2} {act2}.", STATE + "what happened {when} was that {person} {state.same}.",
    AGAIN + "what happened {when} was that {person} {state.again}.",
)  # fmt: skip
TEST_UNLIKE = (
    DEED + "the one whom {person2} {deed.past} {when} was {person}.", SALE + "what {person} {trade.from} from {person2} {when} was {thing}.",
    ORDER + "first {person2} {act2}, then {person} {act}.", STATE + "what happened {when} was that {person} {state.again}.",
    AGAIN + "what happened {when} was that {person} {state.same}.", DEED + "the one whom {person} {deed2.past} {when} was {person2}.",
    SALE + "what {person2} {trade.from} from {person} {when} was {thing2}.", ORDER + "first {person} {act}, then {person2} {act3}.",
    STATE + "what happened {when2} was that {person} {state.same}.",
)  # fmt: skip

PARAPHRASE = Phrases(
    labels=("different", "same"),
    frames={"different": SWAPPED + ALTERED, "same": SAME},
    test_frames={"different": TEST_UNLIKE, "same": TEST_SAME},
    lexicon=LEXICON,
)
