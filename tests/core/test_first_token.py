"""How much of a mean is the first token, beside a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertModel

from prefixbank.core.first_token import first_token_ratio
from prefixbank.core.pooling import Pooling
from tests.core.toys import MEAN, inputs_of


@pytest.mark.parametrize(
    "pooling",
    [MEAN, replace(MEAN, layers="single", layer=1), replace(MEAN, norm="layer", layers=(1, 3))],
    ids=["last", "single", "several, scaled"],
)
def test_ratio_is_that_of_norms_of_states(bert: BertModel, pooling: Pooling):
    inputs = inputs_of([4, 2])
    with torch.no_grad():
        states = bert(**inputs, attention_calls=[], output_hidden_states=True).hidden_states
    layers = {"last": [3], "single": [1]}.get(str(pooling.layers), [1, 3])
    ratios = []
    for row, length in enumerate((4, 2)):
        first = np.concatenate([states[layer][row, 0].numpy() for layer in layers])
        rest = [
            np.mean([states[layer][row, token].numpy() for token in range(1, length)], axis=0)
            for layer in layers
        ]
        ratios.append(np.linalg.norm(first) / np.linalg.norm(np.concatenate(rest)))
    assert first_token_ratio(bert, inputs, pooling) == pytest.approx(np.mean(ratios), rel=1e-5)
