"""What a training step costs, as a multiple of the forward pass.

Both are of the same batch with the same prefix.

Run: make bench    or: python -m benchmarks.step_cost --out docs/results/step_cost.json

Forward pass and step alternate within one run, so that a noisy machine disturbs both alike; medians
are compared. The step is forward, gradients with respect to activations, prefix and head, clipping
and AdamW update; the frozen weights of the encoder get no gradient.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from prefixbank.config.schema import EncoderConfig
from prefixbank.core.embed import encode
from prefixbank.core.packed import pack_linear_layers, packable
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import PrefixStart, TrainablePrefix
from prefixbank.core.training.heads import new_head
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.files import locate_encoder

ROWS = 32
PREFIX_LENGTH = 16
POOLING = Pooling(position="mean", layers="last", last_k=1, layer=0)
START = PrefixStart(
    length=PREFIX_LENGTH,
    init_scale=0.5,
    projection="none",
    mlp_hidden_size=512,
    gated=False,
    gate_init=0.0,
    dropout=0.0,
)


def measure(encoder: Encoder, model: nn.Module, tokens: int, repeats: int) -> dict[str, Any]:
    """Return median times of forward pass and step of a model, and their ratio.

    The batch has ROWS texts of about `tokens` tokens.
    """
    prefix, head = (
        TrainablePrefix(encoder.shape, START, 0),
        new_head(encoder.shape.hidden_size, 2, 1),
    )
    optimizer = torch.optim.AdamW([*prefix.parameters(), *head.parameters()], lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 20000, (ROWS, tokens), generator=generator)
    mask = torch.ones_like(ids)
    mask[::2, tokens - tokens // 4 :] = 0
    inputs, labels = {"input_ids": ids, "attention_mask": mask}, torch.arange(ROWS) % 2

    def forward() -> None:
        with torch.no_grad():
            head(encode(model, inputs, prefix().slots(), POOLING))

    def step() -> None:
        loss = functional.cross_entropy(
            head(encode(model, inputs, prefix().slots(), POOLING)), labels
        )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*prefix.parameters(), *head.parameters()], 1.0)
        optimizer.step()
        optimizer.zero_grad()

    forward_s, step_s = alternate(forward, step, repeats)
    ratios = [after / before for before, after in zip(forward_s, step_s, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "tokens": tokens,
        "forward_ms": 1e3 * statistics.median(forward_s),
        "step_ms": 1e3 * statistics.median(step_s),
        "ratio": statistics.median(step_s) / statistics.median(forward_s),
        "ratio_quartiles": [low, middle, high],
    }


def alternate(
    first: Callable[[], None], second: Callable[[], None], repeats: int
) -> tuple[list[float], list[float]]:
    """Time two functions in turn, after two calls of each that do not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 2):
        for place, function in enumerate((first, second)):
            started = time.perf_counter()
            function()
            if turn >= 2:
                times[place].append(time.perf_counter() - started)
    return times


def main() -> None:
    """Measure at several text lengths and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, help="also write the JSON there")
    asked = parser.parse_args()
    encoder = load_encoder(locate_encoder(EncoderConfig()), "cpu")
    packed = packable(encoder.model, torch.float32)
    model = pack_linear_layers(encoder.model, torch.float32) if packed else encoder.model
    result = {
        "encoder": encoder.files.label,
        "prefix_length": PREFIX_LENGTH,
        "rows": ROWS,
        "repeats": asked.repeats,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "lengths": [measure(encoder, model, tokens, asked.repeats) for tokens in (16, 32, 64, 128)],
    }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
