"""What the benchmarks share.

Texts of a realistic mix of lengths, timing in turns, the matrix rate, and what the machine is.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prefixbank.config.schema import TaskConfig
from prefixbank.core.combine import Bank, default_weights
from prefixbank.core.embed import encode
from prefixbank.core.packed import pack_linear_layers, packable
from prefixbank.core.parallel import parallel_map
from prefixbank.core.pooling import Pooling
from prefixbank.core.prefix import Prefix
from prefixbank.core.shapes import Batch
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.tasks.load import load_task
from prefixbank.data.tasks.task import Examples, Task

MEAN = Pooling(position="mean", layers="last", last_k=1, layer=0)
RESULTS = Path(__file__).with_name("results")
STARTER = ("polarity", "topic", "emotion", "complaint")
WORDS = ((16, 0.55), (38, 0.25), (150, 0.75))
"""Median and spread (of the logarithm) of the words in a text: about those of reviews cut to
sentences, of news leads and of whole reviews, a third of the texts each."""


def mixed_texts(count: int, seed: int = 0) -> list[str]:
    """Return texts of a mix of lengths, put together from sentences of the bundled tasks."""
    rng = np.random.default_rng(seed)
    sentences = [
        text
        for name in STARTER
        for text in load_task(TaskConfig(name=name, source="starter")).train.texts
    ]
    texts = []
    for number in range(count):
        median, spread = WORDS[number % len(WORDS)]
        wanted = max(3, int(rng.lognormal(np.log(median), spread)))
        words: list[str] = []
        while len(words) < wanted:
            words += sentences[rng.integers(len(sentences))].split()
        texts.append(" ".join(words[:wanted]))
    return texts


def ratio(seconds: Mapping[str, list[float]], of: str, to: str) -> dict[str, float]:
    """Return how many times faster `of` was than `to`: median over rounds, least and most."""
    ratios = [slow / fast for fast, slow in zip(seconds[of], seconds[to], strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def matrix_work(
    hidden_size: int, tokens: int, workers: int, products: int = 200
) -> tuple[Callable[[], object], float]:
    """Return products like those of an encoder's feed-forward layers, and their operations.

    They are spread over the cores as embedding is.
    """
    layer = nn.Sequential(nn.Linear(hidden_size, 4 * hidden_size, bias=False)).requires_grad_(False)
    product = pack_linear_layers(layer, torch.float32) if packable(layer, torch.float32) else layer
    states = torch.randn(tokens, hidden_size)

    def multiply(_: int) -> None:
        with torch.inference_mode():
            product(states)

    flops = 2.0 * tokens * hidden_size * 4 * hidden_size * products
    return (lambda: list(parallel_map(multiply, range(products), workers))), flops


def random_bank(encoder: Encoder, prefixes: int, slots: int) -> Bank:
    """Return a bank of untrained prefixes, which costs what a trained one costs.

    Of none, the plain encoder.
    """
    generator = torch.Generator().manual_seed(0)
    tensors = [
        0.5 * torch.randn(encoder.shape.prefix_shape(slots), generator=generator)
        for _ in range(prefixes)
    ]
    made = tuple(Prefix(tensor=tensor) for tensor in tensors)
    return Bank(
        prefixes=made,
        weights=default_weights(prefixes, normalize=True) if made else (),
        rule="concat_prefixes",
        pooling=MEAN,
    )


def task_of(texts: Sequence[str], few: int) -> Task:
    """Return a task of two classes over texts: what is learned does not matter here.

    Args:
        texts: train rows.
        few: rows of the other splits.
    """
    train, rest = (
        Examples(texts=tuple(part), pairs=None, labels=np.arange(len(part)) % 2)
        for part in (texts, texts[:few])
    )
    return Task(
        name="timing",
        kind="classification",
        metric="accuracy",
        labels=("no", "yes"),
        train=train,
        validation=rest,
        test=rest,
        notes=(),
    )


def operations(encoder: Encoder, bank: Bank, batches: Iterable[Batch]) -> float:
    """Count the operations of all products that embedding takes."""
    (slots,) = bank.passes()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for batch in batches:
            encode(encoder.model, batch.inputs, slots, MEAN)
    return float(counter.get_total_flops())


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def save(name: str, result: Mapping[str, Any]) -> None:
    """Print a result and keep it in benchmarks/results."""
    text = json.dumps({**machine(), **result}, indent=1)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
