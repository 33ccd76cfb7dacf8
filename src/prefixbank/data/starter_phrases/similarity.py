"""How close are two sentences in meaning? 5 the same, 4 one word wider, 3 one detail changed, 2 denied or roles swapped, 1 same person only, 0 unrelated."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases, table

LEXICON = {
    "agent": table(
        "word/wide",
        "girl/child", "monk/man", "tenor/singer", "surgeon/doctor", "ballerina/dancer", "sergeant/soldier", "grandmother/woman", "sculptor/artist", "goalkeeper/player", "violinist/musician",
    ),
    "deed": table(
        "doing/done/other",
        "carrying/carried/dropping", "dropping/dropped/carrying", "washing/washed/soiling", "soiling/soiled/washing", "pushing/pushed/pulling", "pulling/pulled/pushing",
        "greeting/greeted/ignoring", "ignoring/ignored/greeting", "following/followed/leading", "leading/led/following", "calming/calmed/scaring", "scaring/scared/calming",
    ),
    "object": table(
        "word/wide",
        "kitten/cat", "pony/horse", "poodle/dog", "goose/bird", "lamb/sheep", "heifer/cow", "piglet/pig", "python/snake",
    ),
    "spot": table(
        "word/same",
        "next to the fountain/beside the fountain", "in front of the shop/outside the shop", "under the trees/beneath the trees", "close to the pier/near the pier",
        "on top of the hill/on the hilltop", "at the rear of the house/behind the house", "in the middle of the square/in the centre of the square",
    ),
    "doing": ("dozing in the sun", "waiting for a bus", "reading a timetable", "climbing a ladder", "humming a tune", "looking for a lost shoe"),
}  # fmt: skip

FULL = "a {agent.word} is {deed.doing} a {object.word} {spot.word}. || "
WIDE = "a {agent.wide} is {deed.doing} a {object.wide} {spot.word}. || "
NONE = "no {agent.word} is {deed.doing} a {object.word} {spot.word}. || "
IDLE = "a {agent.word} is {doing} {spot.word}. || "
FRAMES = {
    "5": (
        FULL + "a {object.word} is being {deed.done} by a {agent.word} {spot.same}.", FULL + "{spot.same}, a {agent.word} is {deed.doing} a {object.word}.",
        WIDE + "a {object.wide} is being {deed.done} by a {agent.wide} {spot.same}.", NONE + "{spot.same}, a {object.word} is being {deed.done} by no {agent.word}.",
        IDLE + "{spot.same}, a {agent.word} is {doing}.",
    ),
    "4": (
        FULL + "a {object.wide} is being {deed.done} by a {agent.word} {spot.same}.", FULL + "{spot.same}, a {agent.wide} is {deed.doing} a {object.word}.",
        WIDE + "a {object.word} is being {deed.done} by a {agent.wide} {spot.same}.", NONE + "{spot.same}, a {object.wide} is being {deed.done} by no {agent.word}.",
        IDLE + "{spot.same}, a {agent.wide} is {doing}.",
    ),
    "3": (
        FULL + "a {object.word} is being {deed.done} by a {agent.word} {spot2.same}.", FULL + "{spot.same}, a {agent.word} is {deed.doing} a {object2.word}.",
        WIDE + "a {object.wide} is being {deed.done} by a {agent.wide} {spot2.same}.", NONE + "{spot.same}, a {object2.word} is being {deed.done} by no {agent.word}.",
        IDLE + "{spot2.same}, a {agent.word} is {doing}.",
    ),
    "2": (
        FULL + "a {agent.word} is being {deed.done} by a {object.word} {spot.same}.", FULL + "{spot.same}, no {agent.word} is {deed.doing} a {object.word}.",
        WIDE + "{spot.same}, a {agent.wide} is {deed.other} a {object.wide}.", NONE + "{spot.same}, a {object.word} is being {deed.done} by a {agent.word}.",
        IDLE + "{spot.same}, no {agent.word} is {doing}.",
    ),
    "1": (
        FULL + "a {object2.word} is being {deed2.done} by a {agent.word} {spot2.same}.", FULL + "{spot2.same}, a {agent.word} is {doing}.",
        WIDE + "a {object2.wide} is being {deed2.done} by a {agent.wide} {spot2.same}.", NONE + "{spot2.same}, a {object2.word} is being {deed2.done} by no {agent.word}.",
        IDLE + "{spot2.same}, a {agent.word} is {doing2}.",
    ),
    "0": (
        FULL + "a {object2.word} is being {deed2.done} by a {agent2.word} {spot2.same}.", FULL + "{spot2.same}, a {agent2.word} is {doing}.",
        WIDE + "a {object2.wide} is being {deed2.done} by a {agent2.wide} {spot2.same}.", NONE + "{spot2.same}, a {object2.word} is being {deed2.done} by a {agent2.word}.",
        IDLE + "{spot2.same}, a {agent2.word} is {doing2}.",
    ),
}  # fmt: skip
WHAT = "what a {agent.word} is {deed.doing} {spot.word} is a {object.word}. || "
TEST_FRAMES = {
    "5": (
        FULL + "what a {agent.word} is {deed.doing} {spot.same} is a {object.word}.",
        WHAT + "a {agent.word} is {deed.doing} a {object.word} {spot.same}.",
    ),
    "4": (
        FULL + "what a {agent.word} is {deed.doing} {spot.same} is a {object.wide}.",
        WHAT + "a {agent.wide} is {deed.doing} a {object.word} {spot.same}.",
    ),
    "3": (
        FULL + "what a {agent.word} is {deed.doing} {spot.same} is a {object2.word}.",
        WHAT + "a {agent.word} is {deed.doing} a {object.word} {spot2.same}.",
    ),
    "2": (
        FULL + "what a {object.word} is {deed.doing} {spot.same} is a {agent.word}.",
        WHAT + "a {agent.word} is {deed.other} a {object.word} {spot.same}.",
    ),
    "1": (
        FULL + "what a {agent.word} is {deed2.doing} {spot2.same} is a {object2.word}.",
        WHAT + "a {agent.word} is {deed2.doing} a {object2.word} {spot2.same}.",
    ),
    "0": (
        FULL + "what a {agent2.word} is {deed2.doing} {spot2.same} is a {object2.word}.",
        WHAT + "a {agent2.word} is {deed2.doing} a {object2.word} {spot2.same}.",
    ),
}

SIMILARITY = Phrases(labels=("0", "1", "2", "3", "4", "5"), frames=FRAMES, test_frames=TEST_FRAMES, lexicon=LEXICON, graded=True)
