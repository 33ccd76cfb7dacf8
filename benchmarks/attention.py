"""Prefix attention as one softmax and in two parts: from how many slots on the parts are faster.

Run: make bench    or: python -m benchmarks.attention

Batches of about 1,024 tokens, heads of MiniLM, one thread, both forms in turns; half the texts are
padded by one token.
"""

from __future__ import annotations

import argparse
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.measure import save
from prefixbank.core.attention.prefix_attention import Slots, prefix_attention
from prefixbank.core.attention.two_parts import attend_in_two_parts, lowest
from prefixbank.core.timing import in_turns

HEADS, HEAD_SIZE, TOKENS = 12, 32, 1024
SLOTS, LENGTHS = (8, 16, 32, 64, 128, 512), (8, 16, 32, 64, 128, 256)
CALLS = 4


class Layer(nn.Module):
    """What an attention function needs to know of its layer."""

    layer_idx = 0
    is_causal = False


def one_softmax(text: tuple[Tensor, Tensor, Tensor], mask: Tensor, slots: Slots) -> None:
    """Attend as training does, which never takes the two parts."""
    with torch.no_grad():
        for _ in range(CALLS):
            prefix_attention(Layer(), *text, mask, prefix_slots=slots)


def two_parts(text: tuple[Tensor, Tensor, Tensor], mask: Tensor, slots: Slots) -> None:
    """Attend in two parts, whatever the rule says."""
    with torch.inference_mode():
        for _ in range(CALLS):
            added = torch.zeros(mask.shape).masked_fill(~mask, lowest(torch.float32))
            attend_in_two_parts(*text, added, slots.layer(0, torch.float32), None)


def times_as_fast(slots: int, length: int, rounds: int) -> float:
    """Return how many times as fast two parts are: median over rounds."""
    rows = TOKENS // length
    query, key, value = (
        torch.randn(rows, length, HEADS, HEAD_SIZE).transpose(1, 2) for _ in range(3)
    )
    mask = torch.ones(rows, 1, length, length, dtype=torch.bool)
    mask[::2, :, :, -1] = False
    keys, values = (torch.randn(1, HEADS, slots, HEAD_SIZE) for _ in range(2))
    given = (
        (query, key, value),
        mask,
        Slots(keys=keys, values=values, bias=torch.full((1, HEADS, slots), -2.0)),
    )
    seconds = in_turns(
        {"one": partial(one_softmax, *given), "two": partial(two_parts, *given)}, rounds
    )
    return median(one / two for one, two in zip(seconds["one"], seconds["two"], strict=True))


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table = {
        str(slots): {str(length): times_as_fast(slots, length, asked.rounds) for length in LENGTHS}
        for slots in SLOTS
    }
    save(
        "attention",
        {
            "rounds": asked.rounds,
            "tokens": TOKENS,
            "two parts are so many times as fast, by slots and text length": table,
        },
    )


if __name__ == "__main__":
    main()
