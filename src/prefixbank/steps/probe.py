"""Step `probe`: embeddings and labels of a target task to a light model and its score."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from prefixbank.config.schema import ProbeConfig
from prefixbank.data.tasks import Task
from prefixbank.steps.json_files import read_json
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "probe"
VERSION = 1  # 1: first
CODE = ("core.bootstrap", "core.linear", "core.metrics", "core.probe", "steps.probing")


def unit(embeddings: Entry, task: Task, config: ProbeConfig, name: str, ref: tuple[str, str] | None = None) -> Unit:
    """Return the unit that fits and scores a probe for `task` on `embeddings` of its three splits."""

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.probing import probe

        probe(out, embeddings, task, config)
        return {"task": task.name, "bank": embeddings.info["bank"], "encoder": embeddings.info["encoder"], "notes": list(task.notes)}

    inputs = {"embeddings": embeddings.digest, "examples": task.digest("train", "validation", "test")}
    made_of = document(step="probe", version=VERSION, config=asdict(config), inputs=inputs)
    return Unit(step=STEP, name=name, document=made_of, make=make, ref=ref, note=describe)


def describe(entry: Entry) -> str:
    """Return what the line of a finished probe says: its test score with its interval."""
    result = read_json(entry, "probe.json")
    test = result["test"]
    return f"{result['metric']} {test['score']:.3f} [{test['low']:.3f}, {test['high']:.3f}]"
