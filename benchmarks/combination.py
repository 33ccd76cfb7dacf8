"""What is left of each source task in a bank, and who gets the attention.

Run: python benchmarks/combination.py --data-root FOLDER --out docs/results/combination.json BANK...

For each bank, every source task's own head is put on the bank's vectors of that task's validation
rows: the score beside that of the prefix alone. And for each layer the mean share of attention that
goes to the text, over all tokens and heads, beside the share with one prefix. BANK is a ref of the
store, such as `transfer`. Two banks of the same prefixes under two rules can so be compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface

from prefixbank.artifacts.bank import pooling_from, read_bank
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.tensors import read_tensors
from prefixbank.commands.invocation import Invocation
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, TaskConfig
from prefixbank.core.attention.prefix_attention import ATTENTION, Slots, prefix_attention
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.stats.metrics import score
from prefixbank.core.training.heads import predictions_of
from prefixbank.data.encoders.batches import budget_batches, tokenize
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.context import Context
from prefixbank.store.artifact import Entry

TOKENS = 2048
MAX_LENGTH_TOKENS = 128
DIGITS = 4


@contextmanager
def attention_shares() -> Iterator[dict[int, list[float]]]:
    """Record, for each layer, the share of attention that tokens give to the text in every pass."""
    shares: dict[int, list[float]] = {}

    def measured(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> Any:
        slots = options.get("prefix_slots")
        if slots is not None:
            shares.setdefault(module.layer_idx, []).append(
                text_share(module.layer_idx, query, key, mask, slots)
            )
        return prefix_attention(module, query, key, value, mask, **options)

    AttentionInterface.register(ATTENTION, measured)
    try:
        yield shares
    finally:
        AttentionInterface.register(ATTENTION, prefix_attention)


def text_share(layer: int, query: Tensor, key: Tensor, mask: Tensor | None, slots: Slots) -> float:
    """Return the mean attention on the text, by the definition of softmax over slots and text."""
    scale = query.shape[-1] ** -0.5
    text = (query @ key.transpose(-1, -2) * scale).masked_fill(
        torch.tensor(False) if mask is None else ~mask, float("-inf")
    )
    prefix = query @ slots.keys[layer].transpose(-1, -2) * scale
    if slots.bias is not None:
        prefix = prefix + slots.bias[layer][None, :, None, :]
    weights = torch.cat([prefix, text], dim=-1).softmax(dim=-1)
    return float(weights[..., prefix.shape[-1] :].sum(dim=-1).mean())


def vectors_of(encoder: Encoder, bank: Bank, task: Task) -> tuple[np.ndarray, list[float]]:
    """Return vectors of a task's validation rows, and the attention on the text by layer.

    The attention is the share of it that the text has.
    """
    rows = task.validation
    tokens = tokenize(encoder.tokenizer, rows.texts, rows.pairs, MAX_LENGTH_TOKENS)
    with attention_shares() as shares:
        (vectors,) = embed_batches(
            encoder.model, budget_batches(tokens, TOKENS), bank, count=len(rows), precision="fp32"
        )
    return vectors, [round(float(np.mean(shares[layer])), DIGITS) for layer in sorted(shares)]


def own_score(vectors: np.ndarray, prefix: Entry, task: Task) -> float:
    """Return the validation score of a source task's own head on vectors."""
    head = read_tensors(prefix, "head.safetensors")
    outputs = torch.from_numpy(vectors) @ head["weight"].T + head["bias"]
    return round(
        score(
            task.metric,
            predictions_of(task.kind, outputs),
            task.validation.labels,
            task.num_outputs,
        ),
        DIGITS,
    )


def measure(context: Context, name: str, rows: int) -> dict[str, Any]:
    """Return each source task's score alone and in the bank, and attention on the text.

    Attention is the share of it that the text has in each layer.
    """
    entry = context.store.resolve("bank", name)
    bank = read_bank(entry)
    if isinstance(bank, BlockBank):
        raise ValueError("in a bank of blocks every source keeps all that it has alone")
    encoder = context.load(context.encoder_of_bank(entry, EncoderConfig(source="bank")))
    sources: dict[str, Any] = {}
    for place, name_of_prefix in enumerate(entry.info["named"]):
        prefix = context.store.resolve(
            "prefix", entry.info["from"].get(f"prefix/{name_of_prefix}", name_of_prefix)
        )
        task = context.task(TaskConfig(name=prefix.info["task"], max_validation_rows=rows))
        # As the head was trained; the bank may be read in another way.
        pooling = pooling_from(pooling_of(prefix))
        alone = Bank(
            prefixes=(bank.prefixes[place],),
            weights=(1.0,),
            rule="concat_prefixes",
            pooling=pooling,
        )
        plain = Bank(prefixes=(), weights=(), rule="concat_prefixes", pooling=pooling)
        own, in_bank = (
            vectors_of(encoder, alone, task),
            vectors_of(encoder, replace(bank, pooling=pooling), task),
        )
        sources[task.name] = {
            "metric": task.metric,
            "rows": len(task.validation),
            "alone": own_score(own[0], prefix, task),
            "bank": own_score(in_bank[0], prefix, task),
            "plain": own_score(vectors_of(encoder, plain, task)[0], prefix, task),
            "text_attention_alone": own[1],
            "text_attention_bank": in_bank[1],
        }
    means = {
        column: round(float(np.mean([one[column] for one in sources.values()])), DIGITS)
        for column in ("alone", "bank", "plain")
    }
    return {
        "bank": name,
        "rule": bank.rule,
        "weights": list(bank.weights),
        "mean": means,
        "sources": sources,
    }


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("banks", nargs="+")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--store")
    parser.add_argument(
        "--rows", type=int, default=500, help="validation rows of each source at most"
    )
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    context = Invocation(store=asked.store).context(RunConfig(data_root=asked.data_root))
    text = json.dumps([measure(context, name, asked.rows) for name in asked.banks], indent=1) + "\n"
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
