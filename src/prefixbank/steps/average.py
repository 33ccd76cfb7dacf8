"""Step `average`: the weighted mean of several prefixes, from which training can start.

Source: Vu et al. 2022 (2110.07904), section 3, "weighted average of top-k".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.artifacts.prefix import TENSORS, label_of
from prefixbank.config.schema import PrefixConfig
from prefixbank.errors import UsageError, raise_faults
from prefixbank.runtime.unit import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import named

if TYPE_CHECKING:
    import numpy as np

    from prefixbank.core.prefix import AnyPrefix


STEP = "average"
VERSION = 2  # 1: first; 2: read-outs
DIGITS = 6
"""Decimal digits of weights in the key: further digits depend on the machine."""
FORM = ("kind", "length", "gate", "readouts", "summary", "norm", "size")
"""Settings that must be the same for all averaged prefixes."""


def unit(prefixes: Sequence[Entry], weights: Sequence[float], name: str) -> Unit:
    """Return the unit that averages prefixes of one encoder. Their order does not matter.

    Args:
        prefixes: prefix artifacts.
        weights: one number >= 0 for each; they are normalised.
        name: what messages call it.

    Raises:
        UsageError: prefixes of different lengths, kinds or gates.
    """
    pairs = sorted(
        zip(prefixes, weights, strict=True), key=lambda pair: pair[0].files[TENSORS].sha256
    )
    prefixes, rounded = (
        [entry for entry, _ in pairs],
        [round(float(weight), DIGITS) for _, weight in pairs],
    )
    form = _form(prefixes[0])
    raise_faults(
        [_other_form(prefixes[0], entry) for entry in prefixes[1:] if _form(entry) != form]
    )

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.artifacts.tensors import (
            prefix_from,
            prefix_tensors,
            read_tensors,
            write_tensors,
        )

        mean = _mean([prefix_from(read_tensors(entry, TENSORS)) for entry in prefixes], rounded)
        write_tensors(out / TENSORS, prefix_tensors(mean))
        of_encoder = ("encoder", "encoder_position")
        return {
            "task": "+".join(sorted(entry.info["task"] for entry in prefixes)),
            **{name: prefixes[0].info[name] for name in of_encoder if name in prefixes[0].info},
        }

    inputs = {
        "encoder": prefixes[0].document["inputs"]["encoder"],
        "prefixes": [entry.files[TENSORS].sha256 for entry in prefixes],
    }
    key_document = document(
        step="average", version=VERSION, config={"weights": rounded, "prefix": form}, inputs=inputs
    )
    words = {"prefixes": named("prefix", prefixes)}
    return Unit(step=STEP, name=name, document=key_document, make=make, cheap=True, words=words)


def unit_of_nearest(sources: Sequence[Entry], similar: np.ndarray, name: str) -> Unit:
    """Return the unit that averages source prefixes, weighted by similarity.

    Args:
        sources: prefix artifacts.
        similar: [k] similarity of each with the target.
        name: what messages call it.
    """
    from prefixbank.core.average import retrieval_weights

    return unit(sources, retrieval_weights(similar).tolist(), name)


def _mean(prefixes: Sequence[AnyPrefix], weights: Sequence[float]) -> AnyPrefix:
    """Return the weighted mean of prefixes of one kind."""
    from prefixbank.core.average import average_prefixes, average_tensors
    from prefixbank.core.prefix import Prefix, prefix_of, tensors_of

    deep = [prefix for prefix in prefixes if isinstance(prefix, Prefix)]
    if deep:
        return average_prefixes(deep, weights)
    named = [tensors_of(prefix) for prefix in prefixes]
    averaged = {
        name: average_tensors([tensors[name].float() for tensors in named], weights)
        for name in named[0]
    }
    return prefix_of(averaged)


def _form(entry: Entry) -> JSON:
    """Return the settings of a prefix in which averaged prefixes must agree."""
    # Prefixes of older versions lack the newer settings: they have their defaults.
    config = {**asdict(PrefixConfig()), **entry.document["config"]["prefix"]}
    return {name: config[name] for name in FORM}


def _other_form(first: Entry, other: Entry) -> UsageError:
    shapes = [
        " ".join(f"prefix.{name}={value}" for name, value in _form(entry).items())
        for entry in (first, other)
    ]
    return UsageError(
        f"{label_of(other)} has {shapes[1]}, {label_of(first)} has {shapes[0]}",
        expected="prefixes of one kind, length and gate to average",
        fix=f"prefixbank train-prefix task={other.info['task']} {shapes[0]}    or leave it out",
    )
