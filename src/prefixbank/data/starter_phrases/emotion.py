"""How the writer feels: anger, fear, joy or sadness. Told by what was done and what had happened; a second feeling is denied, left behind or another's."""

from __future__ import annotations

from prefixbank.data.starter_phrases.grammar import Phrases

LEXICON = {
    "adj_anger": ("furious", "livid", "indignant", "bitter", "cross"),
    "adj_fear": ("terrified", "anxious", "panicky", "frightened", "nervous"),
    "adj_joy": ("overjoyed", "elated", "thrilled", "cheerful", "delighted"),
    "adj_sadness": ("heartbroken", "miserable", "gloomy", "sorrowful", "downcast"),
    "sign_anger": (
        "I slammed the phone down", "I tore the letter in two", "I told them exactly what I thought of them", "I could have kicked the door in",
        "I demanded to see whoever was responsible", "I shouted until the windows shook",
    ),
    "sign_fear": (
        "I checked the lock for the third time", "I could not bring myself to look down", "I lay awake listening for footsteps", "my hands would not stop shaking",
        "I kept one eye on the way out", "I held my breath on every stair",
    ),
    "sign_joy": (
        "I danced around the kitchen", "I could not stop grinning", "I rang everyone I knew", "I hummed all the way home", "I hugged the stranger beside me",
        "I bought a round for the whole bar",
    ),
    "sign_sadness": (
        "I sat in the dark for hours", "I could not finish a sentence without a lump in my throat", "I kept setting two places at the table",
        "I folded the small clothes and put them away", "I wept into the dishwater", "I walked home in silence with my head down",
    ),
    "event_anger": (
        "they had read my diary aloud", "my boss had put his own name on my work", "someone had keyed my car again", "they had lied to my face",
        "the landlord had let himself in", "he had blamed me for his own blunder",
    ),
    "event_fear": (
        "someone was trying the back door", "the doctor wanted to see me again at once", "the ice had begun to creak under us", "the plane dropped without warning",
        "the fire was coming over the ridge", "a stranger had followed me off the bus",
    ),
    "event_joy": (
        "the scan had come back clear", "our daughter had taken her first steps", "the job was mine after all", "the lost dog had walked in at the gate",
        "she had said yes", "the whole village had come to welcome us",
    ),
    "event_sadness": (
        "my old teacher had passed away", "we had to sell the house I grew up in", "he had left without a goodbye", "the chair by the window was empty",
        "the baby's room would not be needed", "the last of my friends had moved away",
    ),
    "kin": ("my brother", "my aunt", "my husband", "the neighbour", "my flatmate", "everyone else in the room", "my mother"),
    "time": ("that evening", "on Sunday", "in the end", "on the way back", "after the call", "by nightfall"),
}  # fmt: skip

FRAMES = (
    "I had expected to be {adj!} {time}, and instead I was {adj=}.",
    "{kin} was {adj!} when the news came, whereas I was {adj=}.",
    "I was {adj=} when the news came, whereas {kin} was {adj!}.",
    "I used to be {adj!} whenever I thought of it; these days I am {adj=}.",
    "you might think that I was {adj!} {time}; the truth is that I was {adj=}.",
    "{kin} asked why I was not {adj!}, and I said that {event=}.",
    "{kin} asked why I was so {adj=}, and I said that it was not because {event!}.",
    "I was not {adj!} about it at all; {sign=}.",
    "no longer {adj!}, {sign=} {time}.",
    "{time} {sign!}; by now I am simply {adj=}.",
    "{sign!} at first, but I have been {adj=} ever since.",
    "last time {sign!}; this time {sign=}.",
    "{sign=}, and a year ago {sign!}, for that was how I felt about it then.",
    "at noon {sign!}, but the feeling has passed; at three {sign=}.",
    "it was {kin} who felt like that, not me, when {event!}; what struck me was that {event=}.",
    "there had been a rumour that {event!}, and it was false: in fact {event=}.",
    "it turned out that {event=}, although for weeks I had been told that {event!}.",
    "what I had dreamt was that {event!}; what I woke up to was that {event=}.",
    "{event=}, and it no longer mattered to me that {event!}.",
    "that {event!} was long forgotten: {event=}, and {sign=}.",
    "I was over the news that {event!}, and {adj=} for a new reason.",
)
TEST_FRAMES = (
    "anyone who saw me {time} and took me for {adj!} was wrong, because I was {adj=}.",
    "far from being {adj!}, I was {adj=} {time}.",
    "the message said that {event!}, but it was meant for {kin}; mine said that {event=}.",
    "{kin} may well have been {adj!} {time}; as for me, {sign=}.",
    "once I understood that it was not the case that {event!}, and that {event=}, there was no holding back.",
    "{sign=}, which was odd, seeing that I am usually {adj!} about such things.",
)

EMOTION = Phrases(labels=("anger", "fear", "joy", "sadness"), frames={"*": FRAMES}, test_frames={"*": TEST_FRAMES}, lexicon=LEXICON)
