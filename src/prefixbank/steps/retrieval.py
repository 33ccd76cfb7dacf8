"""What a target's training can start from, given the sources that are near to it: one of them, their mean, or a prefix of all of them.

Source: Vu et al. 2022 (2110.07904), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prefixbank.config.schema import PrefixRecipe
from prefixbank.core.warm_start import retrieval_weights
from prefixbank.data.encoder_files import EncoderFiles
from prefixbank.data.tasks import Task
from prefixbank.steps import average, train_prefix
from prefixbank.steps.context import Context
from prefixbank.steps.units import Unit
from prefixbank.store.artifact import Entry


@dataclass(frozen=True, kw_only=True)
class Target:
    """A task to be trained on, from several starts.

    Args:
        task: its examples.
        files: the encoder.
        recipe: how it is trained; where it starts is left open.
    """

    task: Task
    files: EncoderFiles
    recipe: PrefixRecipe

    def unit(self, context: Context, start: Entry | None, name: str) -> Unit:
        """Return the unit that trains it from a prefix, or as the recipe says; it gets no ref."""
        recipe = self.recipe
        if start is not None:
            recipe = replace(recipe, prefix=replace(recipe.prefix, init=start.key))
        return replace(train_prefix.unit(context, self.task, self.files, recipe, name), ref=None)


def mean_unit(sources: Sequence[Entry], similar: np.ndarray, name: str) -> Unit:
    """Return the unit that averages the prefixes of sources, weighted by their similarity [k] with a target."""
    return average.unit(sources, retrieval_weights(similar).tolist(), name)
