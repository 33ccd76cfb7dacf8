"""Step `probe`: fit a light model on embeddings of a target task, and score it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from prefixbank.artifacts.json_files import read_json
from prefixbank.choices import PoolingLayers
from prefixbank.config.schema import ProbeConfig, effective
from prefixbank.data.tasks.task import Task
from prefixbank.errors import UsageError
from prefixbank.runtime.unit import Unit
from prefixbank.steps.probe.splits import splits_of
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

STEP = "probe"
VERSION = 2  # 1: first; 2: MLP, nested cross-validation, choice of layer


def unit(
    embeddings: Entry,
    task: Task,
    config: ProbeConfig,
    name: str,
    ref: tuple[str, str] | None = None,
) -> Unit:
    """Return the unit that fits and scores a probe for `task` on `embeddings` of its three splits.

    Raises:
        UsageError: settings that contradict each other, or a choice among layers with vectors of
            a single layer.
    """
    check_settings(config)
    if config.layers != "joined":
        check_layers(config, read_json(embeddings, "embeddings.json")["pooling"]["layers"])
    config = effective(config)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.probe.make import probe

        probe(out, embeddings, task, config)
        return {
            "task": task.name,
            "bank": embeddings.info["bank"],
            "encoder": embeddings.info["encoder"],
            "notes": list(task.notes),
        }

    inputs = {"embeddings": embeddings.digest, "examples": task.digest(*splits_of(config))}
    key_document = document(step="probe", version=VERSION, config=asdict(config), inputs=inputs)
    return Unit(step=STEP, name=name, document=key_document, make=make, ref=ref, note=describe)


def check_settings(config: ProbeConfig) -> None:
    """Refuse few-shot draws, or a single split, with nested cross-validation.

    It needs no embeddings, so that it can be called before any work.

    Raises:
        UsageError: `shots` or `score_on` together with `nested_cv`.
    """
    if config.score_on != "test" and config.protocol == "nested_cv":
        raise UsageError(
            f"probe.score_on={config.score_on} with probe.protocol=nested_cv, which scores every "
            "row",
            expected="one of the two",
            fix="drop probe.score_on, or use probe.protocol=split",
        )
    if config.shots and config.protocol == "nested_cv":
        raise UsageError(
            f"probe.shots={config.shots} with probe.protocol=nested_cv",
            expected="one of them: nested cross-validation fits all rows but those of one fold",
            fix="probe.shots=0, or probe.protocol=split",
        )


def check_layers(config: ProbeConfig, pooled: PoolingLayers) -> None:
    """Refuse a choice among layers if vectors have a single one.

    It needs no embeddings, like `check_settings`.

    Raises:
        UsageError: `layers` other than `joined` without `concat_last`.
    """
    if config.layers != "joined" and pooled != "concat_last":
        raise UsageError(
            f"probe.layers={config.layers} on vectors pooled with pooling.layers={pooled}",
            expected=(
                "pooling.layers=concat_last, which keeps the layers apart (a bank has its own "
                "pooling)"
            ),
            fix=(
                "pooling.layers=concat_last pooling.last_k=4    "
                "(with a bank: in prefixbank combine; in a study: experiment.probe_last_layers=4)"
            ),
        )


def describe(entry: Entry) -> str:
    """Return a summary: the test score with its interval, and the layer if one was chosen."""
    result = read_json(entry, "probe.json")
    test = result["test"]
    layer = f", layer {result['chosen_layer']}" if "chosen_layer" in result else ""
    return f"{result['metric']} {test['score']:.3f} [{test['low']:.3f}, {test['high']:.3f}]{layer}"
