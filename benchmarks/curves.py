"""How the cost of embedding grows with slots, text length and batch size.

Beside it stands what the machine multiplies at best.

Run: make bench    or: python -m benchmarks.curves

Texts are random token ids of one length each, so that nothing is padded; the share is of the rate
of matrix products measured in the same round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.measure import RESULTS, matrix_work, operations, random_bank, save
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig
from prefixbank.core.embed import embed_batches
from prefixbank.core.shapes import Batch
from prefixbank.core.timing import in_turns
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.runtime.device import open_device
from prefixbank.runtime.session import Session
from prefixbank.store.store import Store

SLOTS = (0, 16, 32, 64, 128, 256, 512)
LENGTHS = (8, 16, 32, 64, 128, 256)
BATCH_TOKENS = (128, 256, 512, 1024, 2048, 4096, 8192)
TOKENS, LENGTH, BATCH = 8192, 32, 1024


def batches_of(length: int, batch_tokens: int, workers: int) -> list[Batch]:
    """Return `TOKENS` tokens, or as many as give every core two batches, in texts of one length."""
    rows, texts = max(1, batch_tokens // length), max(TOKENS, 2 * workers * batch_tokens) // length
    generator = torch.Generator().manual_seed(0)
    made = []
    for start in range(0, texts, rows):
        count = min(rows, texts - start)
        ids = torch.randint(1000, 20000, (count, length), generator=generator)
        made.append(
            Batch(
                rows=np.arange(start, start + count),
                inputs={"input_ids": ids, "attention_mask": torch.ones_like(ids)},
            )
        )
    return made


def curve(
    encoder: Encoder,
    model: torch.nn.Module,
    workers: int,
    points: dict[str, tuple[int, int, int]],
    rounds: int,
) -> dict[str, dict[str, float]]:
    """Return seconds and share of the matrix rate at each point.

    A point is slots, length and tokens in a batch.
    """
    multiply, products = matrix_work(encoder.shape.hidden_size, BATCH, workers)
    functions: dict[str, Callable[[], object]] = {"products": multiply}
    flops = {}
    for name, (slots, length, batch_tokens) in points.items():
        bank, batches = (
            random_bank(encoder, slots and 1, slots),
            batches_of(length, batch_tokens, workers),
        )
        flops[name] = operations(encoder, bank, batches)
        functions[name] = partial(
            embed_batches,
            model,
            batches,
            bank,
            count=sum(len(batch.rows) for batch in batches),
            precision="fp32",
            workers=workers,
        )
    seconds = in_turns(functions, rounds)
    return {
        name: {
            "seconds": median(seconds[name]),
            "share_of_matrix_rate": median(
                count / one * best / products
                for one, best in zip(seconds[name], seconds["products"], strict=True)
            ),
        }
        for name, count in flops.items()
    }


def draw(curves: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Draw the three curves side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    for axis, (title, points) in zip(axes, curves.items(), strict=True):
        names = [int(name) for name in points]
        if title == "slots":
            bare = points["0"]["seconds"]
            axis.plot(
                names,
                [point["seconds"] / bare for point in points.values()],
                marker="o",
                color="black",
                label="measured",
            )
            axis.axhline(1.0, color="grey", linestyle="--", label="bare encoder")
            axis.set_xlabel("slots read, K·P")
            axis.set_ylabel("time / bare encoder")
            axis.set_ylim(0, 1.1 * max(point["seconds"] / bare for point in points.values()))
        else:
            axis.plot(
                names,
                [point["share_of_matrix_rate"] for point in points.values()],
                marker="o",
                color="black",
                label="measured",
            )
            axis.axhline(1.0, color="grey", linestyle="--", label="matrix products alone")
            axis.set_xscale("log", base=2)
            axis.set_xticks(names, [f"{name:,}" for name in names])
            axis.set_xlabel(title)
            axis.set_ylabel("share of the matrix rate")
            axis.set_ylim(0, 1.1)
        axis.legend(loc="lower right", fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Measure, print, draw and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        session = Session(Store(Path(folder)), RunConfig(device="cpu"))
        files = session.encoder_files(EncoderConfig())
        encoder, model, workers = (
            session.load(files),
            session.inference_model(files, "fp32"),
            open_device(session.run).embed_workers,
        )
        points = {
            "slots": {str(slots): (slots, LENGTH, BATCH) for slots in SLOTS},
            "tokens in a text": {str(length): (0, length, BATCH) for length in LENGTHS},
            "tokens in a batch": {str(tokens): (0, LENGTH, tokens) for tokens in BATCH_TOKENS},
        }
        curves = {
            title: curve(encoder, model, workers, of_title, asked.rounds)
            for title, of_title in points.items()
        }
    result: dict[str, Any] = {
        "encoder": files.label,
        "tokens": TOKENS,
        "rounds": asked.rounds,
        "curves": curves,
    }
    save("curves", result)
    draw(curves, RESULTS.parents[1] / "docs" / "results" / "speed.png")


if __name__ == "__main__":
    main()
