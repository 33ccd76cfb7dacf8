"""Opinions of places and things seen, read and eaten. Which of two claims is the writer's own decides, not the words in them."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases

SHARED = {
    "adj_positive": (
        "superb", "charming", "delightful", "impressive", "memorable", "inspired", "first-rate", "wonderful", "thoughtful", "rewarding",
        "excellent", "enjoyable",
    ),
    "adj_negative": (
        "dreadful", "tedious", "shoddy", "forgettable", "careless", "second-rate", "dismal", "disappointing", "sloppy", "tiresome", "feeble",
        "unpleasant",
    ),
    "noun_positive": ("triumph", "delight", "treat", "success", "gem", "joy", "small miracle"),
    "noun_negative": ("disaster", "letdown", "chore", "failure", "mess", "waste of time", "sorry affair"),
    "verdict_positive": (
        "I would recommend it to anyone", "it won me over", "it was worth every penny", "I am glad that we chose it", "I would happily pay for it again",
        "we left in high spirits", "it deserves its good name",
    ),
    "verdict_negative": (
        "I would warn anyone off it", "it left me cold", "it was a waste of money", "I am sorry that we chose it", "I would never pay for it again",
        "we left in low spirits", "it deserves its bad name",
    ),
    "who": ("the reviews", "my neighbours", "the guidebook", "two of my colleagues", "my cousin's friends", "the people next to us", "the papers"),
}  # fmt: skip

RESTAURANT = {
    "thing": ("the bistro by the canal", "the new noodle bar", "the café behind the station", "our lunch at the old mill", "the tasting menu"),
    "rival": ("bistro", "dinner", "café"),
    "clause_positive": (
        "the soup tasted of real stock", "the waiters remembered every wish", "the fish came straight from the grill", "the bill was fair",
        "the bread was still warm", "the tables stood pleasantly far apart", "the sauces were light and bright",
    ),
    "clause_negative": (
        "the soup tasted of tap water", "the waiters forgot half our order", "the fish was dry and grey", "the bill was a shock",
        "the bread was two days old", "the tables stood far too close together", "the sauces were heavy and dull",
    ),
    "np_positive": ("the fresh bread", "the patient waiters", "the fair prices", "the bright sauces", "the tender fish", "the lovely dining room"),
    "np_negative": ("the stale bread", "the surly waiters", "the steep prices", "the gluey sauces", "the rubbery fish", "the draughty dining room"),
}  # fmt: skip
HOTEL = {
    "thing": ("the guest house on the cliff", "the hotel near the airport", "our cabin by the lake", "the hostel in the old town", "the spa hotel"),
    "rival": ("hotel", "guest house", "hostel"),
    "clause_positive": (
        "the bed was a dream", "the room had been cleaned to the last corner", "the staff found us an earlier train", "the shower was hot and strong",
        "the nights were perfectly quiet", "the view stretched across the bay", "breakfast was generous",
    ),
    "clause_negative": (
        "the bed sagged in the middle", "the room smelled of damp", "the staff lost our booking", "the shower gave a cold trickle",
        "the lorries kept us awake all night", "the view was of a brick wall", "breakfast was mean",
    ),
    "np_positive": ("the soft beds", "the helpful staff", "the spotless rooms", "the quiet nights", "the sweeping view", "the generous breakfast"),
    "np_negative": ("the lumpy beds", "the rude staff", "the grubby rooms", "the noisy nights", "the bleak view", "the mean breakfast"),
}  # fmt: skip
FILM = {
    "thing": ("the film about the lighthouse", "the sequel", "the director's first feature", "the documentary on bees", "the thriller set in Oslo"),
    "rival": ("film", "remake", "trilogy"),
    "clause_positive": (
        "the plot held together to the last scene", "the leads were a joy to watch", "the jokes landed", "the ending moved the whole row to tears",
        "the dialogue rang true", "the camera caught every glance", "two hours flew by",
    ),
    "clause_negative": (
        "the plot fell apart after ten minutes", "the leads seemed half asleep", "the jokes fell flat", "the ending made the whole row groan",
        "the dialogue rang false", "the camera wobbled for no reason", "two hours felt like six",
    ),
    "np_positive": ("the clever plot", "the gifted leads", "the sharp dialogue", "the fine photography", "the moving finale", "the witty script"),
    "np_negative": ("the muddled plot", "the wooden leads", "the clumsy dialogue", "the murky photography", "the hollow finale", "the lazy script"),
}  # fmt: skip
CLASS = {
    "thing": ("the evening course in pottery", "the language class", "the online course on gardening", "the cooking workshop", "the weekend course"),
    "rival": ("course", "workshop", "class"),
    "clause_positive": (
        "the teacher explained each step with patience", "the handouts were clear", "we learned something new every week", "the group stayed small",
        "every question got an answer", "the room had all the tools we needed", "the exercises built on one another",
    ),
    "clause_negative": (
        "the teacher rushed through each step", "the handouts were a muddle", "we learned next to nothing", "the group was far too large",
        "most questions were brushed aside", "half of the tools were broken", "the exercises led nowhere",
    ),
    "np_positive": ("the patient teacher", "the clear handouts", "the small groups", "the good tools", "the lively discussions", "the useful homework"),
    "np_negative": ("the hasty teacher", "the muddled handouts", "the crowded groups", "the broken tools", "the dull discussions", "the pointless homework"),
}  # fmt: skip
GADGET = {
    "thing": ("the cordless kettle", "this pair of headphones", "the folding bicycle", "the cheap tablet", "the robot that sweeps the floor"),
    "rival": ("model", "version", "machine"),
    "clause_positive": (
        "the battery lasted all week", "the buttons were easy to find in the dark", "the manual answered everything", "it survived a fall down the stairs",
        "it worked straight out of the box", "the case felt solid", "it made almost no noise",
    ),
    "clause_negative": (
        "the battery died before noon", "the buttons stuck", "the manual explained nothing", "it broke in the first week",
        "it took a whole weekend to set up", "the case felt flimsy", "it howled like a jet engine",
    ),
    "np_positive": ("the long battery life", "the solid case", "the simple buttons", "the clear manual", "the silent motor", "the handsome design"),
    "np_negative": ("the short battery life", "the flimsy case", "the fiddly buttons", "the useless manual", "the noisy motor", "the ugly design"),
}  # fmt: skip

FRAMES = (
    "although {clause!}, {clause=} and {verdict=}.",
    "{clause=}, even though {clause!}.",
    "{clause!}, but {clause=}, and that is what I will remember.",
    "for all {np!}, {verdict=}.",
    "despite {np!}, {thing} was {adj=}.",
    "{thing} was {adj=} in spite of {np!}.",
    "granted, {clause!}; all the same, {verdict=}.",
    "I came ready to write that {verdict!}, yet {clause=}.",
    "I had every intention of saying that {verdict!}, until I noticed that {clause=}.",
    "nobody could claim that {clause!}.",
    "nobody could deny that {clause=}.",
    "it is simply not true that {clause!}.",
    "it is perfectly true that {clause=}.",
    "{thing} was anything but {adj!}.",
    "there was nothing {adj!} about {thing}, whatever {who} may tell you.",
    "{thing} was not the {noun!} that {who} had led me to expect.",
    "{thing} was every bit the {noun=} that {who} had led me to expect.",
    "calling {thing} {adj!} would be quite wrong.",
    "calling {thing} {adj=} would be quite right.",
    "{who} said that {clause!}, and they were mistaken.",
    "{who} said that {clause=}, and they were right.",
    "{who} swore that {clause!}; I saw the exact opposite.",
    "{who} found {thing} {adj!}, and I could not agree less.",
    "{who} found {thing} {adj=}, and I could not agree more.",
    "at first {clause!}, yet by the end I had to admit that {verdict=}.",
    "what began as a {noun!} ended as a {noun=}.",
    "{thing} started out {adj!} and finished {adj=}.",
    "last year {clause!}; this year, by contrast, {clause=}.",
    "next to {thing}, even the most {adj=} {rival} in town seemed {adj!}.",
    "{clause=}, and {verdict=}.",
    "{thing} was {adj=}, {clause=}, and {verdict=}.",
    "what I will remember is {np=}: {thing} was {adj=}.",
    "I have rarely met a {rival} so {adj=}, and {clause=}.",
)
TEST_FRAMES = (
    "notwithstanding {np!}, {verdict=}.",
    "{np!} could not change my mind: {thing} was {adj=}.",
    "it would be a lie to say that {clause!}.",
    "{who} may insist that {verdict!}, but I say that {verdict=}.",
    "however often {who} repeat that {clause!}, my own view is that {thing} was {adj=}.",
    "far from being a {noun!}, {thing} was a {noun=}.",
    "if {who} told you that {thing} was {adj!}, do not believe them.",
    "I have stopped believing that {clause!}, for I saw with my own eyes that {clause=}.",
)

POLARITY = Phrases(
    labels=("negative", "positive"),
    frames={"*": FRAMES},
    test_frames={"*": TEST_FRAMES},
    lexicon=SHARED,
    scopes=(RESTAURANT, HOTEL, FILM, CLASS, GADGET),
)
