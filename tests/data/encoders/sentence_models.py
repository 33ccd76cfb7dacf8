"""Models as sentence-transformers writes them, of the tiny encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefixbank.data.encoders.tiny import write_tiny_encoder

CLASSES = {
    "Transformer": "sentence_transformers.models.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "Dense": "sentence_transformers.models.Dense",
}


def write_model(
    folder: Path,
    pooling: dict[str, Any] | None = None,
    *,
    modules: tuple[str, ...] = ("Transformer", "Pooling"),
    inside: str = "",
    read: dict[str, Any] | None = None,
    prompts: dict[str, Any] | None = None,
) -> Path:
    """Write the tiny encoder as a sentence-transformers model."""
    (folder / inside).mkdir(parents=True)
    write_tiny_encoder(folder / inside)
    listed = []
    for index, name in enumerate(modules):
        path = inside if index == 0 else f"{index}_{name}"
        (folder / path).mkdir(exist_ok=True)
        kind = CLASSES.get(name, name)
        listed.append({"idx": index, "name": str(index), "path": path, "type": kind})
    described = {
        "modules.json": listed,
        "1_Pooling/config.json": pooling or {"pooling_mode": "mean"},
        f"{inside or '.'}/sentence_bert_config.json": read or {},
        "config_sentence_transformers.json": prompts or {},
    }
    for name, value in described.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def cased(folder: Path) -> Path:
    """Let the tokenizer of a model keep capitals."""
    path = folder / "tokenizer_config.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**described, "do_lower_case": False}), encoding="utf-8")
    return folder
