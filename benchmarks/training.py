"""A training step of a prefix, beside PEFT's prefix tuning under the Trainer of transformers.

Run: make bench    or: python -m benchmarks.training

Both train one epoch on the same rows with the same encoder, slots, batch size, precision and length
limit, in turns. Tokenisation is part of neither. Ours makes batches of like lengths, as
`train-prefix` does; the Trainer shuffles and pads each batch to its longest text, as it does by
itself.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from peft import PrefixTuningConfig, TaskType, get_peft_model
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from benchmarks.measure import mixed_texts, ratio, save, task_of
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, OptimConfig, PrefixRecipe
from prefixbank.core.timing import in_turns
from prefixbank.core.training.fit import fit_prefix
from prefixbank.data.encoders.batches import epoch_batches, tokenize
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.tasks.task import Task
from prefixbank.runtime.session import Session
from prefixbank.steps.train_prefix.settings import fit_settings
from prefixbank.store.store import Store

MAX_TOKENS, SLOTS, BATCH = 128, 16, 8


def ours(encoder: Encoder, model: nn.Module, task: Task) -> Callable[[], object]:
    """Return what trains a prefix for one epoch on the model that `train-prefix` uses."""
    recipe = PrefixRecipe(
        optim=OptimConfig(epochs=1, batch_size=BATCH), max_length_tokens=MAX_TOKENS
    )
    tokens = tokenize(encoder.tokenizer, task.train.texts, None, MAX_TOKENS)
    labels = np.asarray(task.train.labels)
    validation = epoch_batches(
        tokenize(encoder.tokenizer, task.validation.texts, None, MAX_TOKENS),
        labels[:BATCH],
        batch_size=BATCH,
        seed=0,
        epoch=0,
    )
    fitted = fit_settings([task], recipe)

    def train() -> object:
        def batches(epoch: int) -> Any:
            return epoch_batches(tokens, labels, batch_size=BATCH, seed=0, epoch=epoch)

        return fit_prefix(model, encoder.shape, batches, [validation], fitted)

    return train


def theirs(folder: Path, encoder: Encoder, task: Task, out: str) -> Callable[[], object]:
    """Return what trains a prefix of PEFT for one epoch under the Trainer."""
    rows = encoder.tokenizer(list(task.train.texts), truncation=True, max_length=MAX_TOKENS)[
        "input_ids"
    ]
    data = [
        {"input_ids": ids, "labels": int(label)}
        for ids, label in zip(rows, task.train.labels, strict=True)
    ]
    arguments = TrainingArguments(
        output_dir=out,
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=3e-2,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )

    settings = PrefixTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=SLOTS)
    plain = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)

    def train() -> object:
        model = get_peft_model(copy.deepcopy(plain), settings)
        return Trainer(
            model=model,
            args=arguments,
            train_dataset=data,
            data_collator=DataCollatorWithPadding(encoder.tokenizer),
        ).train()

    return train


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    task = task_of(mixed_texts(asked.rows), BATCH)
    with TemporaryDirectory() as folder:
        session = Session(Store(Path(folder) / "store"), RunConfig(device="cpu"))
        files = session.encoder_files(EncoderConfig())
        encoder = session.load(files)
        seconds = in_turns(
            {
                "prefixbank": ours(encoder, session.inference_model(files, "fp32"), task),
                "PEFT and Trainer": theirs(files.folder, encoder, task, folder),
            },
            asked.rounds,
        )
    steps = -(-asked.rows // BATCH)
    save(
        "training",
        {
            "encoder": files.label,
            "rows": asked.rows,
            "batch_size": BATCH,
            "slots": SLOTS,
            "rounds": asked.rounds,
            "step_ms": {
                name: [1e3 * one / steps for one in times] for name, times in seconds.items()
            },
            "times_as_fast": ratio(seconds, of="prefixbank", to="PEFT and Trainer"),
        },
    )


if __name__ == "__main__":
    main()
