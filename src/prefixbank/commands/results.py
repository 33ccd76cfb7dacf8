"""What the Python functions return: where an artifact is, and the facts a user asks for first."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from prefixbank.artifacts.summary import summary
from prefixbank.runtime.unit import Planned
from prefixbank.store.key import shorten


@dataclass(frozen=True, kw_only=True, repr=False)
class Artifact:
    """An artifact in the store.

    Args:
        step: the step that made it: `train-prefix`, `combine`, `embed`, `probe`, ...
        name: what it is called in messages; most artifacts have a ref of this name.
        key: hash of everything that determines its content, in hex digits.
        path: its folder.
        files: the names of its files, relative to `path`.
        facts: what the command line prints about it.
    """

    step: str
    name: str
    key: str
    path: Path
    files: tuple[str, ...]
    facts: dict[str, Any]

    def __repr__(self) -> str:
        """Return the name, the short key, and what only artifacts of this class have."""
        shown: dict[str, Any] = {} if type(self) is not Artifact else {"step": self.step}
        shown |= {"name": self.name, "key": shorten(self.key)}
        shared = {field.name for field in fields(Artifact)}
        for field in fields(self):
            if field.name not in shared:
                value = getattr(self, field.name)
                shown[field.name] = round(value, 3) if isinstance(value, float) else value
        values = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({values})"


@dataclass(frozen=True, kw_only=True, repr=False)
class PrefixResult(Artifact):
    """A trained prefix.

    Args:
        task: name of the task that it was trained on; of several, joined by `+`.
        validation: validation score of the best epoch; of several tasks, the mean.
    """

    task: str
    validation: float

    @property
    def score(self) -> float:
        """The validation score, under the name that a probe's has."""
        return self.validation


@dataclass(frozen=True, kw_only=True, repr=False)
class BankResult(Artifact):
    """A bank.

    Args:
        prefixes: the task of each prefix, in order.
        weights: the weight of each prefix; a bank of blocks has none.
        blocks: the name of each block, in the order of the vector; empty for other banks.
    """

    prefixes: tuple[str, ...]
    weights: tuple[float, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class EmbeddingsResult(Artifact):
    """The vectors of a corpus, as Parquet files in `path`.

    Args:
        rows: N, the number of vectors.
        blocks: the name and the number of features of each block, in the order of the vector;
            empty for a bank without blocks.
    """

    rows: int
    blocks: dict[str, int]


@dataclass(frozen=True, kw_only=True, repr=False)
class ProbeResult(Artifact):
    """A probe and its score.

    Args:
        metric: what the score measures: `accuracy`, `macro_f1`, ...
        score: score on the test rows.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
    """

    metric: str
    score: float
    low: float
    high: float


A = TypeVar("A", bound=Artifact)


def artifact_of(planned: Planned) -> Artifact:
    """Return any artifact that was made or found, as the class of its kind if there is one."""
    match planned.entry.step:
        case "train_prefix":
            return prefix_result(planned)
        case "combine":
            return bank_result(planned)
        case "embed":
            return embeddings_result(planned)
        case "probe":
            return probe_result(planned)
    return _result(planned, Artifact)


def prefix_result(planned: Planned) -> PrefixResult:
    """Return a trained prefix."""
    facts = summary(planned.entry)
    return _result(planned, PrefixResult, task=facts["task"], validation=facts["validation"])


def bank_result(planned: Planned) -> BankResult:
    """Return a bank."""
    facts = summary(planned.entry)
    return _result(
        planned,
        BankResult,
        prefixes=tuple(facts["prefixes"]),
        weights=tuple(facts.get("weights", ())),
        blocks=tuple(facts.get("blocks", ())),
    )


def embeddings_result(planned: Planned) -> EmbeddingsResult:
    """Return the vectors of a corpus."""
    facts = summary(planned.entry)
    return _result(
        planned, EmbeddingsResult, rows=facts["rows"], blocks=dict(facts.get("blocks", {}))
    )


def probe_result(planned: Planned) -> ProbeResult:
    """Return a probe."""
    facts = summary(planned.entry)
    scores = {name: facts[name] for name in ("metric", "score", "low", "high")}
    return _result(planned, ProbeResult, **scores)


def _result(planned: Planned, kind: type[A], **facts: Any) -> A:
    entry = planned.entry
    row = summary(entry)
    # The artifact may have been made under another name.
    row |= {"name": planned.name} if "name" in row else {}
    return kind(
        step=planned.step,
        name=planned.name,
        key=entry.key,
        path=entry.path,
        files=tuple(sorted(entry.files)),
        facts=row,
        **facts,
    )
