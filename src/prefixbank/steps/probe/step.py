"""Step `probe`: fit a light model on embeddings of a target task, and score it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prefixbank.artifacts.embeddings import FACTS, read_layout
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.pooling import pooling_in
from prefixbank.artifacts.probe import PROBE, choice_in, decision_in
from prefixbank.artifacts.row_facts import describe_rows, row_facts_in
from prefixbank.config.schema import PoolingConfig, ProbeConfig, VectorRecipe, effective
from prefixbank.data.tasks.task import Task
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.runtime.unit import Unit
from prefixbank.steps.probe.splits import splits_of
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import named

STEP = "probe"
# 1: first; 2: MLP, nested cross-validation, choice of layer; 3: choice of reading and position,
# candidates in probe.json; 4: logistic fits on more features than rows in the space of the rows,
# different last digits; 5: probe.json says how the vectors were embedded; 6: class weights,
# calibration, thresholds, probabilities of test rows, scores of classes and more metrics; 7: the
# splits of a task are embedded together, which changes the last digits of vectors.
VERSION = 7
ISOTONIC_ROWS = 1000
"""Fewest rows for an isotonic calibration, as scikit-learn advises."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """The vectors that a probe is fitted on.

    Args:
        embeddings: of the task's texts; several lie side by side, as the blocks of a bank do.
        bank: the bank that they are from; None: what the embeddings say.
        blocks: names of the blocks; empty if the bank has none.
    """

    embeddings: tuple[Entry, ...]
    bank: Entry | None = None
    blocks: tuple[str, ...] = ()

    @property
    def digests(self) -> str | list[str]:
        """The digest of one embedding, or those of several in order."""
        digests = [entry.digest for entry in self.embeddings]
        return digests[0] if len(digests) == 1 else digests

    @property
    def pooling(self) -> PoolingConfig | None:
        """The pooling of the vectors that are no block of a source; None if all are."""
        described = [read_json(entry, FACTS)["pooling"] for entry in self.embeddings]
        return next((pooling_in(one) for one in described if one is not None), None)

    @property
    def facts(self) -> JSON:
        """Facts about their origin."""
        first = self.embeddings[0].info
        bank = first["bank"] if self.bank is None else self.bank.key
        blocks = {"blocks": list(self.blocks)} if self.blocks else {}
        rows = read_json(self.embeddings[0], FACTS)
        texts = {"rows": rows["rows"], **row_facts_in(rows)}
        return {"bank": bank, "encoder": first["encoder"], **blocks, "texts": texts}


def unit(
    vectors: Entry | Probed,
    task: Task,
    config: ProbeConfig,
    name: str,
    ref: tuple[str, str] | None = None,
    *,
    choose_reading: bool = False,
) -> Unit:
    """Return the unit that fits and scores a probe for `task` on vectors of its three splits.

    Args:
        vectors: of the task's texts.
        task: what to predict.
        config: model, protocol and choices.
        name: what messages call it.
        ref: ref to set to the artifact, if any.
        choose_reading: let cross-validation choose among the readings of pairs that the vectors
            hold; else all are read. Without effect where there is one.

    Raises:
        UsageError: settings that contradict each other or do not fit the task, or a choice among
            layers or positions with vectors of a single one.
    """
    check_settings(config)
    check_tasks(config, task)
    probed = vectors if isinstance(vectors, Probed) else Probed(embeddings=(vectors,))
    if probed.pooling is not None:
        check_choices(config, probed.pooling)
    choose_reading = choose_reading and len(read_layout(probed.embeddings[0]).readings) > 1
    config = effective(replace(config, blocks="all"))  # the digests say which blocks

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.probe.make import probe

        probe(out, probed.embeddings, task, config, choose_reading=choose_reading)
        return {"task": task.name, **probed.facts, "notes": list(task.notes)}

    inputs = {"embeddings": probed.digests, "examples": task.digest(*splits_of(config))}
    chosen = {"readings": "best" if choose_reading else "joined"}
    key_document = document(
        step="probe", version=VERSION, config={**asdict(config), **chosen}, inputs=inputs
    )
    words = {
        "embeddings": named("embeddings", probed.embeddings),
        "examples": [task.words(*splits_of(config))],
    }
    return Unit(
        step=STEP,
        name=name,
        document=key_document,
        make=make,
        ref=ref,
        note=describe,
        words=words,
    )


def check_settings(config: ProbeConfig) -> None:
    """Refuse settings that contradict each other.

    It needs no embeddings, so that it can be called before any work.

    Raises:
        UsageError: `shots` or `score_on` together with `nested_cv`; several samples of no `shots`;
            `calibration` or `threshold` without validation rows that are not scored.
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
    if config.few_shot_samples > 1 and not config.shots:
        raise UsageError(
            f"probe.few_shot_samples={config.few_shot_samples} without probe.shots",
            expected="how many rows of each class a sample has",
            fix="probe.shots=8    or probe.few_shot_samples=1",
        )
    on_validation = _fitted_on_validation(config)
    scored = next(
        (
            f"probe.{name}={value}"
            for name, value in (("protocol", config.protocol), ("score_on", config.score_on))
            if value in ("nested_cv", "validation")
        ),
        "",
    )
    if on_validation and scored:
        raise UsageError(
            f"{' '.join(on_validation)} with {scored}, which scores validation rows",
            expected="validation rows for calibration and thresholds, and other rows for scores",
            fix="probe.protocol=split probe.score_on=test    or drop "
            f"{' and '.join(one.partition('=')[0] for one in on_validation)}",
        )


def _fitted_on_validation(config: ProbeConfig) -> list[str]:
    """Return the settings, as they are typed, that fit something to validation rows."""
    given = {"calibration": config.calibration, "threshold": config.threshold}
    return [
        f"probe.{name}={value}" for name, value in given.items() if value not in ("none", "default")
    ]


def check_tasks(config: ProbeConfig, *tasks: Task) -> None:
    """Refuse settings that mean nothing for tasks of their kind.

    It needs no embeddings, like `check_settings`.

    Raises:
        UsageError: one for each task and setting: class weights, calibration and thresholds for a
            regression, and thresholds for more than two classes.
    """
    raise_faults([fault for task in tasks for fault in _task_faults(config, task)])


def _task_faults(config: ProbeConfig, task: Task) -> Iterator[UsageError]:
    defaults = ProbeConfig()
    for name in ("class_weight", "calibration", "threshold"):
        value, default = getattr(config, name), getattr(defaults, name)
        given = f"probe.{name}={value} on task '{task.name}'"
        if value == default:
            continue
        if task.kind == "regression":
            yield UsageError(
                f"{given}, a regression",
                expected="a task with classes or labels",
                fix=f"probe.{name}={default}",
            )
        elif name == "threshold" and task.kind == "classification" and task.num_outputs > 2:
            yield UsageError(
                f"{given}, which has {task.num_outputs} classes",
                expected="two classes, or a multilabel task; of more classes the most probable one "
                "is predicted",
                fix="probe.threshold=default",
            )


def notes_on(config: ProbeConfig, task: Task) -> list[str]:
    """Return what the user should know of settings on this task."""
    rows = len(task.validation)
    if config.calibration != "isotonic" or rows >= ISOTONIC_ROWS:
        return []
    return [
        f"probe.calibration=isotonic on {rows:,} validation rows: with fewer than "
        f"{ISOTONIC_ROWS:,} it tends to follow single rows, and temperature is safer"
    ]


def check_choices(config: ProbeConfig, pooling: PoolingConfig) -> None:
    """Refuse a choice among layers or positions if vectors have a single one.

    It needs no embeddings, like `check_settings`.

    Raises:
        UsageError: one for each choice that there is nothing for.
    """
    faults: list[PrefixbankError] = []
    if pooling.size and (config.layers, config.positions) != ("joined", "joined"):
        raise UsageError(
            f"probe.layers={config.layers} probe.positions={config.positions} on vectors with "
            f"pooling.size={pooling.size}: a projection of all leaves nothing to choose from",
            expected="probe.layers=joined probe.positions=joined",
            fix="drop both    or train with pooling.size=0",
        )
    if config.layers != "joined" and pooling.layers in ("last", "mean_last", "single", "mix"):
        faults.append(
            UsageError(
                f"probe.layers={config.layers} on vectors pooled with "
                f"pooling.layers={pooling.layers}",
                expected=(
                    "pooling.layers=concat_last or a list, which keep the layers apart (a bank has "
                    "its own pooling)"
                ),
                fix=(
                    "pooling.layers=concat_last pooling.last_k=4    "
                    "(with a bank: in prefixbank combine; in a study: "
                    "experiment.probe_last_layers=4)"
                ),
            )
        )
    if config.positions != "joined" and isinstance(pooling.position, str):
        faults.append(
            UsageError(
                f"probe.positions={config.positions} on vectors pooled with "
                f"pooling.position={pooling.position}",
                expected="a list of positions to choose from (a bank has its own pooling)",
                fix="'pooling.position=[mean,cls]'    (with a bank: in prefixbank combine)",
            )
        )
    raise_faults(faults)


def check_transform(config: ProbeConfig, recipe: VectorRecipe) -> None:
    """Refuse a choice among layers or positions of vectors whose features are made of all of them.

    Raises:
        UsageError: one for each choice.
    """
    if recipe.transform == "none":
        return
    chosen = {"layers": config.layers, "positions": config.positions}
    raise_faults(
        [
            UsageError(
                f"probe.{name}={value} with transform={recipe.transform}, which mixes all {name}",
                expected=f"probe.{name}=joined, or vectors as the encoder gives them",
                fix=f"probe.{name}=joined    or transform=none",
            )
            for name, value in chosen.items()
            if value != "joined"
        ]
    )


def describe(entry: Entry) -> str:
    """Return a summary: the test score with its interval, what was chosen, and how it decides."""
    result = read_json(entry, PROBE)
    test = result["test"]
    score = f"{result['metric']} {test['score']:.3f} [{test['low']:.3f}, {test['high']:.3f}]"
    chosen = ", ".join(filter(None, (score, choice_in(result), decision_in(result))))
    return chosen + (describe_rows(entry.info["texts"]) if "texts" in entry.info else "")
