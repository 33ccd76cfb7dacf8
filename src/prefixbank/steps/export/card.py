"""Model cards of exports."""

from __future__ import annotations

from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.probe import PROBE, decision_in
from prefixbank.config.schema import EncoderConfig
from prefixbank.steps.export.source import Export
from prefixbank.steps.predict.heads import Head


def model_card(export: Export, use: str, precision: str = "") -> str:
    """Return the README of an export, with the front matter that model hubs read.

    Args:
        export: what is exported.
        use: how to use the folder, in Markdown.
        precision: what there is to say of its number format, in Markdown.
    """
    bank = export.bank
    encoder = EncoderConfig(**bank.info["encoder"])
    origin = {
        "hub": f"hub: {encoder.hub_id}@{encoder.revision}",
        "package": f"Python package {encoder.package}",
        "folder": "a local folder; give its place here by encoder=folder encoder.path=FOLDER",
    }.get(encoder.source, encoder.source)
    front = [
        "---",
        *([f"license: {export.license}"] if export.license else []),
        "tags: [prefixbank]",
        "---",
    ]
    rows = [
        "| head | predicts | labels | test score | rows | reads at most |",
        "|---|---|---|---|---|---|",
        *(_row(head) for head in export.heads),
    ]
    sources = ", ".join(bank.info["tasks"])
    return "\n".join(
        [
            *front,
            f"# {export.name}",
            "",
            "A bank of prefixes of one frozen encoder, with heads that predict from its vectors.",
            "",
            f"- encoder: {encoder.name} ({origin}), SHA-256 `{bank.document['inputs']['encoder']}`",
            f"- sources: {sources}",
            f"- bank: `{bank.key}`",
            "",
            "## Heads",
            "",
            *rows,
            "",
            "Test scores have 95 % intervals over test rows. Of longer texts only the beginning is "
            "read, unless the table says otherwise. A source's own head was not scored on test "
            "rows.",
            "",
            *(["## Precision", "", precision, ""] if precision else []),
            "## Use",
            "",
            use,
            "",
        ]
    )


def _row(head: Head) -> str:
    if head.source is not None:
        return f"| {head.name} | a source of the bank | | | | |"
    result = read_json(head.entry, PROBE)
    test, read = result["test"], result["vectors"][0]["config"]
    score = f"{result['metric']} {test['score']:.3f} [{test['low']:.3f}, {test['high']:.3f}]"
    score = ", ".join(filter(None, (score, decision_in(result))))
    labels = ", ".join(result["labels"]) or "a number"
    windows = ", longer texts in windows" if read.get("long") == "windows" else ""
    scaled = "; vectors of length 1" if read.get("normalize") else ""
    return (
        f"| {head.name} | {head.entry.info['task']} | {labels} | {score} | {test['n']} | "
        f"{read['max_length_tokens']} tokens{windows}{scaled} |"
    )
