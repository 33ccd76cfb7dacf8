"""What is exported."""

from __future__ import annotations

from dataclasses import dataclass

from prefixbank.config.schema import EmbedRecipe, PoolingConfig
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError
from prefixbank.steps.embed.spec import EmbeddingSpec, specs_of
from prefixbank.steps.predict.heads import Head, Heads
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.reasons import Words, named


@dataclass(frozen=True, kw_only=True)
class Export:
    """A bank with heads on it, as it is exported.

    Args:
        bank: the bank.
        files: its encoder.
        pooling: of the bank.
        found: what predicts from its vectors; None: nothing does.
        name: of the bank in the export.
        license: what the model card says; empty: nothing.
    """

    bank: Entry
    files: EncoderFiles
    pooling: PoolingConfig
    found: Heads | None
    name: str
    license: str

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads, in order."""
        return () if self.found is None else self.found.heads

    @property
    def recipe(self) -> EmbedRecipe:
        """How texts are embedded: as the heads were fitted, or by default."""
        return EmbedRecipe() if self.found is None else self.found.specs[0].recipe

    @property
    def words(self) -> Words:
        """What is exported in words, for the reasons of misses."""
        return {"bank": named("bank", [self.bank]), "encoder": self.files.words}

    def recipe_faults(self, made: str) -> list[UsageError]:
        """Return a fault for each way of embedding of the heads that a format does not have.

        Args:
            made: what the format is, with an article.
        """
        recipe = self.recipe
        others = (
            (recipe.precision != "fp32", f"precision={recipe.precision}", "precision=fp32"),
            (recipe.normalize, "normalize=true", "normalize=false"),
            (recipe.long == "windows", "long=windows", "long=truncate"),
        )
        return [
            UsageError(
                f"the heads read vectors of {theirs}, and {made} makes those of {ours}",
                expected=f"heads that were fitted on vectors of {ours}",
                fix=f"prefixbank probe ... {ours}    or format=bundle",
            )
            for is_other, theirs, ours in others
            if is_other
        ]

    def text_faults(self) -> list[UsageError]:
        """Return a fault if the encoder changes texts, which its tokenizer's files do not say."""
        if not self.files.lowercase:
            return []
        return [
            UsageError(
                f"{self.files.label} lowercases texts (do_lower_case), and the files of its "
                "tokenizer do not",
                expected="an encoder whose tokenizer gets texts as they are",
                fix="format=bundle",
            )
        ]

    @property
    def config(self) -> JSON:
        """What of the settings enters a key."""
        return {
            "name": self.name,
            "license": self.license,
            "heads": [head.name for head in self.heads],
            "max_length_tokens": self.recipe.max_length_tokens,
        }

    @property
    def inputs(self) -> JSON:
        """Digests of what is exported, for a key."""
        return {
            "bank": self.bank.digest,
            "encoder": self.files.digest,
            "heads": {head.name: head.identity for head in self.heads},
        }

    @property
    def specs(self) -> list[EmbeddingSpec]:
        """How texts are embedded, for each block of the whole bank."""
        return specs_of(self.bank, self.files, self.recipe, self.pooling)
