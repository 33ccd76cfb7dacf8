"""Embed rows of texts, or of pairs, into vectors."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from prefixbank.choices import PrefixKind
from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.first_token import first_token_ratio
from prefixbank.core.pairs import pair_features
from prefixbank.core.unit_length import unit_length
from prefixbank.core.windows import WindowedVectors
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.batches import Tokens, budget_batches
from prefixbank.data.encoders.encoder import CHECK_TEXTS, Encoder, check_inputs
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.encoders.long_texts import further_windows
from prefixbank.errors import EncoderError
from prefixbank.runtime.device import memory_errors
from prefixbank.runtime.events import Event
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.long_texts import refuse_long
from prefixbank.steps.embed.spec import check_pairs

LARGE_FIRST_TOKEN = 10.0
"""Ratio above which a note says that a mean over tokens is mostly the first one: with that, half of
the mean of a text of ten tokens."""


def embed_rows(
    session: Session,
    bank: Bank | BlockBank,
    files: EncoderFiles,
    rows: Texts,
    recipe: EmbedRecipe,
    on_rows: Callable[[int], None] | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return vectors, float32 [N, F] in row order, and which rows were truncated, bool [N].

    There is one array of vectors for each block of a bank of blocks, else a single one. With
    `long=windows` the second array says which rows were read in several windows. The vectors of a
    row with an empty text are zero.

    Pairs that are embedded separately have vectors [N, 4F]: u, v, |u - v|, u * v. `pairs=both` puts
    the joint vector in front of them, [N, 5F].

    Raises:
        UsageError: `pairs` needs second texts, and there are none; or `long=windows` has pairs.
        DataError: texts that are too long, with `long=error`.
        DeviceError: the device does not have the precision, or its memory is too small.
        EncoderError: a vector is not finite.
    """
    device = session.open_device(recipe.precision, setting="precision")
    check_pairs(recipe, "these texts", paired=rows.pairs is not None)
    encoder = session.load(files, kind=kind_of(bank))
    encoder.check_length(recipe.max_length_tokens)
    refuse_long(recipe, encoder.tokenizer, files, {"these texts": [rows]})
    _note_first_token(session, encoder, bank)
    read = _Reader(
        encoder=encoder,
        model=session.inference_model(files, recipe.precision),
        bank=bank,
        recipe=recipe,
        budget=session.run.embed_tokens or device.embed_tokens,
        workers=device.embed_workers,
    )
    filled = np.flatnonzero(~rows.empty())
    if len(filled) == len(rows):
        return read.rows(rows, on_rows)
    # Without any text, some text tells the size of the vectors.
    some = rows.take(filled) if len(filled) else _any_text(paired=rows.pairs is not None)
    vectors, cut = read.rows(some, on_rows)
    return (
        [_with_zeros(block[: len(filled)], filled, len(rows)) for block in vectors],
        _with_zeros(cut[: len(filled)], filled, len(rows)),
    )


def _note_first_token(session: Session, encoder: Encoder, bank: Bank | BlockBank) -> None:
    """Say, once for each encoder, if a mean over tokens is mostly the first one."""
    pooling = bank.plain if isinstance(bank, BlockBank) else bank.pooling
    label = encoder.files.label
    if (
        pooling is None
        or pooling.skip_first
        or pooling.layers == "mix"
        or "mean" not in pooling.positions
        or not session.loaded.is_first_use(f"first token of {encoder.files.digest}")
    ):
        return
    device = next(encoder.model.parameters()).device
    inputs = check_inputs(encoder.tokenizer, CHECK_TEXTS[1:])
    moved = {name: tensor.to(device) for name, tensor in inputs.items()}
    ratio = first_token_ratio(encoder.model, moved, pooling)
    if ratio > LARGE_FIRST_TOKEN:
        text = (
            f"the states of a text's first token are {ratio:.0f} times as large as the mean of the "
            "others, and so most of pooling.position=mean; pooling.skip_first=true leaves it out"
        )
        session.emit(Event(kind="note", step="encoder", name=label, text=text))


def _any_text(*, paired: bool) -> Texts:
    return Texts(texts=("a",), pairs=("a",) if paired else None)


def _with_zeros(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return values [M, ...] in their rows, int64 [M], of N = `count`; all others are zero."""
    every = np.zeros((count, *values.shape[1:]), dtype=values.dtype)
    every[rows] = values
    return every


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Turns texts into vectors.

    Args:
        encoder: the encoder.
        model: its model for embedding.
        bank: prefixes or read-outs.
        recipe: settings of embedding.
        budget: tokens in a batch.
        workers: batches at a time.
    """

    encoder: Encoder
    model: nn.Module
    bank: Bank | BlockBank
    recipe: EmbedRecipe
    budget: int
    workers: int

    def rows(
        self, rows: Texts, on_rows: Callable[[int], None] | None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return what `embed_rows` returns, of rows without empty texts."""
        if rows.pairs is None or self.recipe.pairs == "joint":
            return self.inputs(rows.texts, rows.pairs, on_rows)
        texts = dict.fromkeys((*rows.texts, *rows.pairs))
        index = {text: number for number, text in enumerate(texts)}
        total = len(index) + (len(rows) if self.recipe.pairs == "both" else 0)
        on_texts = None if on_rows is None else _in_rows(on_rows, rows=len(rows), texts=total)
        single, cut = self.inputs(list(index), None, on_texts)
        first, second = ([index[text] for text in texts] for texts in (rows.texts, rows.pairs))
        features, cut = (
            [pair_features(block[first], block[second]) for block in single],
            cut[first] | cut[second],
        )
        if self.recipe.pairs == "both":
            joint, cut_joint = self.inputs(rows.texts, rows.pairs, on_texts)
            features, cut = (
                [np.concatenate(both, axis=1) for both in zip(joint, features, strict=True)],
                cut | cut_joint,
            )
        return features, cut

    def inputs(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        on_texts: Callable[[int], None] | None,
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the vectors of texts, or of pairs read jointly, and which were too long."""
        tokens = self.encoder.tokenize(texts, pairs, self.recipe.max_length_tokens)
        vectors = self._run(tokens, on_texts)
        if self.recipe.long == "windows" and tokens.truncated:
            vectors = self._with_windows(vectors, texts, np.flatnonzero(tokens.cut))
        _check_finite(vectors, texts, self.encoder.files, self.recipe)
        if self.recipe.normalize:
            vectors = [unit_length(block) for block in vectors]
        return vectors, tokens.cut

    def _with_windows(
        self, first: Sequence[np.ndarray], texts: Sequence[str], long: np.ndarray
    ) -> list[np.ndarray]:
        """Add the further windows of long texts to the vectors of the first windows.

        They are batches of their own, so that a text that fits has the same companions, and so the
        same bytes, as without windows.
        """
        recipe = self.recipe
        blocks = [WindowedVectors(block, recipe.window_pooling) for block in first]
        for windows in further_windows(
            self.encoder.tokenizer,
            [texts[row] for row in long.tolist()],
            recipe.max_length_tokens,
            recipe.window_overlap,
        ):
            for block, vectors in zip(blocks, self._run(windows.tokens), strict=True):
                block.add(long[windows.of_text], vectors)
        return [block.vectors() for block in blocks]

    def _run(
        self, tokens: Tokens, on_texts: Callable[[int], None] | None = None
    ) -> list[np.ndarray]:
        with memory_errors(f"run.embed_tokens={max(1, self.budget // 4)}"):
            return embed_batches(
                self.model,
                budget_batches(tokens, self.budget),
                self.bank,
                count=len(tokens),
                precision=self.recipe.precision,
                workers=self.workers,
                on_rows=on_texts,
            )


def _check_finite(
    vectors: Sequence[np.ndarray], texts: Sequence[str], files: EncoderFiles, recipe: EmbedRecipe
) -> None:
    """Refuse vectors with NaN or infinity, which no probe and no search can use."""
    bad = np.any([~np.isfinite(block).all(axis=1) for block in vectors], axis=0)
    if not bad.any():
        return
    text = texts[int(bad.argmax())]
    raise EncoderError(
        f"the vectors of {int(bad.sum())} of {len(texts)} texts are not finite, the first that of "
        f"{textwrap.shorten(text, 40)!r}",
        expected=f"finite numbers from {files.label} and its prefixes in {recipe.precision}",
        fix=(
            "train the prefixes again with a lower optim.lr, or use another encoder"
            if recipe.precision == "fp32"
            else "precision=fp32"
        ),
    )


def kind_of(bank: Bank | BlockBank) -> PrefixKind:
    """Return the kind of prefix that the encoder has to take."""
    if isinstance(bank, BlockBank):
        return "readout"
    return "soft" if bank.soft else "deep"


def _in_rows(on_rows: Callable[[int], None], *, rows: int, texts: int) -> Callable[[int], None]:
    """Return a listener that converts encoded texts into rows: `rows` rows for `texts` texts."""
    encoded = reported = 0

    def on_texts(count: int) -> None:
        nonlocal encoded, reported
        encoded += count
        on_rows(rows * encoded // texts - reported)
        reported = rows * encoded // texts

    return on_texts
