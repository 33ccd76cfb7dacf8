"""What a prefix is trained on: one task, or a mixture of several, with a head for each.

Source: examples-proportional mixing with a size cap, as Vu et al. 2022 (2110.07904) train on
several source tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from prefixbank.artifacts.prefix import setting_of
from prefixbank.data.tasks.task import Task
from prefixbank.errors import UsageError
from prefixbank.store.key import JSON


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """Tasks that are trained on together.

    Args:
        tasks: one or more.
        size_cap: a task's rows count at most this where an epoch's rows are shared out; 0 is no
            cap.
    """

    tasks: tuple[Task, ...]
    size_cap: int = 0

    @staticmethod
    def of(task: Task | Mixture) -> Mixture:
        """Return a single task as a mixture of itself."""
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
        """Whether this is one task alone."""
        return len(self.tasks) == 1

    @property
    def cap(self) -> int:
        """The size cap, 0 where it caps nothing, so that it does not reach the key."""
        return self.size_cap if any(len(task.train) > self.size_cap for task in self.tasks) else 0

    @property
    def settings(self) -> JSON:
        """What it adds to the config of a key."""
        return {} if self.is_single else {"mixture": {"size_cap": self.cap}}

    @property
    def examples(self) -> str | list[str]:
        """The digest of the rows that training reads, of several tasks a list in their order."""
        digests = [task.digest("train", "validation") for task in self.tasks]
        return digests[0] if self.is_single else digests

    @property
    def facts(self) -> JSON:
        """Facts of an artifact: what it was trained on."""
        origins = [asdict(task.origin) for task in self.tasks if task.origin is not None]
        return {
            "task": self.name,
            **({} if self.is_single else {"tasks": self.names}),
            "origins": origins,
        }

    def faults(self) -> Iterator[UsageError]:
        """Find labels of several kinds.

        The best epoch is the one with the best mean of scores, which mean the same only within a
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
                    "tasks of one kind, since the mean of their validation scores says which epoch "
                    "is the best"
                ),
                fix=f"prefixbank train-prefix {setting_of(max(kinds.values(), key=len))}",
            )
