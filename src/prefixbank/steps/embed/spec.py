"""What identifies embeddings, apart from the texts: bank, encoder, recipe and pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.artifacts.embeddings import CALIBRATION
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.prefix import block_file
from prefixbank.artifacts.source_head import PLAIN_BLOCK, has_blocks, source_names
from prefixbank.choices import AllBlocks
from prefixbank.config.commands import CorpusConfig
from prefixbank.config.schema import EmbedRecipe, PoolingConfig, key_config
from prefixbank.data.corpus.corpus import STDIN
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError, did_you_mean
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON, document
from prefixbank.store.reasons import Described, Words, named

if TYPE_CHECKING:
    from prefixbank.steps.embed.reuse import VectorReuse

# 1: first; 2: pairs can be embedded separately, embeddings.json says how vectors were pooled;
# 3: faster matrix products, different last digits; 4: embeddings.json lists the segments of a
# vector; 5: vectors of pairs that are embedded separately hold u and v, too.
VERSION = 5


UNCALIBRATED = "transform=none vectors=float16"
"""Settings with which no vector depends on others."""

NO_BANK = Described(kind="bank", name="none")
"""The plain encoder among banks."""


@dataclass(frozen=True, kw_only=True)
class SourceBlock:
    """The read-outs of one source in a bank of blocks.

    Args:
        name: of the block.
        bank: the bank's artifact.
        file: the bank's file with the read-outs.
    """

    name: str
    bank: Entry
    file: str

    @property
    def digest(self) -> str:
        """SHA-256 of the read-outs' file, which is that of the prefix's own artifact."""
        return self.bank.files[self.file].sha256


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """How texts are embedded.

    Args:
        bank: bank artifact; None is the plain encoder, or the block of one source.
        block: the source whose block is made.
        files: encoder.
        recipe: the other settings that can change a vector.
        pooling: pooling of the plain encoder; a bank has its own.
        reuse: vectors of earlier embeddings to copy; None: every text is embedded.
        corpus: where the texts are, to find them again; None: in no file.

    Raises:
        UsageError: `reuse` with calibrated vectors, whose calibration belongs to one corpus; or
            bits by the median of features that are signs.
    """

    bank: Entry | None
    files: EncoderFiles
    recipe: EmbedRecipe
    pooling: PoolingConfig
    reuse: VectorReuse | None = None
    block: SourceBlock | None = None
    corpus: CorpusConfig | None = None

    @property
    def block_name(self) -> str:
        """Name of the vectors among the blocks of a bank."""
        return PLAIN_BLOCK if self.block is None else self.block.name

    @property
    def has_signs(self) -> bool:
        """Whether vectors are 1 and -1, as they come from the encoder."""
        if self.block is not None:
            return False
        return (self.pooling if self.bank is None else pooling_of(self.bank)).binary

    def __post_init__(self) -> None:
        """Refuse to copy vectors that another corpus calibrated, and medians of signs."""
        recipe = self.recipe
        is_median = (recipe.vectors, recipe.binary_threshold) == ("binary", "median")
        if self.has_signs and is_median and recipe.transform == "none":
            raise UsageError(
                "binary_threshold=median for vectors that are 1 and -1 already (pooling.binary)",
                expected="binary_threshold=zero, which keeps them as they are",
                fix="vectors=binary binary_threshold=zero",
            )
        if self.reuse is not None and self.recipe.calibrated_by:
            raise UsageError(
                f"reuse=true with {self.recipe.calibrated_by}, which one corpus calibrates",
                expected="vectors that mean the same in every corpus: float32 or float16, without "
                "a transform",
                fix=f"{UNCALIBRATED}    or drop reuse=true",
            )

    def document(self, digests: Mapping[str, str], calibration: Entry | None = None) -> JSON:
        """Return the key document of embeddings.

        Args:
            digests: part to digest of its texts.
            calibration: embeddings whose calibration is used; None: they calibrate themselves.
        """
        config = key_config(self.recipe)
        if self.bank is None and self.block is None:
            config["pooling"] = key_config(self.pooling)
        # The last digits of a vector depend on the other texts of its batch, and so on which texts
        # were embedded before.
        if self.reuse is not None:
            config["reuse"] = True
        inputs = {
            "bank": None if self.bank is None else self.bank.digest,
            "encoder": self.files.digest,
            "texts": dict(digests),
        }
        # The vectors of a source's block depend on its read-outs alone, not on the bank around it.
        if self.block is not None:
            inputs["readouts"] = self.block.digest
        if calibration is not None:
            inputs["calibration"] = calibration.files[CALIBRATION].sha256
        return document(step="embed", version=VERSION, config=config, inputs=inputs)

    def words(self, texts: Described | None) -> Words:
        """Return the inputs of embeddings of these texts in words."""
        block = self.block and [Described(kind="source", name=self.block.name)]
        return {
            "encoder": self.files.words,
            "bank": named("bank", [self.bank]) if self.bank else [NO_BANK],
            **({} if texts is None else {"texts": [texts]}),
            **({"readouts": block} if block else {}),
        }

    def info(self) -> JSON:
        """Return facts about the origin of embeddings that are not part of the key."""
        bank = self.bank if self.block is None else self.block.bank
        return {
            "bank": None if bank is None else bank.key,
            "encoder": asdict(self.files.origin),
            **({} if self.block is None else {"block": self.block.name}),
            **({} if self.corpus is None else {"corpus": asdict(self.corpus)}),
        }


def specs_of(
    bank: Entry | None,
    files: EncoderFiles,
    recipe: EmbedRecipe,
    pooling: PoolingConfig,
    new_reuse: Callable[[], VectorReuse] | None = None,
) -> list[EmbeddingSpec]:
    """Return how texts are embedded with a bank: once, or once for each block of a bank of blocks.

    Args:
        bank: bank artifact; None is the plain encoder.
        files: encoder.
        recipe: the other settings that can change a vector.
        pooling: of the plain encoder; a bank has its own.
        new_reuse: returns an index of earlier vectors; None: every text is embedded.
    """
    blocks: list[SourceBlock | None] = [None]
    if bank is not None and has_blocks(bank):
        blocks = [None] if bank.document["config"]["combine"]["plain"] else []
        blocks += [
            SourceBlock(name=name, bank=bank, file=block_file(index))
            for index, name in enumerate(source_names(bank))
        ]
        bank = None
    return [
        EmbeddingSpec(
            bank=bank,
            files=files,
            recipe=recipe,
            pooling=pooling,
            reuse=None if new_reuse is None else new_reuse(),
            block=block,
        )
        for block in blocks
    ]


def of_corpus(specs: Sequence[EmbeddingSpec], corpus: CorpusConfig) -> list[EmbeddingSpec]:
    """Return specs whose embeddings remember where their texts are, if they are in a file."""
    if corpus.path == STDIN:
        return list(specs)
    found = replace(corpus, path=str(Path(corpus.path).expanduser().absolute()))
    return [replace(spec, corpus=found) for spec in specs]


def chosen_blocks(
    specs: Sequence[EmbeddingSpec], blocks: AllBlocks | tuple[str, ...]
) -> list[EmbeddingSpec]:
    """Return the blocks that `probe.blocks` names, in the order of the bank.

    Raises:
        UsageError: a bank without blocks, or a name that is none of them.
    """
    if blocks == "all":
        return list(specs)
    names = [spec.block_name for spec in specs]
    if len(specs) == 1 and specs[0].block is None:
        raise UsageError(
            f"probe.blocks=[{','.join(blocks)}] with a bank without blocks",
            expected="a bank of read-outs, prefix.kind=readout",
            fix="drop probe.blocks",
        )
    unknown = [name for name in blocks if name not in names]
    if unknown or not blocks:
        suggestion = did_you_mean(unknown[0], names) if unknown else ""
        raise UsageError(
            f"probe.blocks names no block '{unknown[0]}'{suggestion}"
            if unknown
            else "probe.blocks=[] names no block",
            expected=f"all, or some of {', '.join(names)}",
            fix=f"'probe.blocks=[{','.join(names[:2])}]'",
        )
    return [spec for spec in specs if spec.block_name in blocks]


def are_blocks(specs: Sequence[EmbeddingSpec]) -> bool:
    """Whether these are the blocks of one bank, of which at least one is that of a source."""
    return any(spec.block is not None for spec in specs)


def check_pairs(recipe: EmbedRecipe, name: str, *, paired: bool) -> None:
    """Refuse to compare single texts, and to read pairs jointly in windows.

    Args:
        recipe: settings of embedding.
        name: what the error calls the texts.
        paired: whether each row has two.

    Raises:
        UsageError: `recipe.pairs` needs two texts in each row, and there is one; or both are read
            together, and `recipe.long=windows`.
    """
    if recipe.pairs != "joint" and not paired:
        raise UsageError(
            f"pairs={recipe.pairs} for {name}, which has single texts: there is nothing to "
            "compare them with",
            expected="a second text for each, or pairs=joint",
            fix=(
                "pairs=joint    or name the column of second texts (task.columns.text_pair, "
                "corpus.column_pair)"
            ),
        )
    if recipe.long == "windows" and paired and recipe.pairs != "separate":
        raise UsageError(
            f"long=windows with pairs={recipe.pairs} for {name}: a window of two texts in one "
            "input would not hold both",
            expected="pairs of which each text is read alone, or texts that are not read in "
            "windows",
            fix="pairs=separate    or long=truncate",
        )
