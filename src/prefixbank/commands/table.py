"""The commands that have settings. Each one is declared here, and only here.

The command line, `prefixbank.run`, workers, `prefixbank config` and the reference pages go through
this table. A new command is a settings class, a YAML file in `conf/`, a function and an entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from prefixbank.commands import functions
from prefixbank.commands.functions import Row
from prefixbank.commands.invocation import Invocation
from prefixbank.config.commands import (
    CombineCommandConfig,
    CommandConfig,
    CostConfig,
    EmbedConfig,
    ExportConfig,
    ImportConfig,
    PredictCommandConfig,
    ProbeCommandConfig,
    PullConfig,
    PushConfig,
    RunExperimentConfig,
    SearchConfig,
    TrainMultitaskConfig,
    TrainPrefixConfig,
    TrainStudentConfig,
    TransferCombineConfig,
    TransferMapConfig,
    TransferRetrieveConfig,
    TransferSimilarConfig,
)
from prefixbank.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from prefixbank.runtime.unit import Planned

C = TypeVar("C", bound=CommandConfig)

_SETTING = re.compile(r"[~+]*[A-Za-z_][\w./@]*\s*=")
"""The beginning of `KEY=VALUE`, which tells it from a text."""


@dataclass(frozen=True, kw_only=True)
class Command(Generic[C]):
    """One command.

    Args:
        settings: its settings class, which has its name.
        function: what it does. It imports torch and the like only when it is called.
        summary: what `--help` says.
        examples: what follows `prefixbank <name>`, for `--help`.
        makes: `artifact`: it makes one and prints a row of facts. `report`: an artifact that is
            printed as text. `rows`: it prints rows; what it puts into the store was made elsewhere.
        shares_units: workers can make its units.
        takes_texts: words that are not `KEY=VALUE` are texts.
        sweeps_by_workers: workers can make the runs of a sweep, one job for each. Other commands
            go through a sweep one run after the other, each with workers of its own.
    """

    settings: type[C]
    function: Callable[[C, Invocation], Planned | list[Row]]
    summary: str
    examples: tuple[str, ...]
    makes: Literal["artifact", "report", "rows"] = "artifact"
    shares_units: bool = False
    takes_texts: bool = False
    sweeps_by_workers: bool = False

    @property
    def name(self) -> str:
        """The command as typed: `train-prefix`, `transfer map`."""
        return self.settings.command

    def split_texts(self, words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
        """Return the texts among words, if the command takes any, and the settings."""
        settings = [word for word in words if not self.takes_texts or _SETTING.match(word)]
        return tuple(word for word in words if word not in settings), settings

    @property
    def help(self) -> str:
        r"""Summary and examples; `\b` keeps click from joining the lines of a paragraph."""
        lines = "\n".join(f"  prefixbank {self.name} {example}" for example in self.examples)
        return f"{self.summary}\n\n\b\nExamples:\n{lines}\n"


TRAIN_PREFIX = Command(
    settings=TrainPrefixConfig,
    function=functions.train_prefix,
    summary="Train a prefix on one source task, or on several together. The encoder stays frozen.",
    examples=(
        "task=polarity",
        "task=folder task.path=data/sst2 prefix.length=8",
        "'task.mixture=[polarity,topic,answer]' name=three",
        "--sweep task=polarity,topic seed=1,2,3",
    ),
    shares_units=True,
    sweeps_by_workers=True,
)
TRAIN_MULTITASK = Command(
    settings=TrainMultitaskConfig,
    function=functions.train_multitask,
    summary="Fine-tune all weights of an encoder on several tasks together: the baseline for banks "
    "of prefixes.",
    examples=(
        "'tasks=[polarity,topic]' name=both",
        "'tasks=[polarity,topic]' multitask.sampling=uniform optim.epochs=3",
        "'tasks=[emotion]' name=emotion-only",
    ),
    shares_units=True,
    sweeps_by_workers=True,
)
TRAIN_STUDENT = Command(
    settings=TrainStudentConfig,
    function=functions.train_student,
    summary="Distil a multi-task encoder into a student: an encoder with its lower layers, which "
    "learns its outputs beside the labels.",
    examples=(
        "task=polarity teacher=multitask/both student.layers=2",
        "teacher=multitask/both student.layers=2 name=both-2",
        "--sweep teacher=multitask/both task=polarity,topic student.layers=1,2",
    ),
    shares_units=True,
    sweeps_by_workers=True,
)
COMBINE = Command(
    settings=CombineCommandConfig,
    function=functions.combine,
    summary="Combine prefixes into a bank.",
    examples=(
        "'prefixes=[polarity,topic]' name=demo",
        "'prefixes=[prefix/polarity,3f9c21ab]' combine=mean_vectors name=mixed",
    ),
)
EMBED = Command(
    settings=EmbedConfig,
    function=functions.embed,
    summary="Turn each text of a corpus into one vector. Reads txt, CSV, TSV, JSONL and Parquet, "
    "writes Parquet.",
    examples=(
        "bank=demo corpus.path=reviews.csv corpus.column=body --out vectors.parquet",
        "bank=demo corpus.path=- < lines.txt",
        "bank=demo corpus.path=reviews.parquet run=ray run.ray.address=auto",
    ),
    shares_units=True,
)
PREDICT = Command(
    settings=PredictCommandConfig,
    function=functions.predict,
    summary="Predict several tasks for each text of a corpus, from one pass: probes, and the "
    "sources of a bank of read-outs.",
    examples=(
        "bank=demo 'heads=[emotion,topic]' corpus.path=new.csv corpus.column=body --out labels",
        "bank=demo 'heads=[emotion]' corpus.path=new.txt predict.text=true predict.format=csv",
    ),
    shares_units=True,
)
EXPORT = Command(
    settings=ExportConfig,
    function=functions.export,
    summary="Put a bank and heads on it into one folder, which needs no store to predict.",
    examples=(
        "bank=demo 'heads=[emotion,topic]' --out demo",
        "bank=demo 'heads=[emotion,topic]' format=onnx --out demo-onnx",
        "bank=demo 'heads=[emotion,topic]' format=onnx precision=int8 --out demo-int8",
    ),
)
IMPORT = Command(
    settings=ImportConfig,
    function=functions.import_bundle,
    summary="Put a bank and its heads from a folder that `prefixbank export` wrote into the store.",
    examples=("path=demo", "path=demo name=theirs"),
    makes="rows",
)
PUSH = Command(
    settings=PushConfig,
    function=functions.push,
    summary="Copy a bundle to a hub repository, or to a folder here or elsewhere.",
    examples=("path=demo address=hf://you/demo", "path=demo address=s3://bucket/demo"),
    makes="rows",
)
PULL = Command(
    settings=PullConfig,
    function=functions.pull,
    summary="Put a bank and its heads from where `prefixbank push` put them into the store.",
    examples=("address=hf://you/demo revision=main", "address=/shared/demo name=theirs"),
    makes="rows",
)
SEARCH = Command(
    settings=SearchConfig,
    function=functions.search,
    summary="Find the rows of embeddings that are most similar to texts, by cosine.",
    examples=(
        "'The food was cold.' embeddings=reviews@demo k=3",
        "embeddings=reviews@demo < questions.txt",
        "embeddings=reviews@demo queries.path=questions.txt corpus.path=reviews.txt",
    ),
    makes="rows",
    takes_texts=True,
)
COST = Command(
    settings=CostConfig,
    function=functions.cost,
    summary="Count and time what banks and encoders cost for one text, and from how many tasks on "
    "a shared one costs less than one for each task.",
    examples=(
        "'of=[multitask/both,student/polarity]'",
        "'of=[demo,none,student/polarity]' tokens=128 classes=5 --format table",
        "'of=[multitask/both,student/polarity]' 'tasks=[1,7,30]' rounds=0",
    ),
    makes="rows",
)
PROBE = Command(
    settings=ProbeCommandConfig,
    function=functions.probe,
    summary="Fit a light model for a target task on a bank's vectors and score it once on test.",
    examples=(
        "bank=demo task=emotion",
        "bank=none task=emotion",
        "bank=multitask/both task=emotion",
        "bank=demo task=emotion probe.shots=8 probe.few_shot_samples=10",
    ),
    shares_units=True,
    sweeps_by_workers=True,
)
RUN = Command(
    settings=RunExperimentConfig,
    function=functions.run_experiment,
    summary="Run a whole experiment: train, combine, embed, probe, report. Whatever is in the "
    "store is not made again.",
    examples=(
        "experiment=starter",
        "experiment=starter --dry-run",
        "experiment=starter run.workers=4",
        "experiment=starter 'experiment.overrides.polarity=[\"optim.lr=0.02\"]'",
    ),
    makes="report",
    shares_units=True,
)
TRANSFER_SIMILAR = Command(
    settings=TransferSimilarConfig,
    function=functions.transfer_similar,
    summary="Rank source prefixes by their similarity to a task, after a short run on it.",
    examples=(
        "task=emotion",
        "task=emotion 'sources=[polarity,topic]' similarity=per_token",
    ),
    makes="rows",
)
TRANSFER_RETRIEVE = Command(
    settings=TransferRetrieveConfig,
    function=functions.transfer_retrieve,
    summary="Train a task's prefix from the source prefixes that are most similar to it, after a "
    "short run on it.",
    examples=("task=emotion", "task=emotion method=weighted k=2 name=emotion-weighted"),
    shares_units=True,
)
TRANSFER_COMBINE = Command(
    settings=TransferCombineConfig,
    function=functions.transfer_combine,
    summary="Combine the source prefixes that are most similar to a task into a bank, after a "
    "short run on it.",
    examples=(
        "task=emotion",
        "task=emotion k=2 name=two-similar",
        "task=emotion 'sources=[polarity,topic,answer]' k=2 weight_by_similarity=false",
    ),
)
TRANSFER_MAP = Command(
    settings=TransferMapConfig,
    function=functions.transfer_map,
    summary="Train each target of an experiment from each source and from a cold start. Report "
    "what helps, and whether similarity predicts it.",
    examples=(
        "experiment=transfer_map_smoke encoder=tiny",
        "experiment=transfer_map run.data_root=FOLDER --dry-run",
        "experiment=starter experiment.target_rows=250 'experiment.transfer.ks=[1,2,3]'",
    ),
    makes="report",
    shares_units=True,
)

COMMANDS: tuple[Command[Any], ...] = (
    TRAIN_PREFIX,
    TRAIN_MULTITASK,
    TRAIN_STUDENT,
    COMBINE,
    EMBED,
    PREDICT,
    EXPORT,
    IMPORT,
    PUSH,
    PULL,
    SEARCH,
    COST,
    PROBE,
    RUN,
    TRANSFER_SIMILAR,
    TRANSFER_RETRIEVE,
    TRANSFER_COMBINE,
    TRANSFER_MAP,
)


def split_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the name of a command, which may be two of `words`, and the words that follow it."""
    two = " ".join(words[:2])
    length = 2 if any(command.name == two for command in COMMANDS) else 1
    return " ".join(words[:length]), list(words[length:])


def command_named(name: str) -> Command[Any]:
    """Return a command by its name as typed.

    Raises:
        UsageError: there is no such command.
    """
    names = [command.name for command in COMMANDS]
    if name not in names:
        raise UsageError(
            f"no command '{name}'{did_you_mean(name, names)}",
            expected=f"one of {', '.join(names)}",
            fix="prefixbank --help    lists the commands",
        )
    return COMMANDS[names.index(name)]
