"""Embed rows of texts, or of pairs, into vectors."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import numpy as np

from prefixbank.choices import PrefixKind
from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pairs import pair_features
from prefixbank.core.windows import WindowedVectors
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.batches import Tokens, budget_batches
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.encoders.long_texts import further_windows
from prefixbank.errors import EncoderError
from prefixbank.runtime.device import check_precision, memory_errors, open_device
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.long_texts import refuse_long
from prefixbank.steps.embed.spec import check_pairs


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
    `long=windows` the second array says which rows were read in several windows.

    Pairs that are embedded separately have vectors [N, 4F]: u, v, |u - v|, u * v. `pairs=both` puts
    the joint vector in front of them, [N, 5F].

    Raises:
        UsageError: `pairs` needs second texts, and there are none; or `long=windows` has pairs.
        DataError: texts that are too long, with `long=error`.
        DeviceError: the device does not have the precision, or its memory is too small.
        EncoderError: a vector is not finite.
    """
    device = open_device(session.run)
    check_precision(device.name, recipe.precision, setting="precision")
    check_pairs(recipe, "these texts", paired=rows.pairs is not None)
    encoder = session.load(files, kind=_kind_of(bank))
    encoder.check_length(recipe.max_length_tokens)
    refuse_long(recipe, encoder.tokenizer, files, {"these texts": [rows]})
    model = session.inference_model(files, recipe.precision)
    budget = session.run.embed_tokens or device.embed_tokens

    def encode(
        texts: Sequence[str], pairs: Sequence[str] | None, on_texts: Callable[[int], None] | None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        tokens = encoder.tokenize(texts, pairs, recipe.max_length_tokens)
        vectors = run(tokens, on_texts)
        if recipe.long == "windows" and tokens.truncated:
            vectors = read_whole(vectors, texts, tokens.cut)
        _check_finite(vectors, texts, files, recipe)
        return vectors, tokens.cut

    def run(tokens: Tokens, on_texts: Callable[[int], None] | None = None) -> list[np.ndarray]:
        with memory_errors(f"run.embed_tokens={max(1, budget // 4)}"):
            return embed_batches(
                model,
                budget_batches(tokens, budget),
                bank,
                count=len(tokens),
                precision=recipe.precision,
                workers=device.embed_workers,
                on_rows=on_texts,
            )

    def read_whole(
        first: list[np.ndarray], texts: Sequence[str], long: np.ndarray
    ) -> list[np.ndarray]:
        # Windows after the first are batches of their own, so that a text that fits has the same
        # companions, and so the same bytes, as without windows.
        blocks = [WindowedVectors(block, recipe.window_pooling) for block in first]
        rows = np.flatnonzero(long)
        for windows in further_windows(
            encoder.tokenizer,
            [texts[row] for row in rows.tolist()],
            recipe.max_length_tokens,
            recipe.window_overlap,
        ):
            for block, vectors in zip(blocks, run(windows.tokens), strict=True):
                block.add(rows[windows.of_text], vectors)
        return [block.vectors() for block in blocks]

    if rows.pairs is None or recipe.pairs == "joint":
        return encode(rows.texts, rows.pairs, on_rows)
    index = {text: number for number, text in enumerate(dict.fromkeys((*rows.texts, *rows.pairs)))}
    total = len(index) + (len(rows) if recipe.pairs == "both" else 0)
    on_texts = None if on_rows is None else _in_rows(on_rows, rows=len(rows), texts=total)
    single, cut = encode(list(index), None, on_texts)
    first, second = ([index[text] for text in texts] for texts in (rows.texts, rows.pairs))
    features, cut = (
        [pair_features(block[first], block[second]) for block in single],
        cut[first] | cut[second],
    )
    if recipe.pairs == "both":
        joint, cut_joint = encode(rows.texts, rows.pairs, on_texts)
        features, cut = (
            [np.concatenate(both, axis=1) for both in zip(joint, features, strict=True)],
            cut | cut_joint,
        )
    return features, cut


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


def _kind_of(bank: Bank | BlockBank) -> PrefixKind:
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
