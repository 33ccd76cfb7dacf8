"""Embedding with and without a bank, beside what people do today.

Run: make bench    or: python -m benchmarks.peers

Every method embeds the same texts in every round, and ratios are of one round, so that a noisy
machine disturbs all alike. Tokenisation is part of every time. sentence-transformers gets the
encoder as its makers packed it; PEFT gets batches sorted by length, as sentence-transformers makes
them.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from peft import PrefixTuningConfig, TaskType, get_peft_model
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from benchmarks.measure import matrix_work, mixed_texts, operations, random_bank, ratio, save
from prefixbank.choices import Precision
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EmbedRecipe, EncoderConfig
from prefixbank.core.timing import in_turns
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.batches import budget_batches, tokenize
from prefixbank.runtime.device import open_device
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.rows import embed_rows
from prefixbank.store.store import Store

MAX_TOKENS, SLOTS, PEER_BATCH = 256, 16, 32


def ours(
    session: Session, prefixes: int, texts: Sequence[str], precision: Precision
) -> Callable[[], np.ndarray]:
    """Return what embeds texts with a bank, as `prefixbank embed` does."""
    files = session.encoder_files(EncoderConfig())
    bank, recipe = (
        random_bank(session.load(files), prefixes, SLOTS),
        EmbedRecipe(max_length_tokens=MAX_TOKENS, precision=precision),
    )
    return lambda: embed_rows(session, bank, files, Texts(texts=tuple(texts)), recipe)[0][0]


def theirs(model: SentenceTransformer, texts: Sequence[str]) -> np.ndarray:
    """Return sentence-transformers' vectors, as its `encode` makes them."""
    vectors: np.ndarray = model.encode(
        list(texts), batch_size=PEER_BATCH, show_progress_bar=False, convert_to_numpy=True
    )
    return vectors


def peft_passes(
    folder: str, tokenizer: Any, texts: Sequence[str], tasks: int
) -> Callable[[], None]:
    """Return what reads all texts once for each of several prefixes of PEFT."""
    settings = PrefixTuningConfig(task_type=TaskType.FEATURE_EXTRACTION, num_virtual_tokens=SLOTS)
    model = get_peft_model(AutoModel.from_pretrained(folder), settings, adapter_name="0").eval()
    for task in range(1, tasks):
        model.add_adapter(str(task), settings)
    ordered = sorted(texts, key=len, reverse=True)

    def read() -> None:
        for task in range(tasks):
            model.set_adapter(str(task))
            for start in range(0, len(ordered), PEER_BATCH):
                rows = ordered[start : start + PEER_BATCH]
                inputs = tokenizer(
                    rows, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
                )
                with torch.inference_mode():
                    states = model(**inputs).last_hidden_state
                    weights = inputs["attention_mask"].unsqueeze(-1)
                    ((states * weights).sum(dim=1) / weights.sum(dim=1)).numpy()

    return read


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the least cosine of two vectors of one text."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / lengths).min())


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=450)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--tasks", type=int, default=8, help="K: prefixes in the bank, passes of the peers"
    )
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
    texts = mixed_texts(asked.texts)
    with TemporaryDirectory() as folder:
        session = Session(Store(Path(folder)), RunConfig(device="cpu"))
        files = session.encoder_files(EncoderConfig())
        encoder, device = session.load(files), open_device(session.run)
        model = SentenceTransformer(str(files.folder), device="cpu")
        model.max_seq_length = MAX_TOKENS
        fine_tuned = [copy.deepcopy(model) for _ in range(asked.tasks)]
        budget, workers = device.embed_tokens, device.embed_workers
        multiply, products = matrix_work(encoder.shape.hidden_size, budget, workers)
        plain, bank = "prefixbank, no prefix", f"prefixbank, {asked.tasks} prefixes"
        methods: dict[str, Callable[[], object]] = {
            "sentence-transformers encode": lambda: theirs(model, texts),
            plain: ours(session, 0, texts, "fp32"),
            bank: ours(session, asked.tasks, texts, "fp32"),
            f"{plain}, bf16": ours(session, 0, texts, "bf16"),
            f"{bank}, bf16": ours(session, asked.tasks, texts, "bf16"),
            f"{asked.tasks} fine-tuned encoders, sentence-transformers": lambda: [
                theirs(one, texts) for one in fine_tuned
            ],
            f"{asked.tasks} passes of PEFT prefix tuning": peft_passes(
                str(files.folder), encoder.tokenizer, texts, asked.tasks
            ),
            "matrix products alone": multiply,
        }
        seconds = in_turns(methods, asked.rounds)
        flops = {
            name: operations(
                encoder,
                random_bank(encoder, count, SLOTS),
                budget_batches(tokenize(encoder.tokenizer, texts, None, MAX_TOKENS), budget),
            )
            for name, count in ((plain, 0), (bank, asked.tasks))
        }
        vectors = {name: np.asarray(methods[name]()) for name in list(methods)[:5]}
    first = next(iter(methods))
    rate = [products / one for one in seconds["matrix products alone"]]
    lengths = tokenize(encoder.tokenizer, texts, None, MAX_TOKENS).lengths
    save(
        "peers",
        {
            "encoder": files.label,
            "texts": len(texts),
            "tokens": {
                "mean": float(lengths.mean()),
                "quantiles 5 50 95 %": np.quantile(lengths, [0.05, 0.5, 0.95]).tolist(),
            },
            "rounds": asked.rounds,
            "slots_per_prefix": SLOTS,
            "texts_per_s": {
                name: [len(texts) / one for one in times]
                for name, times in seconds.items()
                if name in list(methods)[:7]
            },
            "times_as_fast": {
                f"{name} / {other}": ratio(seconds, of=name, to=other)
                for name, other in (
                    (plain, first),
                    (bank, first),
                    (bank, plain),
                    (f"{plain}, bf16", plain),
                    (f"{bank}, bf16", bank),
                    *((bank, other) for other in list(methods)[5:7]),
                )
            },
            "matrix_gflops": [one / 1e9 for one in rate],
            "share_of_matrix_rate": {
                name: [count / one / peak for one, peak in zip(seconds[name], rate, strict=True)]
                for name, count in flops.items()
            },
            "least_cosine": {
                plain: agreement(vectors[plain], vectors[first]),
                f"{plain}, bf16": agreement(vectors[f"{plain}, bf16"], vectors[plain]),
                f"{bank}, bf16": agreement(vectors[f"{bank}, bf16"], vectors[bank]),
            },
        },
    )


if __name__ == "__main__":
    main()
