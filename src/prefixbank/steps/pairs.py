"""How pairs of texts are embedded, checked before anything is."""

from __future__ import annotations

from collections.abc import Iterable

from prefixbank.config.schema import EmbedRecipe
from prefixbank.data.texts import Texts
from prefixbank.errors import UsageError


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
            f"pairs={recipe.pairs} for {name}, which has single texts: there is nothing to compare them with",
            expected="a second text for each, or pairs=joint",
            fix="pairs=joint    or name the column of second texts (task.columns.text_pair, corpus.column_pair)",
        )
