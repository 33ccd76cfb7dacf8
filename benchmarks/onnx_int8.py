"""What integers of 8 bits in an ONNX file cost in accuracy, and gain in size and time.

Run: python -m benchmarks.onnx_int8    (about five minutes on one core)

Two prefixes of the starter suite are trained for two epochs and combined, and a probe is fitted for
each of its targets. The bank is exported with all probes in `precision=fp32` and in
`precision=int8`. onnxruntime then runs both files, with one thread, on the targets' test rows; and
in turns on texts of a realistic mix of lengths, tokenisation included.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

import prefixbank as pb
from benchmarks.measure import mixed_texts, ratio, save
from prefixbank.core.stats.bootstrap import percentile_interval, resampled_scores
from prefixbank.core.stats.metrics import score
from prefixbank.core.timing import in_turns
from prefixbank.data.starter.suite import STARTER_TARGETS, starter_task
from prefixbank.data.tasks.task import Examples, Task

SOURCES, EPOCHS, BANK = ("polarity", "topic"), 2, "onnx-int8"
PRECISIONS = ("fp32", "int8")
BATCH, SAMPLES = 32, 2000
INTEGERS = ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""Instructions for products of integers, by their names in /proc/cpuinfo."""
Outputs = Mapping[str, np.ndarray]
"""Name of an output to its rows, [N, C]."""


class Exported:
    """An exported folder, run as its model card says: without prefixbank.

    Args:
        folder: of the export.
    """

    def __init__(self, folder: Path) -> None:
        self.described = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.size_bytes = (folder / "model.onnx").stat().st_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, texts: Sequence[Any], batch: int = BATCH) -> Outputs:
        """Return all outputs of texts, or of pairs of texts, read in batches of similar lengths."""
        order = np.argsort([len(str(text)) for text in texts], kind="stable")
        parts = [
            self._batch([texts[row] for row in order[start : start + batch]])
            for start in range(0, len(texts), batch)
        ]
        back = np.argsort(order)
        names = [one.name for one in self.session.get_outputs()]
        return {
            name: np.concatenate(each)[back]
            for name, each in zip(names, zip(*parts, strict=True), strict=True)
        }

    def _batch(self, texts: list[Any]) -> list[np.ndarray]:
        encodings = self.tokenizer.encode_batch(texts)
        ids = {
            "input_ids": [one.ids for one in encodings],
            "attention_mask": [one.attention_mask for one in encodings],
            "token_type_ids": [one.type_ids for one in encodings],
        }
        inputs = {name: np.array(ids[name], dtype=np.int64) for name in self.described["inputs"]}
        found: list[np.ndarray] = self.session.run(None, inputs)
        return found


def rows_of(examples: Examples) -> list[Any]:
    """Return texts, or pairs of texts."""
    if examples.pairs is None:
        return list(examples.texts)
    return list(zip(examples.texts, examples.pairs, strict=True))


def predictions(task: Task, outputs: Outputs) -> np.ndarray:
    """Return the most probable class, or the value of a regression, [N]."""
    found = outputs[task.name]
    return found[:, 0].astype(np.float64) if task.kind == "regression" else found.argmax(axis=1)


def cosines(first: Outputs, second: Outputs) -> np.ndarray:
    """Return the cosine of the two vectors of each text."""
    one, other = (each["vector"].astype(np.float64) for each in (first, second))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: np.ndarray = (one * other).sum(axis=1) / lengths
    return found


def compared(task: Task, fp32: Outputs, int8: Outputs) -> dict[str, Any]:
    """Return what a head scores on test rows by both files, and how alike they are."""
    labels, said = np.asarray(task.test.labels), [predictions(task, one) for one in (fp32, int8)]
    metric = task.metric
    scores = [score(metric, one, labels, task.num_outputs) for one in said]
    drawn = resampled_scores(metric, tuple(said), labels, task.num_outputs, SAMPLES, 0)
    low, high = percentile_interval(drawn[1] - drawn[0])
    regression = task.kind == "regression"
    return {
        "metric": metric,
        "rows": len(labels),
        **dict(zip(PRECISIONS, scores, strict=True)),
        "difference": {"value": scores[1] - scores[0], "low": low, "high": high},
        "same_predictions": None if regression else float((said[0] == said[1]).mean()),
        "largest_difference": float(np.abs(fp32[task.name] - int8[task.name]).max()),
    }


def export(encoder: str, epochs: int, store: str) -> tuple[dict[str, Task], dict[str, Path]]:
    """Return the target tasks, and the folder of each export."""
    recipe = pb.PrefixRecipe(optim=pb.OptimConfig(epochs=epochs))
    prefixes = [
        pb.train_prefix(name, encoder=encoder, recipe=recipe, store=store) for name in SOURCES
    ]
    bank = pb.combine(prefixes, name=BANK, store=store)
    tasks = {name: starter_task(name) for name in STARTER_TARGETS}
    for name in tasks:
        pb.probe(bank, name, recipe=pb.ProbeRecipe(pairs="joint"), name=name, store=store)
    heads = f"heads=[{','.join(tasks)}]"
    folders = {}
    for precision in PRECISIONS:
        made = pb.run(
            "export", f"bank={BANK}", heads, "format=onnx", f"precision={precision}", store=store
        )
        assert made.artifact is not None
        folders[precision] = Path(made.artifact.path)
    return tasks, folders


def measure(
    encoder: str, epochs: int, texts: Sequence[str], rounds: int, store: str
) -> dict[str, Any]:
    """Return all that is measured.

    Args:
        encoder: name of the encoder.
        epochs: of each prefix.
        texts: to time.
        rounds: how often.
        store: folder of the store.
    """
    tasks, folders = export(encoder, epochs, store)
    files = {name: Exported(folder) for name, folder in folders.items()}
    said = {
        task: {name: file(rows_of(tasks[task].test)) for name, file in files.items()}
        for task in tasks
    }
    alike = np.concatenate([cosines(*of.values()) for of in said.values()])
    first = tasks[STARTER_TARGETS[0]]
    together, alone = said[first.name]["int8"], files["int8"](rows_of(first.test), batch=1)
    seconds = in_turns({name: partial(file, texts) for name, file in files.items()}, rounds)
    return {
        "encoder": encoder,
        "sources": list(SOURCES),
        "epochs": epochs,
        "seed": 0,
        "bootstrap_samples": SAMPLES,
        "instructions": instructions(),
        "onnxruntime": onnxruntime.__version__,
        "heads": {task: compared(tasks[task], of["fp32"], of["int8"]) for task, of in said.items()},
        "vectors": {"mean_cosine": float(alike.mean()), "least_cosine": float(alike.min())},
        "alone and in batches": {
            "task": first.name,
            "batch": BATCH,
            "mean_cosine": float(cosines(together, alone).mean()),
            "same_predictions": float(
                (predictions(first, together) == predictions(first, alone)).mean()
            ),
        },
        "when exported": files["int8"].described["int8"],
        "bytes": {name: file.size_bytes for name, file in files.items()},
        "texts": len(texts),
        "rounds": rounds,
        "seconds": seconds,
        "int8 is faster": ratio(seconds, of="int8", to="fp32"),
    }


def instructions() -> list[str]:
    """Return which instructions for products of integers the processor has."""
    file = Path("/proc/cpuinfo")
    words = set(file.read_text(encoding="utf-8").split()) if file.is_file() else set()
    return [name for name in INTEGERS if name in words]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", help="keep what is made; default: a folder that is deleted")
    asked = parser.parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    texts = mixed_texts(asked.texts, seed=1)
    with TemporaryDirectory() as folder:
        store = asked.store or folder
        save("onnx_int8", measure(asked.encoder, asked.epochs, texts, asked.rounds, store))


if __name__ == "__main__":
    main()
