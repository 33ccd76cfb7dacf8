"""A fitted probe as it is stored: the model, what it reads, and the names of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from safetensors.numpy import load_file

from prefixbank.artifacts.embeddings import layout_in
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.probe import PROBE, RULE, TENSORS, refuse_unusable
from prefixbank.choices import Kind, Metric
from prefixbank.config.schema import EmbedRecipe
from prefixbank.config.settings import written
from prefixbank.core.layout import Layout
from prefixbank.core.probe.choice import Candidate
from prefixbank.core.probe.decision import DecisionRule, rule_from
from prefixbank.core.probe.model import ProbeModel, check_vectors
from prefixbank.core.probe.thresholds import NEVER
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedProbe:
    """A probe in memory. Made by `prefixbank.load_probe`.

    Args:
        task: name of the task.
        kind: what it predicts.
        metric: how it was scored.
        labels: names of its C classes or labels; empty for a regression.
        embedded: the settings `NAME=VALUE` that are not at their defaults with which its vectors
            were embedded. Vectors embedded otherwise have the same size, and mean something else.
        layout: of the vectors [N, F] that it was fitted on.
        reads: the segments of them that it reads.
        model: the weights.
        rule: how the logits of the model become probabilities and predictions.
    """

    task: str
    kind: Kind
    metric: Metric
    labels: tuple[str, ...]
    embedded: tuple[str, ...]
    layout: Layout
    reads: Candidate
    model: ProbeModel
    rule: DecisionRule

    def __repr__(self) -> str:
        """Return the task, its labels, and how vectors have to be embedded."""
        return (
            f"FittedProbe(task={self.task!r}, kind={self.kind!r}, labels={self.labels!r}, "
            f"features={self.layout.size}, embedded={self.embedded!r})"
        )

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return classes int64 [N], flags uint8 [N, C] or values float64 [N].

        A class is an index into `labels`.

        Args:
            vectors: float [N, F], as the probe's bank embeds the texts.

        Raises:
            DataError: vectors of another size, or with numbers that are not finite.
        """
        return self.rule.predictions(self.decision(vectors))

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probability of each class, or of each label alone, float64 [N, C].

        They are calibrated if the probe is.

        Raises:
            DataError: vectors of another size, or with numbers that are not finite.
            UsageError: a regression has none.
        """
        return self.rule.probabilities(self.decision(vectors))

    def decision(self, vectors: np.ndarray) -> np.ndarray:
        """Return logits, or values of a regression, float64 [N, C].

        Args:
            vectors: float [N, F].

        Raises:
            DataError: vectors of another size, or with numbers that are not finite.
        """
        check_vectors(vectors, len(vectors))
        return self.model.decision(self.layout.take(vectors, self.reads.segments(self.layout)))


def read_probe(entry: Entry, name: str) -> FittedProbe:
    """Read a probe.

    Args:
        entry: the artifact.
        name: what errors call it.

    Raises:
        UsageError: it holds several models, one for each draw or fold.
    """
    result = read_json(entry, PROBE)
    refuse_unusable(result, name)
    fit, arrays = result["fits"][0], load_file(entry.file(TENSORS))
    named = {one.removeprefix("0."): array for one, array in arrays.items()}
    of_rule = {one.removeprefix(RULE): array for one, array in named.items() if RULE in one}
    model = ProbeModel(
        kind=result["kind"],
        strength=fit["strength"],
        cv_scores=fit["cv_scores"],
        unconverged_fits=fit["unconverged_fits"],
        **{one: array for one, array in named.items() if RULE not in one},
    )
    return FittedProbe(
        task=entry.info["task"],
        kind=result["kind"],
        metric=result["metric"],
        labels=tuple(result["labels"]),
        embedded=_settings_in(result["vectors"][0]["config"]),
        layout=layout_in(result["layout"]),
        reads=Candidate(**{axis: tuple(values) for axis, values in fit["reads"].items()}),
        model=model,
        rule=rule_from(result["kind"], of_rule),
    )


def _settings_in(config: JSON) -> tuple[str, ...]:
    """Return the settings of embedding that are not at their defaults, as they are typed."""
    defaults = asdict(EmbedRecipe())
    return tuple(
        f"{name}={written(value)}"
        for name, value in config.items()
        if name in defaults and value != defaults[name]
    )


def describe_rule(rule: DecisionRule, labels: Sequence[str]) -> JSON:
    """Return how a head decides, for JSON: nothing but what differs from the default.

    Args:
        rule: of the head.
        labels: names of its classes or labels.
    """
    described: JSON = {}
    if rule.calibration is not None:
        described["calibration"] = rule.calibration_method
    if rule.thresholds is not None:
        described["thresholds"] = {
            label: None if threshold == NEVER else float(threshold)
            for label, threshold in zip(
                labels[-len(rule.thresholds) :], rule.thresholds, strict=True
            )
        }
    return described
