"""`python -m benchmarks.readouts`: what it counts, and that its methods embed the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import readouts
from benchmarks.curves import batches_of
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig
from prefixbank.core.embed import embed_batches
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.runtime.session import Session
from prefixbank.store.store import Store


@pytest.fixture
def tiny(tmp_path: Path) -> Encoder:
    session = Session(Store(tmp_path), RunConfig(device="cpu"))
    return session.load(session.encoder_files(EncoderConfig(name="tiny")))


@pytest.mark.parametrize(("sources", "count"), [(1, 1), (3, 2)])
def test_closed_form_is_what_torch_counts(tiny: Encoder, sources: int, count: int):
    (batch,) = batches_of(8, 8192, 0)
    inputs = {name: tensor[:5] for name, tensor in batch.inputs.items()}
    made = readouts.random_readouts(tiny, sources, count)
    counts = []
    for bank in (readouts.AllAtOnce(readouts=(), plain=readouts.MEAN), made):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            bank.encode(tiny.model, inputs)
        counts.append(counter.get_total_flops())
    bare, whole = counts
    # Attention is a small part here, whether or not torch counts its fused form.
    form = readouts.closed_form(tiny, [8] * 5, sources, count)
    assert whole / bare == pytest.approx(form, rel=0.02)


def test_products_at_once_give_the_blocks_of_products_apart(tiny: Encoder):
    bank = readouts.random_readouts(tiny, 3, 2)
    at_once = readouts.AllAtOnce(readouts=bank.readouts, plain=bank.plain)
    batches = batches_of(8, 64, 0)[:2]
    first, second = (
        embed_batches(tiny.model, batches, one, count=16, precision="fp32")
        for one in (bank, at_once)
    )
    assert all(np.abs(a - b).max() < 1e-4 for a, b in zip(first, second, strict=True))


def test_copies_hold_each_text_so_many_times():
    (batch, *_) = batches_of(8, 64, 0)
    copies = readouts.copied(batch, 3)
    assert copies.inputs["input_ids"].shape == (24, 8) and len(copies.rows) == 24
    assert torch.equal(copies.inputs["input_ids"][8:16], batch.inputs["input_ids"])
