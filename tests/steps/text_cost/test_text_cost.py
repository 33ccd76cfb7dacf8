"""Operations of one text: what changes the key, and what does not."""

from __future__ import annotations

import pytest

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, PoolingConfig, StoredVectors
from prefixbank.errors import UsageError
from prefixbank.runtime.context import Context
from prefixbank.steps.text_cost import step as text_cost
from prefixbank.steps.text_cost.make import cost_of
from prefixbank.steps.text_cost.passes import Pass
from prefixbank.store.key import key_of
from prefixbank.store.store import Store


@pytest.fixture
def context(prepared) -> Context:
    return Context(Store(prepared.store), RunConfig(device="cpu"))


def plain(context: Context, **pooling) -> Pass:
    files = context.encoder_files(EncoderConfig(source="tiny"))
    return Pass(None, files, PoolingConfig(**pooling))


def key(context: Context, tokens: int = 9, pooling=None, **stored) -> str:
    passes = [plain(context, **(pooling or {}))]
    unit = text_cost.unit(context, passes, tokens, StoredVectors(**stored), "x")
    return key_of(unit.document)


def test_what_has_no_effect_changes_no_key(context):
    same = (
        {"transform_size": 8},
        {"calibration_rows": 3},
        {"transform": "rotation"},
        {"pooling": {"last_k": 2}},
    )
    assert {key(context, **change) for change in same} == {key(context)}


def test_what_has_an_effect_changes_the_key(context):
    changes = (
        {"tokens": 10},
        {"vectors": "binary"},
        {"transform": "rotation", "transform_size": 8},
        {"pooling": {"layers": "concat_last", "last_k": 2}},
    )
    assert len({key(context), *(key(context, **change) for change in changes)}) == 5


def test_vectors_of_several_passes_lie_side_by_side(context):
    one, two = plain(context), plain(context, position=("mean", "cls"))
    apart = [cost_of(context, [each], 9, StoredVectors()) for each in (one, two)]
    both = cost_of(context, [one, two], 9, StoredVectors())
    for name in ("operations", "features", "bytes"):
        assert both[name] == apart[0][name] + apart[1][name]


def test_more_tokens_than_the_encoder_reads_are_refused(context):
    with pytest.raises(UsageError, match="100000"):
        cost_of(context, [plain(context)], 100_000, StoredVectors())
