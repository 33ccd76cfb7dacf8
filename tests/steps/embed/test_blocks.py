"""How whole vectors are stored, from how their blocks are."""

from __future__ import annotations

import pytest

from prefixbank.steps.embed.blocks import _stored


@pytest.mark.parametrize("reverse", [False, True])
def test_share_of_near_bits_is_that_of_all_blocks_or_not_told(reverse):
    known = {"type": "binary", "features": 10, "near_threshold": 0.1}
    other = {"type": "binary", "features": 30, "near_threshold": 0.2}
    before = {"type": "binary", "features": 30}
    order = -1 if reverse else 1
    assert _stored([known, other][::order]) == {
        "type": "binary",
        "features": 40,
        "near_threshold": pytest.approx((0.1 * 10 + 0.2 * 30) / 40),
    }
    assert _stored([known, before][::order]) == {"type": "binary", "features": 40}
