"""Summarise an artifact as one flat row, which commands print."""

from __future__ import annotations

from typing import Any

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.predictions import FACTS as PREDICTIONS
from prefixbank.artifacts.probe import PROBE, choice_in
from prefixbank.artifacts.row_facts import row_counts_in
from prefixbank.artifacts.source_head import BANK, block_sizes
from prefixbank.store.artifact import Entry


def summary(entry: Entry) -> dict[str, Any]:
    """Return the row of an artifact of any step that a command makes."""
    row = {
        "step": entry.step.replace("_", "-"),
        "key": entry.key,
        **_facts(entry),
        "path": str(entry.path),
    }
    return row


def _facts(entry: Entry) -> dict[str, Any]:
    match entry.step:
        case "train_prefix":
            return _prefix(entry)
        case "train_multitask" | "train_student":
            return _multitask(entry)
        case "combine":
            return _bank(entry)
        case "embed":
            return _embeddings(entry)
        case "predict":
            facts = read_json(entry, PREDICTIONS)
            heads = {one["name"]: one["abstained"] for one in facts["heads"]}
            kept = {"rows": facts["rows"], **row_counts_in(facts), "format": facts["format"]}
            return {"name": entry.info["name"], **kept, "heads": list(heads), "abstained": heads}
        case "export" | "export_onnx" | "export_peft" | "export_sentence_transformers":
            return _export(entry)
        case "probe":
            return _probe(entry)
        case "report" | "map_report":
            return {"name": entry.info["experiment"], **read_json(entry, "report.json")}
    return {}


def _embeddings(entry: Entry) -> dict[str, Any]:
    facts = read_json(entry, "embeddings.json")
    made = {name: facts[name] for name in ("rows", "reused_rows") if name in facts}
    made |= row_counts_in(facts)
    if {"transform", "near_threshold"} & facts.get("vectors", {}).keys():
        made["vectors"] = facts["vectors"]
    if "blocks" in facts:
        made["blocks"] = {one["name"]: one["features"] for one in facts["blocks"]}
    return {"name": entry.info["name"], "encoder": entry.info["encoder"]["name"], **made}


def _prefix(entry: Entry) -> dict[str, Any]:
    result = read_json(entry, "result.json")
    scores = (
        {"scores": [task["validation"] for task in result["tasks"]]}
        if "tasks" in result
        else {"metric": result["metric"]}
    )
    kept = {
        name: result[name]
        for name in ("validation", "best_epoch", "steps", "train_rows", "truncated_share", "shape")
    }
    return {"task": entry.info["task"], **scores, **kept}


def _bank(entry: Entry) -> dict[str, Any]:
    """Return the rule of a bank, and its weights, or each block with its number of features."""
    bank = read_json(entry, BANK)
    kept = {
        "name": entry.info["name"],
        "rule": bank["rule"],
        "prefixes": entry.info["tasks"],
    }
    if bank["rule"] == "blocks":
        return {**kept, "blocks": block_sizes(entry)}
    return {**kept, "weights": bank["weights"]}


def _export(entry: Entry) -> dict[str, Any]:
    """Return what was exported, and how close a file is that computes something else on purpose."""
    heads = entry.document["config"].get("heads", [])
    made = {"name": entry.info["name"], "bank": entry.info["bank"], "heads": heads}
    if "int8" not in entry.info:
        return made
    differences = {"differences": entry.info["differences"]}
    return {**made, "precision": "int8", **differences, **entry.info["int8"]}


def _multitask(entry: Entry) -> dict[str, Any]:
    result = read_json(entry, "result.json")
    scores = {"scores": [task["validation"] for task in result["tasks"]]}
    if "teacher_validation" in result:
        scores["teacher_scores"] = [task["teacher_validation"] for task in result["tasks"]]
    kept = {
        name: result[name]
        for name in ("best_epoch", "steps", "examples", "train_rows", "truncated_share")
    }
    return {
        "name": entry.info["name"],
        "tasks": entry.info["tasks"],
        "validation": result["validation"],
        **scores,
        **kept,
    }


def _probe(entry: Entry) -> dict[str, Any]:
    result = read_json(entry, PROBE)
    test = result["test"]
    scores = {
        "metric": result["metric"],
        "score": test["score"],
        "low": test["low"],
        "high": test["high"],
        "interval_over": test["interval"],
    }
    others = {name: value for name, value in test["metrics"].items() if name != result["metric"]}
    others |= {name: value for name, value in test.items() if name.startswith("uncalibrated_")}
    bank = entry.info["bank"][:8] if entry.info["bank"] else "none"
    size = {
        "validation": result["validation"],
        "train_rows": result["train_rows"],
        "test_rows": test["n"],
        "draws": result["draws"],
    }
    return {
        "task": entry.info["task"],
        "bank": bank,
        "encoder": entry.info["encoder"]["name"],
        **scores,
        **size,
        "chosen": choice_in(result),
        **(row_counts_in(entry.info["texts"]) if "texts" in entry.info else {}),
        **others,
    }


def flat_rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows for CSV.

    An artifact has one row. A report has a row for each target and column, or without targets for
    each change and method. A transfer map has a row for each way to divide the seeds and each way
    to choose a source.
    """
    if row["step"] == "map-report":
        return [
            {
                "seeds": regime,
                "source": name,
                **{each: cell[each] for each in ("value", "low", "high")},
            }
            for regime, cells in row["regimes"].items()
            for name, cell in cells["rows"].items()
        ]
    if row["step"] != "report":
        return [row]
    if not row["targets"]:
        return list(row["update"])
    cells = [
        (target, column, row["rows"][target]["columns"][column])
        for target in (*row["targets"], "mean")
        for column in row["columns"]
    ]
    return [
        {
            "target": target,
            "column": column,
            "score": cell["value"],
            "low": cell["low"],
            "high": cell["high"],
        }
        for target, column, cell in cells
    ]
