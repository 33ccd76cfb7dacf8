"""What a request asks for: a method, a number, a person, a place, a reason or a time. Something else is known, set aside or mentioned by the way."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases, table

LEXICON = {
    "event": table(
        "was/being",
        "the museum was reopened/reopening the museum", "the vaccine was tested/testing the vaccine", "the treaty was signed/signing the treaty",
        "the statue was melted down/melting down the statue", "the theatre was rebuilt/rebuilding the theatre", "the manuscript was translated/translating the manuscript",
        "the mine was shut/shutting the mine", "the prize was awarded/awarding the prize", "the tunnel was dug/digging the tunnel",
        "the portrait was restored/restoring the portrait", "the railway was extended/extending the railway", "the election was held/holding the election",
        "the satellite was launched/launching the satellite", "the orchard was replanted/replanting the orchard",
    ),
    "ask_person": ("who was behind it when {event.was}", "whom we have to thank for {event.being}", "the name of the man or woman responsible for {event.being}"),
    "ask_place": ("where {event.was}", "the town or country in which {event.was}", "the spot on the map at which {event.was}"),
    "ask_time": ("when {event.was}", "the year or month in which {event.was}", "how long it has been since {event.was}"),
    "ask_number": ("how much money it cost when {event.was}", "the sum that was spent on {event.being}", "how many people had a part in {event.being}"),
    "ask_reason": ("why {event.was}", "the motive for {event.being}", "what the point was of {event.being}"),
    "ask_method": ("how {event.was}", "the technique that was used for {event.being}", "the steps that were followed in {event.being}"),
    "also_person": ("who that was", "the name of the person", "which man or woman it was"),
    "also_place": ("where that was", "the name of the place", "which town it was"),
    "also_time": ("when that was", "the exact date", "which year it was"),
    "also_number": ("what it added up to", "the exact figure", "how much it came to"),
    "also_reason": ("why that was", "the grounds for it", "what it was good for"),
    "also_method": ("how that was done", "the way it was done", "which technique it was"),
    "given_person": ("thanks to Dr Okafor", "under a certain Captain Ruiz", "on the orders of Ms Lindqvist"),
    "given_place": ("in a suburb of Turin", "on the shore of Lake Geneva", "in northern Ghana"),
    "given_time": ("in the summer of 1931", "on the second of May", "late in the nineteenth century"),
    "given_number": ("at a cost of nine million", "with a staff of forty", "for a mere six hundred pounds"),
    "given_reason": ("for lack of other work", "as an act of goodwill", "for reasons of safety"),
    "given_method": ("with the help of lasers", "step by step and by hand", "by way of a secret ballot"),
    "source": ("the leaflet", "my teacher", "the encyclopaedia", "a plaque on the wall", "the radio", "our guide"),
}  # fmt: skip

FRAMES = (
    "could you look up {ask=}? You need not look up {also!}.",
    "I know {ask!}, but {source} does not say {also=}.",
    "{source} tells us {ask!}; now find out for me {also=}.",
    "I would like to know {ask=}; {source} only told me {also!}.",
    "never mind {ask!}: please tell me {also=}.",
    "please tell me {ask=}, never mind {also!}.",
    "our class has learned {ask!}, and what we still have to learn is {also=}.",
    "is there anybody who remembers {ask=}? {source} says no more than {also!}.",
    "{event.was} {given!}. Are you able to tell me {also=}?",
    "given that {event.was} {given!}, I wonder if you know {also=}.",
    "{source} says that {event.was} {given!}. What it does not reveal is {also=}.",
    "my question is not {ask!}, my question is {also=}.",
    "my question is {ask=}, and not {also!}.",
    "help me with my homework: I have written down {ask!}, and I am stuck on {also=}.",
)
TEST_FRAMES = (
    "{ask!}: that I can find for myself; {also=}: that is what I need from you.",
    "I have no need of {also!} once you have told me {ask=}, which is all I want.",
    "after an hour with {source} I knew {ask!}, and still I had not discovered {also=}.",
    "aware as I am that {event.was} {given!}, I have yet to hear {also=}.",
)

QUESTION_TYPE = Phrases(
    labels=("method", "number", "person", "place", "reason", "time"), frames={"*": FRAMES}, test_frames={"*": TEST_FRAMES}, lexicon=LEXICON
)
