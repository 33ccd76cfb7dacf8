"""A bank in memory, to embed texts from Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from prefixbank.artifacts.bundle import Bundle
from prefixbank.artifacts.encoder import is_encoder, load_plain
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.source_head import SourceHead, all_block_names, read_heads
from prefixbank.choices import HeadLongTexts
from prefixbank.config.schema import EmbedRecipe
from prefixbank.data.columns import as_list, refuse_other_texts
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.steps import combine
from prefixbank.store.artifact import Entry

if TYPE_CHECKING:
    import numpy as np

    from prefixbank.steps.predict.loaded_head import Predictions


class LoadedBank:
    """A bank or a fine-tuned encoder in memory. Made by `prefixbank.load_bank`.

    Raises:
        UsageError: a recipe with a transform, which is fitted to a corpus.
    """

    def __init__(
        self,
        session: Session,
        entry: Entry,
        files: EncoderFiles,
        recipe: EmbedRecipe | None,
        *,
        name: str = "",
        bundle: Bundle | None = None,
    ) -> None:
        if recipe is not None and recipe.transform != "none":
            raise UsageError(
                f"a bank in memory with transform={recipe.transform}, which is fitted to a corpus",
                expected="a recipe without a transform",
                fix="pb.embed(bank, 'texts.txt', recipe=recipe)    or transform='none'",
            )
        self.entry, self._bundle = entry, bundle
        self._name = name or str(entry.info.get("name", ""))
        self._context, self._files = session, files
        self._given, self._recipe = recipe, recipe or EmbedRecipe()
        self._bank = load_plain(entry) if is_encoder(entry) else combine.load_bank(entry)

    def __repr__(self) -> str:
        """Return the name and short key of the bank, its sources and its encoder."""
        return (
            f"LoadedBank(name={self._name!r}, key={self.entry.short_key!r}, "
            f"sources={self.entry.info['tasks']!r}, encoder={self._files.label!r})"
        )

    def embed(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """Embed texts, or pairs of texts as the recipe says; float32 [N, F].

        A bank of blocks has them side by side: see `blocks`.

        Raises:
            UsageError: no texts, a different number of second texts, a string in place of a list,
                or pairs that are read jointly in windows.
            DataError: no column of texts, a row that is not a text with a visible character, or
                with `long="error"` one that is too long.
        """
        import numpy as np

        vectors = self._vectors(texts, pairs)
        return vectors[0] if len(vectors) == 1 else np.concatenate(vectors, axis=1)

    def blocks(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Embed as `embed`, and return the block of each source by its name, float32 [N, F] each.

        The vector of the plain encoder, if the bank has it, is `plain`.

        Raises:
            UsageError: as `embed`, or the bank has no blocks.
            DataError: as `embed`.
        """
        if not self.block_names:
            raise UsageError(
                f"bank {self.entry.short_key} has no blocks",
                expected="a bank of read-outs, prefix.kind=readout",
                fix="bank.embed(texts)",
            )
        return dict(zip(self.block_names, self._vectors(texts, pairs), strict=True))

    def predict(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        heads: Sequence[str] | None = None,
        abstain_below: float = 0.0,
        long: HeadLongTexts = "as_fitted",
    ) -> dict[str, Predictions]:
        """Embed texts once, and return what each head says of them, by its name.

        Args:
            texts: N texts.
            pairs: N second texts; None: single texts.
            heads: probes by name, ref or key, and sources of a bank of read-outs by the names of
                their blocks. None: those of the bundle, or else all sources. Probes say how texts
                are embedded; where there is none, the recipe of the bank, or without one the
                length of text that the sources were trained on.
            abstain_below: name no class that is less probable.
            long: what becomes of texts that are too long, as `long` of the command says.

        Raises:
            UsageError: as `embed`; no such head, one of another bank, or single texts for a head
                that compares two.
            DataError: as `embed`.
        """
        import numpy as np

        from prefixbank.core.quantize import quantize
        from prefixbank.steps.embed.make import bank_of, layout_for
        from prefixbank.steps.embed.rows import embed_rows
        from prefixbank.steps.predict.heads import SOURCE, resolve_heads
        from prefixbank.steps.predict.loaded_head import load_head, predictions_of

        if isinstance(heads, str):
            raise UsageError(
                f"heads={heads!r}, a text instead of a list of names",
                expected="a list, also for one head",
                fix=f'bank.predict(texts, heads=["{heads}"])',
            )
        bundle = self._bundle
        if heads is None:
            heads = bundle.heads if bundle else [f"{SOURCE}{name}" for name in self.heads]
        if not heads:
            raise UsageError(
                f"bank {self.entry.short_key} has no heads of its own",
                expected="a bank of read-outs, prefix.kind=readout, or names of probes",
                fix='bank.predict(texts, heads=["NAME"])',
            )
        rows = _check_texts(texts, pairs)
        found = resolve_heads(
            self._context.store,
            None if is_encoder(self.entry) else self.entry,
            self._files,
            pooling_of(self.entry),
            heads,
            bank_name=self._name,
            recipe=self._given,
            probes=bundle.probes if bundle else {},
        ).reading_long(long, self._recipe)
        found.check_texts(paired=pairs is not None)
        bank, recipe = bank_of(found.specs), found.specs[0].recipe
        vectors, _ = embed_rows(self._context, bank, self._files, rows, recipe)
        if recipe.vectors == "float16":  # as a probe on stored vectors was fitted
            halves = [quantize(one, "float16", None, recipe.binary_threshold) for one in vectors]
            vectors = [one.astype(np.float32) for one in halves]
        layouts = [
            layout_for(self._context, spec, one.shape[1])
            for spec, one in zip(found.specs, vectors, strict=True)
        ]
        return {
            head.name: predictions_of(load_head(head), vectors, layouts, abstain_below)
            for head in found.heads
        }

    @property
    def block_names(self) -> list[str]:
        """Names of the blocks of a bank of read-outs, in order; empty for other banks."""
        return [] if is_encoder(self.entry) else all_block_names(self.entry)

    @cached_property
    def heads(self) -> dict[str, tuple[SourceHead, ...]]:
        """The heads that the sources of a bank of blocks were trained with, by block.

        A source that was trained on several tasks has one for each. They predict from the block,
        with the score that the prefix has alone, if the recipe does not say `normalize`.
        """
        return {} if is_encoder(self.entry) else read_heads(self.entry)

    def _vectors(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[np.ndarray]:
        from prefixbank.steps.embed.rows import embed_rows

        rows = _check_texts(texts, pairs)
        return embed_rows(self._context, self._bank, self._files, rows, self._recipe)[0]


def _check_texts(texts: Sequence[str], pairs: Sequence[str] | None) -> Texts:
    """Check the arguments of `LoadedBank.embed`."""
    if isinstance(texts, str) or isinstance(pairs, str):
        raise UsageError(
            "one text instead of a list of texts",
            expected="a list, also for one text",
            fix='bank.embed(["a text"])',
        )
    texts = as_list(texts, "texts")
    pairs = None if pairs is None else as_list(pairs, "second texts")
    if len(texts) == 0:
        raise UsageError(
            "no texts to embed", expected="one text or more", fix='bank.embed(["a text"])'
        )
    if pairs is not None and len(pairs) != len(texts):
        raise UsageError(
            f"{len(texts)} texts and {len(pairs)} second texts",
            expected="a second text for each",
            fix="bank.embed(texts, pairs)",
        )
    refuse_other_texts(texts, "texts")
    if pairs is not None:
        refuse_other_texts(pairs, "second texts")
    return Texts(texts=tuple(texts), pairs=None if pairs is None else tuple(pairs))
