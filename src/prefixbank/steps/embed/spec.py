"""What identifies embeddings beside the texts: bank, encoder, recipe and pooling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from prefixbank.artifacts.embeddings import CALIBRATION
from prefixbank.config.schema import CALIBRATED, EmbedRecipe, PoolingConfig, effective
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document

if TYPE_CHECKING:
    from prefixbank.steps.embed.reuse import VectorReuse

# 1: first; 2: pairs can be embedded apart, embeddings.json says how vectors were pooled; 3: faster
# products, other last digits.
VERSION = 3


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """What turns texts into vectors.

    Args:
        bank: bank artifact; None is the plain encoder, pooled as `pooling` says.
        files: encoder.
        recipe: what else can change a vector.
        pooling: used without a bank, which brings its own.
        reuse: vectors made before, which are taken over; None: every text is read.

    Raises:
        UsageError: vectors are to be taken over that are stored by a calibration, which each corpus
            has for itself.
    """

    bank: Entry | None
    files: EncoderFiles
    recipe: EmbedRecipe
    pooling: PoolingConfig
    reuse: VectorReuse | None = None

    def __post_init__(self) -> None:
        """Refuse to take over what is stored by another corpus's calibration."""
        if self.reuse is not None and self.recipe.vectors in CALIBRATED:
            raise UsageError(
                f"reuse=true with vectors={self.recipe.vectors}, which are stored by the "
                "calibration of one corpus",
                expected="vectors that mean the same in every corpus: float32 or float16",
                fix="vectors=float16    or drop reuse=true",
            )

    def document(self, digests: Mapping[str, str], calibration: Entry | None = None) -> JSON:
        """Return what determines the embeddings of texts.

        Args:
            digests: of the texts of each part.
            calibration: embeddings whose calibration is used; None: that of the first rows of the
                first part.
        """
        config = asdict(effective(self.recipe))
        if self.bank is None:
            config["pooling"] = asdict(effective(self.pooling))
        # The last digits of a vector depend on which texts were read together, so on what was there
        # before.
        if self.reuse is not None:
            config["reuse"] = True
        inputs = {
            "bank": None if self.bank is None else self.bank.digest,
            "encoder": self.files.digest,
            "texts": dict(digests),
        }
        if calibration is not None:
            inputs["calibration"] = calibration.files[CALIBRATION].sha256
        return document(step="embed", version=VERSION, config=config, inputs=inputs)

    def info(self) -> JSON:
        """Return what embeddings say of where they come from, which determines nothing."""
        return {
            "bank": None if self.bank is None else self.bank.key,
            "encoder": asdict(self.files.source),
        }


def check_pairs(recipe: EmbedRecipe, parts: Iterable[Texts], name: str) -> None:
    """Refuse to compare texts that come alone.

    Args:
        recipe: says how pairs become vectors.
        parts: what is to be embedded.
        name: what the error calls it.

    Raises:
        UsageError: `pairs` asks for two vectors of each row, and there are no second texts.
    """
    if recipe.pairs != "joint" and any(rows.pairs is None for rows in parts):
        raise UsageError(
            f"pairs={recipe.pairs} for {name}, which has single texts: there is nothing to "
            "compare them with",
            expected="a second text for each, or pairs=joint",
            fix=(
                "pairs=joint    or name the column of second texts (task.columns.text_pair, "
                "corpus.column_pair)"
            ),
        )
