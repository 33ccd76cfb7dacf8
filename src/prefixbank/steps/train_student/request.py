"""What a student learns from: its teacher, which head of it for each task, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from prefixbank.artifacts.encoder import label_of
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.config.schema import (
    MultitaskConfig,
    MultitaskRecipe,
    StudentConfig,
    StudentRecipe,
    key_config,
)
from prefixbank.data.tasks.task import Task
from prefixbank.errors import PrefixbankError, UsageError, raise_faults
from prefixbank.steps.train_multitask.step import effective_for
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


@dataclass(frozen=True, kw_only=True)
class DistillationRequest:
    """A distillation to do.

    Args:
        teacher: artifact of the teacher.
        heads: index of the teacher's head for each task.
        student: settings of distillation.
        training: settings of training. Texts are read and pooled as the teacher does.
    """

    teacher: Entry
    heads: tuple[int, ...]
    student: StudentConfig
    training: MultitaskRecipe

    @staticmethod
    def of(teacher: Entry, tasks: Sequence[Task], recipe: StudentRecipe) -> DistillationRequest:
        """Check that the teacher knows the tasks, and take from it how texts are read.

        Raises:
            UsageError: it has no head for a task, or one for other labels.
        """
        read = teacher.document["config"]
        multitask = MultitaskConfig(**asdict(recipe.multitask), pairs=read["multitask"]["pairs"])
        training = MultitaskRecipe(
            multitask=multitask,
            optim=recipe.optim,
            pooling=pooling_of(teacher),
            max_length_tokens=read["max_length_tokens"],
            seed=recipe.seed,
        )
        return DistillationRequest(
            teacher=teacher,
            heads=tuple(heads_for(teacher, tasks)),
            student=_effective_for(tasks, recipe.student),
            training=effective_for(tasks, training),
        )

    @property
    def settings(self) -> JSON:
        """The settings for the key document; those of training are named as their teacher's."""
        student = {"student": asdict(self.student), "heads": list(self.heads)}
        return {**key_config(self.training), **student}


def heads_for(teacher: Entry, tasks: Sequence[Task]) -> list[int]:
    """Return the index of the teacher's head for each task.

    It is the head of the task with the same name, or with the same rows under another name: an
    artifact has the names that it was first made with.

    Raises:
        UsageError: there is no such head, or it has other labels; all faults at once.
    """
    names: list[str] = teacher.info["tasks"]
    digests: list[str] = teacher.document["inputs"]["examples"]
    trained = read_json(teacher, "result.json")["tasks"]
    heads: list[int] = []
    faults: list[PrefixbankError] = []
    for task in tasks:
        known, one = (names, task.name) if task.name in names else (digests, _digest(task))
        if one not in known:
            faults.append(_no_head(teacher, task))
            continue
        head = trained[known.index(one)]
        if (head["kind"], tuple(head["labels"])) != (task.kind, task.labels):
            faults.append(_other_labels(teacher, task, head))
        heads.append(known.index(one))
    raise_faults(faults)
    return heads


def _digest(task: Task) -> str:
    return task.digest("train", "validation")


def _no_head(teacher: Entry, task: Task) -> UsageError:
    names = teacher.info["tasks"]
    return UsageError(
        f"teacher {label_of(teacher)} was not trained on task {task.name}",
        expected=f"a task that it was trained on: {', '.join(names)}",
        fix=f"prefixbank train-multitask 'tasks=[{','.join([*names, task.name])}]'    and "
        "teacher=multitask/NAME",
    )


def _other_labels(teacher: Entry, task: Task, head: JSON) -> UsageError:
    names = ",".join(teacher.info["tasks"])
    learned = _described(head["kind"], head["labels"])
    return UsageError(
        f"teacher {label_of(teacher)} learned {task.name} as {learned}, here it is "
        f"{_described(task.kind, task.labels)}",
        expected="the same kind of task, and the same labels in the same order",
        fix=f"prefixbank train-multitask 'tasks=[{names}]'    trains it on the task as it is now",
    )


def _described(kind: str, labels: Sequence[str]) -> str:
    return f"a {kind} of {', '.join(labels)}" if labels else f"a {kind}"


def _effective_for(tasks: Sequence[Task], config: StudentConfig) -> StudentConfig:
    """Return the settings with the temperature at its default where it has no effect."""
    if config.soft_weight == 0 or all(task.kind == "regression" for task in tasks):
        return replace(config, temperature=StudentConfig().temperature)
    return config
