"""Read-outs: what one pass with many sources costs beside the bare encoder, and what a step costs.

Run: make bench    or: python -m benchmarks.readouts

All methods take the same texts in every round, and ratios are of one round. Times are those that
the processor worked for the process, which other work on the machine disturbs little. Embedding
runs one batch on each core, training one thread. Tokenisation is part of no time but PEFT's.

The closed form counts products: those of the text, and for each of K·M read-outs those of the
layers and of attention to T tokens, P slots and M read-outs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.curves import batches_of
from benchmarks.measure import MEAN, RESULTS, mixed_texts, random_bank, save, task_of
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, OptimConfig, PrefixConfig, PrefixRecipe
from prefixbank.core.blocks import BlockBank, BlockEncoder
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.prompt import word_table
from prefixbank.core.readout import Readout, encode_text
from prefixbank.core.shapes import Batch, EncoderShape
from prefixbank.core.timing import in_turns
from prefixbank.core.training.learners import PrefixLearner, ReadoutLearner
from prefixbank.core.training.text_cache import TextCache
from prefixbank.data.encoders.batches import budget_batches, epoch_batches, tokenize
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.runtime.device import Device, open_device
from prefixbank.runtime.session import Session
from prefixbank.steps.train_prefix.settings import fit_settings
from prefixbank.store.store import Store

MAX_TOKENS, SLOTS, SHORT = 256, 16, 16
SOURCES, PEER_SOURCES = (1, 2, 4, 8, 16, 32), 8
CURVES = ((1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (32, 1), (1, 4), (2, 4), (4, 4), (8, 4))
TOGETHER = ((8, 1), (32, 1), (8, 4))
TRAINING_BATCH, TRAINED = 8, 4
MIXED, SHORT_TEXTS = "mixed lengths", f"{SHORT} tokens"
BARE = "bare encoder"


class AllAtOnce(BlockBank):
    """A bank whose sources share their matrix products on a CPU too, at the price of their bits."""

    def to(self, device: torch.device, dtype: torch.dtype) -> AllAtOnce:
        """Return the bank itself: it is on the CPU, in fp32."""
        return self

    def on(self, model: nn.Module) -> BlockEncoder:
        """Make the bank ready to encode many batches."""
        return BlockEncoder(model, self, apart=False)


def random_readouts(encoder: Encoder, sources: int, count: int) -> BlockBank:
    """Return a bank of untrained read-outs, which costs what a trained one costs.

    Args:
        encoder: whose they are.
        sources: K.
        count: M, read-outs of each.
    """
    generator = torch.Generator().manual_seed(0)
    table = word_table(encoder.model)
    made = tuple(
        Readout(
            vectors=table.std() * torch.randn(count, table.shape[1], generator=generator),
            slots=0.5 * torch.randn(encoder.shape.prefix_shape(SLOTS), generator=generator),
        )
        for _ in range(sources)
    )
    return BlockBank(readouts=made, plain=MEAN)


def copied(batch: Batch, times: int) -> Batch:
    """Return a batch that holds each text several times, one after the other."""
    return Batch(
        rows=np.tile(batch.rows, times),
        inputs={name: tensor.repeat(times, 1) for name, tensor in batch.inputs.items()},
    )


def closed_form(encoder: Encoder, lengths: Sequence[int], sources: int, count: int) -> float:
    """Return the products of one pass with read-outs over those of the bare encoder."""
    config: Any = encoder.model.config
    size, inner = config.hidden_size, config.intermediate_size
    layer = 4 * size * size + 2 * size * inner  # of one token; attention to n keys is 2·size·n
    bare = sum(tokens * (layer + 2 * size * tokens) for tokens in lengths)
    read = sum(
        sources * count * (layer + 2 * size * (tokens + SLOTS + count)) for tokens in lengths
    )
    return 1.0 + float(read / bare)


def embedding(
    encoder: Encoder,
    model: nn.Module,
    batches: list[Batch],
    workers: int,
    rounds: int,
    others: dict[str, Callable[[], object]],
) -> dict[str, Any]:
    """Return how many times the processor time of the bare encoder each method takes.

    Args:
        encoder: the encoder.
        model: its model for inference.
        batches: the texts.
        workers: batches computed at a time.
        rounds: turns of each method.
        others: methods of other libraries on the same texts.
    """
    texts = sum(len(batch.rows) for batch in batches)
    lengths = [int(one) for batch in batches for one in batch.inputs["attention_mask"].sum(dim=1)]
    many = [copied(batch, PEER_SOURCES) for batch in batches]

    def reading(bank: Bank | BlockBank, of: list[Batch] = batches) -> Callable[[], object]:
        return lambda: embed_batches(
            model, of, bank, count=texts, precision="fp32", workers=workers
        )

    one, deep = random_bank(encoder, 1, SLOTS), random_bank(encoder, PEER_SOURCES, SLOTS)
    readouts = {of: random_readouts(encoder, *of) for of in CURVES}
    passes = reading(one)
    methods = {
        BARE: reading(random_bank(encoder, 0, 0)),
        **{_name(*of): reading(bank) for of, bank in readouts.items()},
        **{
            f"{_name(*of)}, all products at once": reading(
                AllAtOnce(readouts=readouts[of].readouts, plain=MEAN)
            )
            for of in TOGETHER
        },
        f"one pass of a bank of {PEER_SOURCES} deep prefixes": reading(deep),
        f"{PEER_SOURCES} passes, one deep prefix each": lambda: [
            passes() for _ in range(PEER_SOURCES)
        ],
        f"one pass over {PEER_SOURCES} copies of each text, a deep prefix each": reading(one, many),
        **others,
    }
    seconds = in_turns(methods, rounds, clock=time.process_time)
    return {
        "texts": texts,
        "mean_tokens": float(np.mean(lengths)),
        "bare_ms_per_text": 1e3 * median(seconds[BARE]) / texts,
        "over_bare": {
            name: _spread(times, seconds[BARE]) for name, times in seconds.items() if name != BARE
        },
        "closed_form": {_name(*of): closed_form(encoder, lengths, *of) for of in CURVES},
    }


def _name(sources: int, count: int) -> str:
    return f"read-outs, K = {sources}, M = {count}"


def _spread(times: Sequence[float], of: Sequence[float]) -> dict[str, float]:
    """Return the ratio to other times of the same rounds: median, least and most."""
    ratios = [one / other for one, other in zip(times, of, strict=True)]
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def peft(folder: Path, encoder: Encoder, texts: Sequence[str]) -> dict[str, Callable[[], object]]:
    """Return passes of PEFT's prefix tuning, if it is installed."""
    if find_spec("peft") is None or find_spec("sentence_transformers") is None:
        print("PEFT is left out: pip install 'prefixbank[bench]'", file=sys.stderr)
        return {}
    from benchmarks.peers import peft_passes

    read = peft_passes(str(folder), encoder.tokenizer, texts, PEER_SOURCES)
    return {f"{PEER_SOURCES} passes of PEFT prefix tuning": read}


def training(
    encoder: Encoder, model: nn.Module, batches: list[Batch], rounds: int
) -> dict[str, dict[str, float]]:
    """Return steps over the plain forward pass of their batches without gradients.

    Args:
        encoder: the encoder.
        model: its model for inference, on which read-outs are trained.
        batches: batches with labels.
        rounds: turns of each method, over all batches.
    """

    def forward() -> None:
        with torch.no_grad():
            for batch in batches:
                model(**batch.inputs)

    def recomputed(inputs: Any) -> Any:
        return encode_text(model, inputs)[0]

    def cached(dtype: torch.dtype) -> Callable[[Any], Any]:
        cache = TextCache(batches, encoder.shape, dtype)
        with torch.no_grad():
            cache.fill(model)
        return lambda inputs: cache.states(inputs, torch.device("cpu"))

    methods: dict[str, Callable[[], object]] = {"forward": forward}
    for name, how in {
        "read-outs, texts encoded": recomputed,
        "read-outs, cached_fp32": cached(torch.float32),
        "read-outs, cached_fp16": cached(torch.float16),
    }.items():
        learner = ReadoutLearner(model, *_learned(encoder.shape, "readout"), how)
        methods[name] = _steps(learner, batches)
    methods["deep prefix"] = _steps(PrefixLearner(model, *_learned(encoder.shape, "deep")), batches)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other, above all on a busy machine
    seconds = in_turns(methods, rounds, clock=time.process_time)
    torch.set_num_threads(threads)
    return {
        name: {
            "ms": 1e3 * median(times) / len(batches),
            **_spread(times, seconds["forward"]),
        }
        for name, times in seconds.items()
    }


def _learned(shape: EncoderShape, kind: Any) -> tuple[EncoderShape, Any]:
    """Return the sizes of the encoder and what is fitted."""
    prefix = PrefixConfig(length=SLOTS, kind=kind)
    recipe = PrefixRecipe(
        prefix=replace(prefix, readouts=TRAINED) if kind == "readout" else prefix,
        optim=OptimConfig(batch_size=TRAINING_BATCH),
    )
    return shape, fit_settings([task_of(["good", "bad"], 2)], recipe, words=(1000,) * TRAINED)


def _steps(learner: PrefixLearner, batches: list[Batch]) -> Callable[[], None]:
    """Return what makes a step on each batch: forward, backward, clipping, update."""
    parameters = [one for part in learner.parts.values() for one in part.module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)

    def step() -> None:
        for draw, batch in enumerate(batches):
            assert batch.labels is not None
            loss = functional.cross_entropy(learner.outputs(batch, draw), batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return step


def labelled(batches: Sequence[Batch]) -> list[Batch]:
    """Return batches with labels of two classes."""
    return [replace(batch, labels=torch.from_numpy(batch.rows % 2)) for batch in batches]


def embed_once(sources: int) -> None:
    """Embed a mix of texts once, with one read-out of each of so many sources."""
    with TemporaryDirectory() as folder:
        encoder, model, device = opened(Path(folder))
        tokens = tokenize(encoder.tokenizer, mixed_texts(96), None, MAX_TOKENS)
        bank = random_readouts(encoder, sources, 1) if sources else random_bank(encoder, 0, 0)
        embed_batches(
            model,
            budget_batches(tokens, device.embed_tokens),
            bank,
            count=len(tokens),
            precision="fp32",
            workers=device.embed_workers,
        )
    # What `resource` reports includes the memory of the parent that started this process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    print(int(peak) / 1e3)  # Linux counts kilobytes


def peak_mb(sources: int) -> float:
    """Return the greatest resident memory of a process that embeds."""
    command = (sys.executable, "-m", "benchmarks.readouts", "--embed-once", str(sources))
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def opened(folder: Path) -> tuple[Encoder, nn.Module, Device]:
    """Return the bundled encoder, its model for inference, and the CPU."""
    session = Session(Store(folder), RunConfig(device="cpu"))
    files = session.encoder_files(EncoderConfig())
    return session.load(files), session.inference_model(files, "fp32"), open_device(session.run)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw measured cost and closed form over the sources."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(8.5, 3.4), layout="constrained")
    for axis, (title, of) in zip(axes, found.items(), strict=True):
        for count, marker in ((1, "o"), (4, "s")):
            sources = [one for one, other in CURVES if other == count]
            names = [_name(one, count) for one in sources]
            axis.plot(
                sources,
                [of["over_bare"][name]["median"] for name in names],
                marker=marker,
                color="black",
                label=f"M = {count}, measured",
            )
            axis.plot(
                sources,
                [of["closed_form"][name] for name in names],
                linestyle="--",
                color="grey",
                label=f"M = {count}, products",
            )
        axis.set_title(title, fontsize=9)
        axis.set_xscale("log", base=2)
        axis.set_xticks(SOURCES, [str(one) for one in SOURCES])
        axis.set_xlabel("sources K")
        axis.set_ylabel("time / bare encoder")
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Measure, print, draw and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("embedding", "training", "peak_mb"),
        help="measure these parts again and keep the others",
    )
    parser.add_argument("--embed-once", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    if asked.embed_once is not None:
        embed_once(asked.embed_once)
        return
    texts = mixed_texts(asked.texts)
    with TemporaryDirectory() as folder:
        encoder, model, device = opened(Path(folder))
    tokens = tokenize(encoder.tokenizer, texts, None, MAX_TOKENS)
    budget, workers = device.embed_tokens, device.embed_workers
    embedded = {
        MIXED: list(budget_batches(tokens, budget)),
        SHORT_TEXTS: batches_of(SHORT, budget, workers)[:workers],
    }
    rows = np.arange(len(tokens)) % 2
    trained = {
        MIXED: epoch_batches(tokens, rows, batch_size=TRAINING_BATCH, seed=0, epoch=0),
        SHORT_TEXTS: labelled(batches_of(SHORT, TRAINING_BATCH * SHORT, 0)[:8]),
    }
    others = {MIXED: peft(encoder.files.folder, encoder, texts), SHORT_TEXTS: {}}
    parts: dict[str, Callable[[], Any]] = {
        "embedding": lambda: {
            title: embedding(encoder, model, batches, workers, asked.rounds, others[title])
            for title, batches in embedded.items()
        },
        "training": lambda: {
            title: training(encoder, model, batches, 2 * asked.rounds)
            for title, batches in trained.items()
        },
        "peak_mb": lambda: {str(sources): peak_mb(sources) for sources in (0, 8, 32)},
    }
    before = RESULTS / "readouts.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.is_file() else {}
    result: dict[str, Any] = {
        "encoder": encoder.files.label,
        "rounds": asked.rounds,
        "slots": SLOTS,
        "peer_sources": PEER_SOURCES,
        "training_batch": TRAINING_BATCH,
        "trained_readouts": TRAINED,
        **{
            name: kept.get(name) if asked.only and name not in asked.only else measure()
            for name, measure in parts.items()
        },
    }
    save("readouts", result)
    draw(result["embedding"], RESULTS.parents[1] / "docs" / "results" / "readouts.png")


if __name__ == "__main__":
    main()
