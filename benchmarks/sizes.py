"""What a probe loses when a text has 24 to 384 bytes, and what each way to make them few adds.

Run: python -m benchmarks.sizes --targets emotion,similarity [KEY=VALUE]... or: python -m
benchmarks.sizes --targets cr,subj --data-root FOLDER bank=NAME [--store STORE]

Every target is embedded once, as float32. Transforms and calibrations are fitted on the first train
rows, a probe on all of them, and it is scored on test. Ways to the same number of bytes a text are

* `sign`: a bit for each feature, above its median, where features are as many as bits;
* `rotation`, `itq`, `autoencoder`: bits after a transform, `itq` of at most as many as features;
* `pca_float16`, `pca_int8`: principal components in two bytes or in one;
* `int8`: a byte for each feature, where features are as many as bytes.

With --seeds, scores are means over the seeds of transforms. Intervals (95 %) are percentile
bootstraps over test rows, the same for all ways, so that differences are paired; that of a mean
over targets resamples the rows of each. `near_threshold` is the share of bits of the sample that
rounding may flip. The blocks of a bank of read-outs, and the readings of pairs, are one vector
here, with one transform.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import RESULTS, machine
from prefixbank.artifacts.embeddings import read_vectors
from prefixbank.choices import TransformSetting, VectorType
from prefixbank.commands.invocation import Invocation
from prefixbank.config.commands import ProbeCommandConfig
from prefixbank.config.compose import compose
from prefixbank.config.schema import EmbedRecipe, ProbeConfig, recipe_of
from prefixbank.core.fit_transform import fit_transform
from prefixbank.core.probe.fit import fit_probe
from prefixbank.core.quantize import (
    bytes_per_vector,
    calibrate,
    dequantize,
    quantize,
    share_near,
)
from prefixbank.core.stats.bootstrap import percentile_interval, resampled_scores
from prefixbank.core.stats.metrics import score
from prefixbank.core.transform import LinearTransform
from prefixbank.data.tasks.task import Task
from prefixbank.steps.embed import step as embed
from prefixbank.steps.embed.source import resolve_bank_and_encoder
from prefixbank.steps.embed.spec import specs_of
from prefixbank.steps.probe.splits import pairs_for

BYTES = (24, 48, 96, 192, 384)
WHOLE = "float32"
STEPS = (
    ("rotation", "sign"),
    ("itq", "rotation"),
    ("autoencoder", "itq"),
    ("autoencoder", "rotation"),
    ("autoencoder", "pca_int8"),
    ("pca_int8", "pca_float16"),
)
"""Ways whose difference says what the first of them adds."""

SPLITS = ("train", "test")
RANDOM = ("rotation", "itq", "autoencoder")


@dataclass(frozen=True, kw_only=True)
class Way:
    """How vectors become small.

    Args:
        vectors: type of what is stored.
        transform: before it.
        size: features after the transform.
    """

    vectors: VectorType
    transform: TransformSetting = "none"
    size: int = 0

    def bytes_of(self, features: int) -> int:
        """Return the bytes of a text of F features."""
        return bytes_per_vector(self.vectors, self.size or features)


@dataclass(frozen=True, kw_only=True)
class Small:
    """Small vectors of both splits, as a probe reads them, and the share of bits near a threshold.

    The share is None without bits.
    """

    train: np.ndarray
    test: np.ndarray
    near: float | None


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Of one way: score, its bootstrap samples [R], and the share near a threshold."""

    score: float
    samples: np.ndarray
    near: float | None

    def described(self) -> dict[str, Any]:
        """Return it for JSON."""
        low, high = percentile_interval(self.samples)
        near = {} if self.near is None else {"near_threshold": self.near}
        return {"score": self.score, "low": low, "high": high, **near}


def ways(size_bytes: int, features: int, rows: int) -> dict[str, Way]:
    """Return the ways to so many bytes a text.

    Args:
        size_bytes: of a text.
        features: F of the vectors as they are.
        rows: those that transforms are fitted on, of which PCA needs more than features.
    """
    bits = 8 * size_bytes
    found = {
        "sign": Way(vectors="binary"),
        "rotation": Way(vectors="binary", transform="rotation", size=bits),
        "itq": Way(vectors="binary", transform="itq", size=bits),
        "autoencoder": Way(vectors="binary", transform="autoencoder", size=bits),
        "pca_float16": Way(vectors="float16", transform="pca", size=size_bytes // 2),
        "pca_int8": Way(vectors="int8", transform="pca", size=size_bytes),
        "int8": Way(vectors="int8"),
    }
    return {
        name: way
        for name, way in found.items()
        if way.bytes_of(features) == size_bytes
        and (way.transform not in ("pca", "itq") or way.size <= min(features, rows - 1))
    }


def made_small(
    train: np.ndarray, test: np.ndarray, way: Way, recipe: EmbedRecipe, seed: int
) -> Small:
    """Return vectors as they are read back after they were stored in a way."""
    transforms: tuple[LinearTransform, ...] = ()
    if way.transform != "none":
        fit = fit_transform(way.transform, train[: recipe.transform_rows], way.size, seed)
        train, test, transforms = fit(train), fit(test), (fit,)
    sample = train[: recipe.calibration_rows]
    calibration = calibrate(sample, transforms)
    read = [
        dequantize(
            quantize(one, way.vectors, calibration, "median"),
            way.vectors,
            calibration,
            one.shape[1],
        )
        for one in (train, test)
    ]
    bits = way.vectors == "binary"
    near = share_near(sample, calibration.threshold("median")) if bits else None
    return Small(train=read[0], test=read[1], near=near)


def scored(task: Task, every: Sequence[Small], config: ProbeConfig) -> Scored:
    """Return the mean test score of probes on small vectors, one for each seed."""
    labels = np.asarray(task.test.labels)
    predictions = tuple(
        fit_probe(
            small.train,
            np.asarray(task.train.labels),
            kind=task.kind,
            metric=task.metric,
            num_outputs=task.num_outputs,
            Cs=config.Cs,
            folds=config.folds,
            seed=config.seed,
        ).predict(small.test)
        for small in every
    )
    scores = [score(task.metric, one, labels, task.num_outputs) for one in predictions]
    samples = resampled_scores(
        task.metric, predictions, labels, task.num_outputs, config.bootstrap_samples, config.seed
    )
    near = [small.near for small in every if small.near is not None]
    return Scored(
        score=float(np.mean(scores)),
        samples=samples.mean(axis=0),
        near=float(np.mean(near)) if near else None,
    )


def vectors_of(asked: argparse.Namespace, target: str) -> tuple[Task, ProbeCommandConfig, Small]:
    """Return a target, the settings, and its vectors as they are."""
    where = (
        ["task=folder", f"task.name={target}", f"run.data_root={asked.data_root}"]
        if asked.data_root
        else [f"task={target}"]
    )
    config = compose(ProbeCommandConfig, [*where, *asked.settings])
    with Invocation(store=asked.store).context(config.run) as context:
        bank, files, pooling = resolve_bank_and_encoder(
            context, config.bank or "none", config.encoder, config.pooling
        )
        task = context.task(config.task)
        recipe = recipe_of(config, EmbedRecipe, pairs=pairs_for(config.pairs, task))
        sought = [embed.Sought(spec=spec) for spec in specs_of(bank, files, recipe, pooling)]
        parts = embed.parts_of_task(task, SPLITS)
        made = context.ensure_together(embed.units(context, sought, parts, f"{target} sizes"))
        train, test = (
            np.concatenate([read_vectors(one.entry, split) for one in made], axis=1)
            for split in SPLITS
        )
    return task, config, Small(train=train, test=test, near=None)


def of_target(asked: argparse.Namespace, target: str) -> tuple[dict[str, Any], dict[str, Scored]]:
    """Return what a target is like, and the result of each way: `24 itq`, or `float32`."""
    task, config, whole = vectors_of(asked, target)
    recipe = recipe_of(config, EmbedRecipe, pairs="joint")
    (rows, features), found = whole.train.shape, {WHOLE: scored(task, [whole], config.probe)}
    for size_bytes in asked.bytes:
        fitted_on = min(rows, recipe.transform_rows)
        for name, way in ways(size_bytes, features, fitted_on).items():
            seeds = asked.seeds if way.transform in RANDOM else asked.seeds[:1]
            every = [made_small(whole.train, whole.test, way, recipe, seed) for seed in seeds]
            found[f"{size_bytes} {name}"] = scored(task, every, config.probe)
    facts = {
        "metric": task.metric,
        "features": features,
        "train_rows": rows,
        "test_rows": len(whole.test),
        "fitted_on": min(rows, recipe.transform_rows),
    }
    return facts, found


def difference(
    targets: Mapping[str, Mapping[str, Scored]], first: str, second: str
) -> dict[str, Any] | None:
    """Return the mean difference of two ways over the targets that have both; None without any."""
    both = {name: one for name, one in targets.items() if first in one and second in one}
    if not both:
        return None
    samples = np.mean([one[first].samples - one[second].samples for one in both.values()], axis=0)
    low, high = percentile_interval(samples)
    means = np.mean([one[first].score - one[second].score for one in both.values()])
    return {"mean": float(means), "low": low, "high": high, "targets": sorted(both)}


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and keep the result."""
    asked = arguments(given)
    made = {target: of_target(asked, target) for target in asked.targets}
    found = {target: results for target, (_, results) in made.items()}
    names = list(dict.fromkeys(name for results in found.values() for name in results))
    steps = {
        f"{size} {first} minus {second}": difference(found, f"{size} {first}", f"{size} {second}")
        for size in asked.bytes
        for first, second in STEPS
    }
    result = {
        **machine(),
        "settings": list(asked.settings),
        "seeds": list(asked.seeds),
        "targets": {
            target: {
                **facts,
                "scores": {name: one.described() for name, one in results.items()},
            }
            for target, (facts, results) in made.items()
        },
        "minus_float32": {name: difference(found, name, WHOLE) for name in names if name != WHOLE},
        "steps": {name: one for name, one in steps.items() if one is not None},
    }
    text = json.dumps(result, indent=1)
    print(text)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text + "\n", encoding="utf-8")


def numbers(text: str) -> list[int]:
    """Split `24,48`."""
    return [int(word) for word in text.split(",") if word]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "settings", nargs="*", help="KEY=VALUE as for probe: bank=NAME encoder=tiny"
    )
    parser.add_argument("--targets", type=lambda text: text.split(","), required=True)
    parser.add_argument("--data-root", help="folder of task folders; else tasks of the suite")
    parser.add_argument("--bytes", type=numbers, default=list(BYTES), help="of a text")
    parser.add_argument("--seeds", type=numbers, default=[0], help="of transforms")
    parser.add_argument("--store")
    parser.add_argument("--out", type=Path, default=RESULTS / "sizes.json")
    return parser.parse_intermixed_args(given)


if __name__ == "__main__":
    main()
