"""Tasks to train a prefix on: one, or a mixture of several with a head for each.

Source: examples-proportional mixing with a size cap, as in Vu et al. 2022 (2110.07904) for several
source tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from prefixbank.artifacts.prefix import setting_of
from prefixbank.choices import SourcePairs
from prefixbank.data.tasks.task import Task
from prefixbank.errors import UsageError
from prefixbank.store.key import JSON
from prefixbank.store.reasons import Described


def pairs_read(task: Task, pairs: SourcePairs) -> SourcePairs:
    """Return how the rows of a task are read under `prefix.pairs`: single texts are never apart."""
    return "joint" if task.train.pairs is None else pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """Tasks that are trained on together.

    Args:
        tasks: one or more.
        size_cap: rows of a task count at most this for its proportion of an epoch; 0 is no cap.
    """

    tasks: tuple[Task, ...]
    size_cap: int = 0

    @staticmethod
    def of(task: Task | Mixture) -> Mixture:
        """Return a task as a mixture of one."""
        return task if isinstance(task, Mixture) else Mixture(tasks=(task,))

    @property
    def names(self) -> list[str]:
        """Names of the tasks."""
        return [task.name for task in self.tasks]

    @property
    def name(self) -> str:
        """What messages call it."""
        return "+".join(self.names)

    @property
    def is_single(self) -> bool:
        """Whether there is only one task."""
        return len(self.tasks) == 1

    @property
    def cap(self) -> int:
        """The size cap; 0 if it has no effect, so that it is not part of the key."""
        return self.size_cap if any(len(task.train) > self.size_cap for task in self.tasks) else 0

    @property
    def settings(self) -> JSON:
        """Settings for the key document."""
        return {} if self.is_single else {"mixture": {"size_cap": self.cap}}

    @property
    def examples(self) -> str | list[str]:
        """Digest of the rows of training; for several tasks a list in their order."""
        digests = [task.digest("train", "validation") for task in self.tasks]
        return digests[0] if self.is_single else digests

    @property
    def words(self) -> list[Described]:
        """The tasks in words, for the reasons of misses."""
        return [task.words("train", "validation") for task in self.tasks]

    @property
    def facts(self) -> JSON:
        """Facts for the artifact."""
        origins = [asdict(task.origin) for task in self.tasks if task.origin is not None]
        return {
            "task": self.name,
            **({} if self.is_single else {"tasks": self.names}),
            "origins": origins,
        }

    def faults(self) -> Iterator[UsageError]:
        """Yield a fault if the tasks are of several kinds.

        The best epoch has the best mean of validation scores, which are comparable only within a
        kind.
        """
        kinds: dict[str, list[str]] = {}
        for task in self.tasks:
            kinds.setdefault(task.kind, []).append(task.name)
        if len(kinds) > 1:
            each = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
            yield UsageError(
                f"task.mixture has tasks of {len(kinds)} kinds: {each}",
                expected=(
                    "tasks of one kind, since the mean of their validation scores selects the best "
                    "epoch"
                ),
                fix=f"prefixbank train-prefix {setting_of(max(kinds.values(), key=len))}",
            )
