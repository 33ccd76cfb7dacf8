"""`prefixbank cache`: list, check and clean the store. Imports neither torch nor hydra."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from prefixbank.artifacts.staleness import moved_since, refresh_command
from prefixbank.cli import options as flag
from prefixbank.cli.console import Format, Row, chosen_format, print_rows, report, reported
from prefixbank.commands.amounts import size_text
from prefixbank.errors import DamagedError, UsageError, did_you_mean
from prefixbank.store.artifact import Entry
from prefixbank.store.reasons import reasons, words_in
from prefixbank.store.store import GRACE_DAYS, Store

cache = typer.Typer(
    help="List, check and clean the store.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Name = Annotated[
    str,
    typer.Argument(
        help="A ref (prefix/sst2, bank/demo), or a key, or at least its first 6 digits."
    ),
]
STEPS = (
    "train-prefix",
    "train-multitask",
    "train-student",
    "combine",
    "embed",
    "probe",
    "predict",
    "export",
    "export-onnx",
    "export-peft",
    "export-sentence-transformers",
    "report",
    "map-report",
    "average",
    "task-embedding",
    "score-prefix",
    "join",
    "text-cost",
    "tiny-encoder",
    "converted-encoder",
)
"""All steps that make artifacts, those of commands first."""
FormatFlag = Annotated[Format | None, flag.FORMAT]


@cache.command("ls", epilog="Example: prefixbank cache ls train-prefix")
def list_entries(
    step: Annotated[
        str | None,
        typer.Argument(
            help="Only this step: train-prefix, train-multitask, combine, embed, probe, report, ..."
        ),
    ] = None,
    store: flag.StoreFlag = None,
    form: FormatFlag = None,
    debug: flag.Debug = False,
) -> None:
    """List artifacts, oldest first, with their refs. Stale banks are marked.

    With PREFIXBANK_STORE_READ, those of other stores are listed, too, and the store of each.
    """
    with reported(debug=debug):
        opened = Store.open(store)
        if step is not None and step.replace("_", "-") not in STEPS:
            raise UsageError(
                f"no step '{step}'{did_you_mean(step, STEPS)}",
                expected=f"one of {', '.join(STEPS)}",
                fix="prefixbank cache ls    lists the artifacts of all steps",
            )
        names: dict[str, list[str]] = {}
        for ref in opened.refs():
            names.setdefault(ref.key, []).append(str(ref))
        print_rows(
            [
                _listed(opened, entry, names)
                for entry in opened.entries(step and step.replace("-", "_"))
            ],
            chosen_format(form),
        )
        _report_damaged(opened, debug=debug)


def _listed(store: Store, entry: Entry, names: dict[str, list[str]]) -> Row:
    """Return the row of an artifact.

    A bank is stale under a name if a ref that it was made from leads to another prefix now.
    """
    refs = names.get(entry.key, [])
    states = []
    for bank in (ref for ref in refs if ref.startswith("bank/")):
        origin, moved = moved_since(store, bank, entry)
        if moved:
            names_moved = ", ".join(ref for ref, _, _ in moved)
            refresh = refresh_command(bank, entry, origin)
            states.append(f"stale ({names_moved} moved): {refresh}")
    return {
        "step": entry.step.replace("_", "-"),
        "key": entry.short_key,
        "size_bytes": entry.size_bytes,
        "created": entry.info.get("created", ""),
        "refs": refs,
        "state": "; ".join(states),
        **({"store": str(store.root_of(entry))} if store.read_only else {}),
    }


def _report_damaged(store: Store, *, debug: bool) -> None:
    """Print the errors of entries that cannot be read."""
    damaged = store.damaged()
    for _, error in damaged:
        report(error, debug=debug)
    if damaged:
        raise typer.Exit(DamagedError.exit_code)


@cache.command(epilog="Example: prefixbank cache show bank/demo")
def show(name: Name, store: flag.StoreFlag = None, debug: flag.Debug = False) -> None:
    """Show one artifact: what determines its key, its files, and facts about how it was made."""
    with reported(debug=debug):
        entry = Store.open(store).resolve("", name)
        files = {
            file: {"sha256": record.sha256, "size_bytes": record.size_bytes}
            for file, record in sorted(entry.files.items())
        }
        shown = {
            "key": entry.key,
            "digest": entry.digest,
            "path": str(entry.path),
            "document": entry.document,
            "files": files,
            "info": entry.info,
        }
        typer.echo(json.dumps(shown, indent=1, ensure_ascii=False))


@cache.command(epilog="Example: prefixbank cache why prefix/polarity 3f9c21ab")
def why(
    name: Name,
    other: Annotated[
        str,
        typer.Argument(
            help="The artifact to compare with; default: the most similar one of the same step."
        ),
    ] = "",
    store: flag.StoreFlag = None,
    debug: flag.Debug = False,
) -> None:
    """Show in what the keys of two artifacts differ: why the second was not a hit for the first."""
    with reported(debug=debug):
        opened = Store.open(store)
        entry = opened.resolve("", name)
        compared = opened.resolve("", other) if other else _most_similar(opened, entry)
        typer.echo(f"{compared.step} {compared.short_key} -> {entry.short_key}")
        for line in _differences(compared, entry) or ["the same document"]:
            typer.echo(f"  {line}")


def _most_similar(store: Store, entry: Entry) -> Entry:
    others = [one for one in store.entries(entry.step) if one.key != entry.key]
    if not others:
        raise UsageError(
            f"{entry.step} {entry.short_key} is the only artifact of its step",
            expected="another artifact to compare with",
            fix="prefixbank cache ls",
        )
    return min(others, key=lambda one: len(_differences(one, entry)))


def _differences(old: Entry, new: Entry) -> list[str]:
    return reasons(old, new.document, words_in(new))


@cache.command(epilog="Example: prefixbank cache verify bank/demo")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Refs or keys; default: everything.")
    ] = None,
    store: flag.StoreFlag = None,
    debug: flag.Debug = False,
) -> None:
    """Read every file again and compare it with what was published."""
    with reported(debug=debug):
        opened = Store.open(store)
        keys = [opened.resolve("", name).key for name in names or ()] or None
        verdicts = list(opened.verify(keys))
        for verdict in verdicts:
            if verdict.error is not None:
                report(verdict.error, debug=debug)
        bad = sum(not verdict.ok for verdict in verdicts)
        typer.echo(f"{len(verdicts) - bad} good, {bad} damaged")
        if bad:
            raise typer.Exit(DamagedError.exit_code)


@cache.command(epilog="Example: prefixbank cache gc --grace-days 30 --yes")
def gc(
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete. Without it, only show the plan.")
    ] = False,
    grace_days: Annotated[
        float, typer.Option("--grace-days", min=0, help="Keep artifacts that are younger.")
    ] = GRACE_DAYS,
    store: flag.StoreFlag = None,
    debug: flag.Debug = False,
) -> None:
    """Delete artifacts that neither a ref nor a pin needs."""
    with reported(debug=debug):
        opened = Store.open(store)
        plan = opened.gc_plan(datetime.now(UTC), grace_days)
        for item in plan:
            typer.echo(f"{size_text(item.size_bytes):>13}  {item.path}  {item.reason}")
        if yes:
            typer.echo(f"freed {size_text(opened.gc_run(plan))}")
        else:
            typer.echo(
                f"{len(plan)} to delete, {size_text(sum(item.size_bytes for item in plan))}; "
                "nothing deleted without --yes"
            )


@cache.command("rm", epilog="Example: prefixbank cache rm probe/emotion@two --yes")
def remove(
    names: Annotated[
        list[str], typer.Argument(help="Refs, or keys, or at least their first 6 digits.")
    ],
    dependents: Annotated[
        bool, typer.Option("--dependents", help="Remove what was made from them, too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    store: flag.StoreFlag = None,
    debug: flag.Debug = False,
) -> None:
    """Remove artifacts. By key: with all refs. By ref: the ref, and what nothing else needs."""
    with reported(debug=debug):
        opened = Store.open(store)
        plan = opened.removal_plan(names, dependents=dependents)
        for ref in plan.refs:
            typer.echo(f"{'ref':>13}  {ref}")
        for item in plan.items:
            typer.echo(f"{size_text(item.size_bytes):>13}  {item.reason}")
        for kept in plan.kept:
            typer.echo(f"{'stays':>13}  {kept}")
        total = size_text(sum(item.size_bytes for item in plan.items))
        what = f"{len(plan.refs)} refs, {len(plan.items)} artifacts, {total}"
        if yes or (sys.stdin.isatty() and typer.confirm(f"remove {what}?")):
            opened.remove(plan)
            typer.echo(f"removed {what}")
        else:
            typer.echo(f"{what} to remove; nothing removed without --yes")


@cache.command(epilog="Example: prefixbank cache pin bank/demo")
def pin(
    name: Name,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the pin.")] = False,
    store: flag.StoreFlag = None,
    debug: flag.Debug = False,
) -> None:
    """Keep an artifact, and everything that it was made from, when gc deletes."""
    with reported(debug=debug):
        opened = Store.open(store)
        entry = opened.resolve("", name)
        if remove:
            typer.echo(
                f"unpinned {entry.short_key}"
                if opened.unpin(entry.key)
                else f"{entry.short_key} was not pinned"
            )
        else:
            opened.pin(entry.key)
            typer.echo(f"pinned {entry.short_key}")
