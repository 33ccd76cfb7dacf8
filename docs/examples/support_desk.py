"""Write the tickets of an invented support desk: tickets.csv with five labels, new.csv without.

Run: python docs/examples/support_desk.py FOLDER [--rows 2400] [--new 10000] [--seed 0]

A ticket is put together from sentences, so its labels are known: `intent`, `product`, `tone`,
`urgent` and `queue`, the desk that it belongs to, which follows from intent and product.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator
from pathlib import Path

LABELS = ("intent", "product", "tone", "urgent", "queue")

PRODUCTS = {
    "router": ("the router", "my router", "the white box with the four lights", "our wifi box"),
    "laptop": ("the laptop", "my notebook", "the fourteen-inch machine", "my work computer"),
    "phone": ("the phone", "my handset", "the mobile from the spring offer", "her new phone"),
    "printer": ("the printer", "our printer", "the inkjet in the hall", "the label printer"),
}
INTENTS = {
    "broken": (
        "{It} has not come on since yesterday.",
        "{It} stops in the middle of everything and starts again by itself.",
        "A red light is all that {it} shows.",
        "After the last update {it} does nothing any more.",
        "There is a smell of burnt plastic when {it} is plugged in.",
        "{It} worked for a week, and now it is dead.",
    ),
    "refund": (
        "I sent {it} back in May and have not seen the money.",
        "I was charged twice for {it}.",
        "The bill for {it} is higher than the price that I was told.",
        "Please pay back what I paid for {it}.",
        "The discount on {it} is missing from my invoice.",
        "{It} went back within two weeks, so the full amount is due.",
    ),
    "delivery": (
        "{It} was to arrive on Monday, and it is Thursday.",
        "The tracking page says that {it} is at a depot I have never heard of.",
        "A parcel came, but {it} was not in it.",
        "Where is {it}? The driver left a card, but no parcel.",
        "Can {it} be sent to my office instead?",
        "{It} was left with a neighbour who has moved out.",
    ),
    "how_to": (
        "How do I set {it} up with two accounts?",
        "I cannot find where the name of {it} is changed.",
        "Which cable goes where on {it}?",
        "Is there a way to make {it} quieter at night?",
        "What does the third button of {it} do?",
        "The manual of {it} stops at page nine. What comes next?",
    ),
    "cancel": (
        "I want to end the contract for {it}.",
        "Please take {it} off my plan from next month.",
        "We are moving abroad and do not need {it} any longer.",
        "I ordered {it} an hour ago and have changed my mind.",
        "Do not renew the insurance of {it}.",
        "Stop the order of {it}, I found one elsewhere.",
    ),
}
TONES = {
    "calm": ("Hello.", "A question from a customer.", "Good morning.", "Order number below."),
    "angry": (
        "This is the third time that I write.",
        "Is anybody reading these at all?",
        "What a way to treat people.",
        "I have had enough of your excuses.",
    ),
    "kind": (
        "Thank you for the good help last time.",
        "You have always been quick, so I am hopeful.",
        "First of all, I like what you do.",
        "Many thanks in advance for your trouble.",
    ),
}
URGENCY = {
    "yes": (
        "I need it for an exam tomorrow morning.",
        "The shop cannot open without it.",
        "Today is the last day on which it helps me.",
        "Please call within the hour.",
    ),
    "no": (
        "There is no hurry.",
        "Whenever you find the time.",
        "I am away until the end of the month anyway.",
        "Next week is early enough.",
    ),
}
DESKS = {"refund": "accounts", "cancel": "accounts", "delivery": "logistics", "how_to": "advice"}


def queue_of(intent: str, product: str) -> str:
    """Return the desk: what is broken goes to those who know the product."""
    return DESKS.get(intent, "network" if product in ("router", "phone") else "workshop")


def tickets(count: int, rng: random.Random) -> Iterator[dict[str, str]]:
    """Yield tickets: `body` and a value for each of `LABELS`."""
    for _ in range(count):
        intent, product, tone, urgent = (
            rng.choice(list(group)) for group in (INTENTS, PRODUCTS, TONES, URGENCY)
        )
        it = rng.choice(PRODUCTS[product])
        request = rng.choice(INTENTS[intent]).format(it=it, It=it[0].upper() + it[1:])
        sentences = [rng.choice(TONES[tone]), request, rng.choice(URGENCY[urgent])]
        if rng.random() < 0.5:  # what comes first says nothing about a label
            rng.shuffle(sentences)
        yield {
            "body": " ".join(sentences),
            "intent": intent,
            "product": product,
            "tone": tone,
            "urgent": urgent,
            "queue": queue_of(intent, product),
        }


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=2400)
    parser.add_argument("--new", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name, count, columns in (
        ("tickets.csv", asked.rows, ("ticket", "body", *LABELS)),
        ("new.csv", asked.new, ("ticket", "body")),
    ):
        with (asked.folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for number, ticket in enumerate(tickets(count, rng), 1):
                writer.writerow({"ticket": f"T{number:05d}", **ticket})


if __name__ == "__main__":
    main()
