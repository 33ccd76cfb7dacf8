"""What a text passes through to become a vector."""

from __future__ import annotations

from dataclasses import dataclass

from prefixbank.config.schema import PoolingConfig
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.store.artifact import Entry


@dataclass(frozen=True)
class Pass:
    """What a text passes through.

    Args:
        bank: bank artifact; None is the encoder alone.
        files: encoder.
        pooling: of the encoder alone; a bank has its own.
    """

    bank: Entry | None
    files: EncoderFiles
    pooling: PoolingConfig
