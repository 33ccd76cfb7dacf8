"""What identifies embeddings, apart from the texts: bank, encoder, recipe and pooling."""

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

# 1: first; 2: pairs can be embedded separately, embeddings.json says how vectors were pooled;
# 3: faster matrix products, different last digits; 4: embeddings.json lists the segments of a
# vector.
VERSION = 4


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """How texts are embedded.

    Args:
        bank: bank artifact; None is the plain encoder.
        files: encoder.
        recipe: the other settings that can change a vector.
        pooling: pooling of the plain encoder; a bank has its own.
        reuse: vectors of earlier embeddings to copy; None: every text is embedded.

    Raises:
        UsageError: `reuse` with calibrated vectors, whose calibration belongs to one corpus.
    """

    bank: Entry | None
    files: EncoderFiles
    recipe: EmbedRecipe
    pooling: PoolingConfig
    reuse: VectorReuse | None = None

    def __post_init__(self) -> None:
        """Refuse to copy vectors that another corpus calibrated."""
        if self.reuse is not None and self.recipe.vectors in CALIBRATED:
            raise UsageError(
                f"reuse=true with vectors={self.recipe.vectors}, which one corpus calibrates",
                expected="vectors that mean the same in every corpus: float32 or float16",
                fix="vectors=float16    or drop reuse=true",
            )

    def document(self, digests: Mapping[str, str], calibration: Entry | None = None) -> JSON:
        """Return the key document of embeddings.

        Args:
            digests: part to digest of its texts.
            calibration: embeddings whose calibration is used; None: they calibrate themselves.
        """
        config = asdict(effective(self.recipe))
        if self.bank is None:
            config["pooling"] = asdict(effective(self.pooling))
        # The last digits of a vector depend on the other texts of its batch, and so on which texts
        # were embedded before.
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
        """Return facts about the origin of embeddings that are not part of the key."""
        return {
            "bank": None if self.bank is None else self.bank.key,
            "encoder": asdict(self.files.origin),
        }


def check_pairs(recipe: EmbedRecipe, parts: Iterable[Texts], name: str) -> None:
    """Refuse to embed pairs separately if there are single texts.

    Args:
        recipe: settings of embedding.
        parts: the texts.
        name: what the error calls them.

    Raises:
        UsageError: `recipe.pairs` needs two texts in each row, and a part has single texts.
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
