"""The score of each source's own head on its validation rows, with each seed of an experiment.

Run: python -m benchmarks.own_heads experiment=families_smollm2 run.data_root=FOLDER --out FILE.json

The settings and the store are those of `prefixbank run`, whose trainings are hits. Heads are those
of read-outs, each trained alone, and if `multitask` is one of the experiment's representations,
those of the encoder that was fine-tuned on all sources.
"""

from __future__ import annotations

from typing import Any

from benchmarks.studies import run_study
from prefixbank.artifacts.json_files import read_json
from prefixbank.runtime.context import Context
from prefixbank.studies.graph import Experiment, Graph

DIGITS = 4


def own_heads(context: Context, experiment: Experiment) -> dict[str, Any]:
    """Return the metric of each source, and the scores of each kind of training and seed."""
    graph = Graph(context=context, experiment=experiment)
    names = list(graph.config.experiment.sources)
    tasks = [graph.source(name) for name in names]
    alone, together = {}, {}
    for seed in graph.seeds:
        results = [read_json(graph.prefix(name, seed).entry, "result.json") for name in names]
        alone[f"read-outs, seed {seed}"] = {
            name: round(result["validation"], DIGITS)
            for name, result in zip(names, results, strict=True)
        }
        if "multitask" not in graph.config.experiment.representations:
            continue
        label = graph.named(graph.config.experiment.name, seed)
        fitted = read_json(graph.multitask(tasks, label, seed).entry, "result.json")["tasks"]
        together[f"multi-task encoder, seed {seed}"] = {
            name: round(of_task["validation"], DIGITS)
            for name, of_task in zip(names, fitted, strict=True)
        }
    metrics = {name: task.metric for name, task in zip(names, tasks, strict=True)}
    return {"metrics": metrics, "validation": {**alone, **together}}


if __name__ == "__main__":
    run_study(__doc__, own_heads)
