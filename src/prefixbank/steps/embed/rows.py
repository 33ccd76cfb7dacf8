"""Vectors as Parquet.

Columns `id`, `row` (number in the whole corpus, from 0) and `vector`, a fixed-size list of what is
stored.

Readers name the columns that they want: a file may have more (`steps/reuse.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prefixbank.config.schema import EmbedRecipe
from prefixbank.core.combine import Bank
from prefixbank.core.embed import embed_batches
from prefixbank.core.pairs import pair_features
from prefixbank.data.corpus.texts import Texts
from prefixbank.data.encoders.batches import budget_batches, tokenize
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.runtime.device import check_precision, memory_errors, open_device
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.spec import check_pairs


def embed_rows(
    session: Session,
    bank: Bank,
    files: EncoderFiles,
    rows: Texts,
    recipe: EmbedRecipe,
    on_rows: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors [N, F] float32 in row order, and bool [N]: rows of which a text was truncated.

    Pairs that are read apart have [N, 2F]: |u - v|, u * v. `pairs=both` puts the joint vector in
    front of that, [N, 3F].

    Raises:
        UsageError: texts without a second one are to be compared.
    """
    device = open_device(session.run)
    check_precision(device.name, recipe.precision, setting="precision")
    check_pairs(recipe, [rows], "these texts")
    encoder = session.load(files, prompts=bank.soft)
    encoder.check_length(recipe.max_length_tokens)
    model = session.inference_model(files, recipe.precision)
    budget = session.run.embed_tokens or device.embed_tokens

    def read(
        texts: Sequence[str], pairs: Sequence[str] | None, on_read: Callable[[int], None] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        tokens = tokenize(encoder.tokenizer, texts, pairs, recipe.max_length_tokens)
        batches = budget_batches(tokens, budget)
        with memory_errors(f"run.embed_tokens={max(1, budget // 4)}"):
            vectors = embed_batches(
                model,
                batches,
                bank,
                count=len(texts),
                precision=recipe.precision,
                workers=device.embed_workers,
                on_rows=on_read,
            )
        return vectors, tokens.cut

    if rows.pairs is None or recipe.pairs == "joint":
        vectors, cut = read(rows.texts, rows.pairs, on_rows)
        return vectors, cut
    places = {text: place for place, text in enumerate(dict.fromkeys((*rows.texts, *rows.pairs)))}
    reads = len(places) + (len(rows) if recipe.pairs == "both" else 0)
    on_read = None if on_rows is None else _in_rows(on_rows, rows=len(rows), reads=reads)
    single, cut = read(list(places), None, on_read)
    first, second = ([places[text] for text in texts] for texts in (rows.texts, rows.pairs))
    features, cut = pair_features(single[first], single[second]), cut[first] | cut[second]
    if recipe.pairs == "both":
        joint, cut_joint = read(rows.texts, rows.pairs, on_read)
        features, cut = np.concatenate([joint, features], axis=1), cut | cut_joint
    return features, cut


def _in_rows(on_rows: Callable[[int], None], *, rows: int, reads: int) -> Callable[[int], None]:
    """Return a listener to what is read that passes it on as rows.

    `rows` of them once `reads` texts are read.
    """
    read = told = 0

    def on_read(count: int) -> None:
        nonlocal read, told
        read += count
        on_rows(rows * read // reads - told)
        told = rows * read // reads

    return on_read
