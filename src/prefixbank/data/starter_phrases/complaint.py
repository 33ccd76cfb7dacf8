"""Messages to a firm: is the firm blamed for something that still stands? Blame taken back, a fault put right or one's own fault is no complaint."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases, table

SHARED = {
    "close_complaint": (
        "nobody has put it right", "I am still waiting for an answer", "I have had to pay for it twice", "your office hangs up on me", "I want it dealt with now",
    ),
    "close_fine": (
        "it was put right within the hour", "I have had a full answer", "I was not charged a cent", "your office rang back at once", "I need nothing more from you",
    ),
    "opener": ("dear all", "good morning", "to the customer desk", "a note from a regular", "hello there", "about last week"),
    "rumour": ("my son", "the man at the desk", "a voice on the phone", "the first message", "my wife", "the notice on the door"),
}  # fmt: skip

PARCEL = {
    "ref": table("word/again", "my parcel/it", "the lamp I ordered/it", "the crate of books/it", "the boots I chose/them", "the garden chairs/them"),
    "clause_complaint": (
        "your courier left {ref} out in the rain", "you sent {ref} to the wrong town", "your warehouse packed {ref} without any padding",
        "you cancelled {ref} and kept the money", "your driver signed for {ref} himself",
    ),
    "clause_fine": (
        "I gave you the wrong address for {ref}", "the flood held {ref} up", "your driver carried {ref} up four flights of stairs",
        "you replaced {ref} before I even asked", "my dog got at {ref} in the hall",
    ),
}  # fmt: skip
BROADBAND = {
    "ref": table("word/again", "the router/it", "the phone line/it", "the upstairs modem/it", "the alarm line/it", "the two handsets/them"),
    "clause_complaint": (
        "your engineer never turned up to look at {ref}", "you billed us for {ref} after we had left", "you raised the price of {ref} without a word",
        "your people switched {ref} off by mistake", "your helpline gave us false advice about {ref}",
    ),
    "clause_fine": (
        "lightning had struck {ref}", "your engineer stayed late to mend {ref}", "I had unplugged {ref} myself",
        "your helpline explained {ref} to me with great patience", "a neighbour's drill had gone through {ref}",
    ),
}  # fmt: skip
TRAVEL = {
    "ref": table("word/again", "our seats/them", "the sleeper berths/them", "the ferry crossing/it", "the trip to Porto/it", "the hired van/it"),
    "clause_complaint": (
        "your agent sold us {ref} on a false promise", "you called off {ref} and told nobody", "your crew was rude to us over {ref}",
        "your website charged us double for {ref}", "you gave {ref} to somebody else",
    ),
    "clause_fine": (
        "I had booked {ref} for the wrong day", "fog put an end to {ref}", "your crew saved {ref} for us",
        "your agent refunded {ref} without a fuss", "I forgot that I had booked {ref} at all",
    ),
}  # fmt: skip
REPAIR = {
    "ref": table("word/again", "the sewing machine/it", "my bicycle/it", "the accordion/it", "the garden pump/it", "my old skates/them"),
    "clause_complaint": (
        "your mechanic left {ref} in pieces", "you fitted a used part to {ref}", "your workshop scratched {ref}", "you have had {ref} for six weeks now",
        "your man overcharged me for {ref}",
    ),
    "clause_fine": (
        "I had dropped {ref} on the steps", "the rain had got into {ref}", "your mechanic mended {ref} on a Sunday", "your workshop even polished {ref}",
        "I had ignored the instructions for {ref}",
    ),
}  # fmt: skip

FRAMES = (
    "I assumed at first that {clause!}, but it turned out that {clause=}.",
    "{rumour} told me that {clause!}; as I know now, {clause=}.",
    "{opener}: {clause=}. {rumour} had it that {clause!}, and that was a misunderstanding.",
    "{opener}: please ignore my earlier message, which said that {clause!}. The fact is that {clause=}.",
    "I am not writing because {clause!}; I am writing because {clause=}.",
    "I am writing because {clause=}, and not, as you might suppose, because {clause!}.",
    "it cannot be said that {clause!}. The truth is that {clause=}.",
    "it was not that {clause!}; it was that {clause=}.",
    "the trouble did not come about because {clause!}, it came about because {clause=}.",
    "{opener}: for a day or two I believed that {clause!}. Now I have seen proof that {clause=}.",
    "last time {clause!}, which is forgotten by now; this time {clause=}, and {close=}.",
    "{opener}: {clause=}, and {close=}.",
    "{opener}: this concerns {ref}, and {close=}.",
)
TEST_FRAMES = (
    "whoever told you that {clause!} has misled you, since {clause=}.",
    "{opener}: strike out the line saying that {clause!} and put down that {clause=}.",
    "had {rumour} not shown me that {clause=}, I should have gone on thinking that {clause!}.",
    "{rumour} would have it that {clause!}, yet {close=}.",
)
ONLY_COMPLAINT = (
    "{clause_fine}, I admit, but what I cannot accept is that {clause_complaint}.",
    "much as I like your staff, {clause_complaint}, and {close_complaint}.",
    "{clause_complaint}. {rumour} promised me that {close_fine}, and that was not true.",
    "thank you for nothing: {clause_complaint}.",
)
ONLY_FINE = (
    "{clause_complaint}, I thought, but what I found out is that {clause_fine}.",
    "much as I dislike the wait, {clause_fine}, and {close_fine}.",
    "{clause_fine}. {rumour} warned me that {close_complaint}, and that was not true.",
    "thank you for everything: {clause_fine}.",
)

COMPLAINT = Phrases(
    labels=("fine", "complaint"),
    frames={"*": FRAMES, "complaint": ONLY_COMPLAINT, "fine": ONLY_FINE},
    test_frames={"*": TEST_FRAMES},
    lexicon=SHARED,
    scopes=(PARCEL, BROADBAND, TRAVEL, REPAIR),
)
