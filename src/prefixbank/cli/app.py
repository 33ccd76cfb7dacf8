"""The command line: commands and their flags.

What they do is in `prefixbank.api` and in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from prefixbank import __version__
from prefixbank.cli import options as flag
from prefixbank.cli.cache import cache
from prefixbank.cli.config import config
from prefixbank.cli.console import Format, Row
from prefixbank.cli.doctor import doctor
from prefixbank.cli.listing import SEARCH, SIMILAR, listing
from prefixbank.cli.run import Flags, run_command

TRAIN_PREFIX = """Train the prefix of one source task, or of several together, on a frozen encoder.

\b
Examples:
  prefixbank train-prefix task=polarity
  prefixbank train-prefix task=folder task.path=data/sst2 prefix.length=8
  prefixbank train-prefix 'task.mixture=[polarity,topic,answer]' name=three
  prefixbank train-prefix --sweep task=polarity,topic seed=1,2,3
"""
TRAIN_MULTITASK = """Fine-tune all weights of an encoder on several tasks together: the baseline \
that prefixes are compared with.

\b
Examples:
  prefixbank train-multitask 'tasks=[polarity,topic]' name=both
  prefixbank train-multitask 'tasks=[polarity,topic]' multitask.sampling=uniform optim.epochs=3
  prefixbank train-multitask 'tasks=[emotion]' name=ceiling
"""
COMBINE = """Combine prefixes into a bank.

\b
Examples:
  prefixbank combine 'prefixes=[polarity,topic]' name=demo
  prefixbank combine 'prefixes=[prefix/polarity,3f9c21ab]' combine=mean_vectors name=mixed
  prefixbank combine select=similar task=emotion k=3 name=near
"""
EMBED = """Turn each text of a corpus into one vector (txt, CSV, TSV, JSONL, Parquet in; Parquet \
out).

\b
Examples:
  prefixbank embed bank=demo corpus.path=reviews.csv corpus.column=body --out vectors.parquet
  cat lines.txt | prefixbank embed bank=demo corpus.path=-
  prefixbank embed bank=demo corpus.path=reviews.parquet run=ray run.ray.address=auto
"""
PROBE = """Fit a light model for a target task on a bank's vectors and score it once on test.

\b
Examples:
  prefixbank probe bank=demo task=emotion
  prefixbank probe bank=none task=emotion
  prefixbank probe bank=multitask/both task=emotion
  prefixbank probe bank=demo task=emotion probe.shots=8 probe.few_shot_samples=10
"""
RUN = """Run a whole experiment: train, combine, embed, probe, report. What the store has is \
skipped.

\b
Examples:
  prefixbank run experiment=starter
  prefixbank run experiment=starter --dry-run
  prefixbank run experiment=starter run.workers=4
  prefixbank run experiment=starter 'experiment.overrides.polarity=["optim.lr=0.02"]'
"""
TRANSFER_MAP = """Train each target of an experiment from each source and cold; report what helps, \
and whether similarity tells.

\b
Examples:
  prefixbank transfer map experiment=transfer_map_smoke encoder=tiny
  prefixbank transfer map experiment=transfer_map run.data_root=FOLDER --dry-run
  prefixbank transfer map experiment=starter experiment.target_rows=250 \
'experiment.transfer.ks=[1,2,3]'
"""
TRANSFER_RETRIEVE = """Train a task's prefix from the source prefixes that are most similar to it, \
after a short run on it.

\b
Examples:
  prefixbank transfer retrieve task=emotion
  prefixbank transfer retrieve task=emotion method=weighted k=2 name=emotion-weighted
"""

app = typer.Typer(
    name="prefixbank", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
transfer = typer.Typer(
    help="Prompt transfer: from which source prefix a task can start.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def prefixbank(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Many predictions from one pass over a text.

    Independent prefixes of one frozen encoder, combined into a bank.
    """


def _add_producing(
    function: str, text_help: str, *, text: Callable[[Row], str] | None = None
) -> None:
    """Add the command that calls an API function; `transfer_...` goes to `transfer`.

    All producing commands take the same flags.
    """
    place = transfer if function.startswith("transfer_") else app

    @place.command(function.removeprefix("transfer_").replace("_", "-"), help=text_help)
    def command(
        overrides: flag.Overrides = None,
        store: flag.StoreFlag = None,
        conf_dir: flag.ConfDir = None,
        dry_run: flag.DryRun = False,
        force: flag.Force = False,
        quiet: flag.Quiet = False,
        form: Annotated[Format | None, flag.FORMAT] = None,
        out: flag.Out = None,
        sweep: flag.Sweep = False,
        debug: flag.Debug = False,
    ) -> None:
        flags = Flags(
            store=store,
            conf_dir=conf_dir,
            dry_run=dry_run,
            force=force,
            quiet=quiet,
            form=form,
            out=out,
            sweep=sweep,
            debug=debug,
        )
        run_command(function, overrides, flags, text=text)


def _report_text(row: Row) -> str:
    """Return an experiment's report as a person reads it on a terminal."""
    path = Path(row["path"])
    text = (path / "report.md").read_text(encoding="utf-8").split("\n![", maxsplit=1)[0].rstrip()
    charts = "".join(f"\nchart:  {chart}" for chart in sorted(path.glob("*.png")))
    return f"{text}\n\nreport: {path / 'report.md'}\npage:   {path / 'report.html'}{charts}"


_add_producing("train_prefix", TRAIN_PREFIX)
_add_producing("train_multitask", TRAIN_MULTITASK)
_add_producing("combine", COMBINE)
_add_producing("embed", EMBED)
_add_producing("probe", PROBE)
_add_producing("run", RUN, text=_report_text)
_add_producing("transfer_map", TRANSFER_MAP, text=_report_text)
_add_producing("transfer_retrieve", TRANSFER_RETRIEVE)
app.command("search", help=SEARCH)(listing("search"))
transfer.command("similar", help=SIMILAR)(listing("transfer_similar"))
app.add_typer(transfer, name="transfer")
app.add_typer(cache, name="cache")
app.add_typer(config, name="config")
app.command(name="doctor", epilog="Example: prefixbank doctor --format table")(doctor)


def main() -> None:
    """Start the command line."""
    app()
