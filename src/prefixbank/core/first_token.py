"""How much of a mean over tokens is a text's first token.

In raw language models the states of the first token can be far larger than all others, since
attention rests on it where a head finds nothing. Source: Xiao et al. 2024 (2309.17453).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from prefixbank.core.embed import encode
from prefixbank.core.pooling import Pooling


def first_token_ratio(model: nn.Module, inputs: Mapping[str, Tensor], pooling: Pooling) -> float:
    """Return the size of the first token's vector over that of the mean of all others.

    Args:
        model: encoder loaded with our attention.
        inputs: keyword arguments of the model, [B, T] each, of texts with two tokens or more.
        pooling: whose layers are looked at.
    Returns:
        The mean over texts of the ratio of Euclidean norms.
    """
    plain = replace(pooling, norm="none", size=0, weights=None)
    first, others = replace(plain, position="cls"), replace(plain, position="mean", skip_first=True)
    with torch.no_grad():
        both = encode(model, inputs, None, first, others).double()
    sizes = both.reshape(len(both), 2, -1).norm(dim=-1)
    return float((sizes[:, 0] / sizes[:, 1]).mean())
