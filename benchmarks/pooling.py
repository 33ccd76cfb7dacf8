"""What learned pooling costs beside the mean of the last layer, when texts are embedded.

Run: make bench    or: python -m benchmarks.pooling

The bundled encoder on texts of a mix of lengths, all ways in turns, one thread. Weights are those
that training begins with, since their values cost nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.measure import MEAN, mixed_texts, ratio, save
from prefixbank.config.schema import EncoderConfig
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pooling import Pooling
from prefixbank.core.timing import in_turns
from prefixbank.core.training.pooling import TrainablePooling
from prefixbank.data.encoders.batches import budget_batches
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.files import locate_encoder

TOKENS, BUDGET = 128, 4096
ATTENTION = replace(MEAN, position="attention")
WAYS = {
    "mean": MEAN,
    "mean again": MEAN,
    "attention": ATTENTION,
    "attention, 4 heads": replace(ATTENTION, heads=4),
    "mean of a mix of layers": replace(MEAN, layers="mix"),
    "attention over a mix": replace(ATTENTION, layers="mix"),
    "attention, projected to 96": replace(ATTENTION, size=96),
}


def embedder(encoder: Encoder, texts: list[str], pooling: Pooling) -> Callable[[], object]:
    """Return a function that embeds texts whose tokens are known."""
    with torch.no_grad():
        pooled = TrainablePooling(pooling, encoder.shape, 0)()
    bank = Bank(prefixes=(), weights=(), rule="concat_prefixes", pooling=pooled)
    batches = budget_batches(encoder.tokenize(texts, None, TOKENS), BUDGET)

    def run() -> None:
        embed_batches(encoder.model, batches, bank, count=len(texts), precision="fp32")

    return run


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder(locate_encoder(EncoderConfig()), "cpu")
    texts = mixed_texts(asked.texts)
    seconds = in_turns(
        {name: embedder(encoder, texts, pooling) for name, pooling in WAYS.items()}, asked.rounds
    )
    save(
        "pooling",
        {
            "texts": asked.texts,
            "rounds": asked.rounds,
            "time, as a multiple of that of the mean": {
                name: ratio(seconds, "mean", name) for name in WAYS if name != "mean"
            },
        },
    )


if __name__ == "__main__":
    main()
