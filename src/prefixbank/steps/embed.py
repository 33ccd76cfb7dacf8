"""Step `embed`: a bank and texts to one vector for each text, as Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.config.schema import CALIBRATED, EmbedRecipe, PoolingConfig, effective
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.tasks import SPLITS, Task
from prefixbank.data.texts import Texts
from prefixbank.errors import UsageError
from prefixbank.steps.context import Context
from prefixbank.steps.json_files import read_json
from prefixbank.steps.pairs import check_pairs
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.steps.reuse import Earlier

STEP = "embed"
FACTS, CALIBRATION = "embeddings.json", "calibration.safetensors"
VERSION = 3  # 1: first; 2: pairs can be embedded apart, embeddings.json says how vectors were pooled; 3: faster products, other last digits


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What turns texts into vectors.

    Args:
        bank: bank artifact; None is the plain encoder, pooled as `pooling` says.
        files: encoder.
        recipe: what else can change a vector.
        pooling: used without a bank, which brings its own.
        reuse: vectors made before, which are taken over; None: every text is read.

    Raises:
        UsageError: vectors are to be taken over that are stored by a calibration, which each corpus has for itself.
    """

    bank: Entry | None
    files: EncoderFiles
    recipe: EmbedRecipe
    pooling: PoolingConfig
    reuse: Earlier | None = None

    def __post_init__(self) -> None:
        """Refuse to take over what is stored by another corpus's calibration."""
        if self.reuse is not None and self.recipe.vectors in CALIBRATED:
            raise UsageError(
                f"reuse=true with vectors={self.recipe.vectors}, which are stored by the calibration of one corpus",
                expected="vectors that mean the same in every corpus: float32 or float16",
                fix="vectors=float16    or drop reuse=true",
            )

    def document(self, digests: Mapping[str, str], calibration: Entry | None = None) -> JSON:
        """Return what determines the embeddings of texts.

        Args:
            digests: of the texts of each part.
            calibration: embeddings whose calibration is used; None: that of the first rows of the first part.
        """
        config = asdict(effective(self.recipe))
        if self.bank is None:
            config["pooling"] = asdict(effective(self.pooling))
        if self.reuse is not None:  # the last digits of a vector depend on which texts were read together, so on what was there before
            config["reuse"] = True
        inputs = {"bank": None if self.bank is None else self.bank.digest, "encoder": self.files.digest, "texts": dict(digests)}
        if calibration is not None:
            inputs["calibration"] = calibration.files[CALIBRATION].sha256
        return document(step="embed", version=VERSION, config=config, inputs=inputs)

    def info(self) -> JSON:
        """Return what embeddings say of where they come from, which determines nothing."""
        return {"bank": None if self.bank is None else self.bank.key, "encoder": asdict(self.files.source)}


def unit(
    context: Context,
    reading: Reading,
    parts: Mapping[str, Texts],
    name: str,
    *,
    ref: tuple[str, str] | None = None,
    calibration: Entry | None = None,
) -> Unit:
    """Return the unit that embeds `parts`, one file each.

    Args:
        context: how to run.
        reading: with what.
        parts: file stem to its rows.
        name: what messages call it.
        ref: what to point at the result, if anything.
        calibration: as in `Reading.document`.

    Raises:
        UsageError: texts without a second one are to be compared.
    """
    check_pairs(reading.recipe, parts.values(), name)

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.steps.embed_parts import make_parts

        make_parts(context, reading, parts, calibration, name, (out, work))
        return reading.info()

    made_of = reading.document({stem: rows.digest() for stem, rows in parts.items()}, calibration)
    return Unit(step=STEP, name=name, document=made_of, make=make, ref=ref, note=describe)


def pooling_of(entry: Entry) -> PoolingConfig:
    """Return the pooling that a prefix or a multi-task encoder was trained with, or that a bank was combined with."""
    return PoolingConfig(**entry.document["config"]["pooling"])


def parts_of_task(task: Task, splits: Sequence[str] = SPLITS) -> dict[str, Texts]:
    """Return splits of a task as parts."""
    rows = {name: task.split(name) for name in splits}
    return {name: Texts(texts=of_split.texts, pairs=of_split.pairs) for name, of_split in rows.items()}


def describe(entry: Entry) -> str:
    """Return what the line of finished embeddings says."""
    facts = read_json(entry, FACTS)
    cut = f", {facts['truncated_share']:.1%} of rows truncated" if facts["truncated_share"] else ""
    stored = f" as {facts['vectors']['type']}" if facts["vectors"]["type"] != "float32" else ""
    reused = f", {facts['reused_rows']} reused" if "reused_rows" in facts else ""
    return f"{facts['rows']} rows{stored}{reused}{cut}"
