"""What `pooling.position=auto` stands for with an encoder."""

from __future__ import annotations

from dataclasses import replace

from prefixbank.config.schema import PoolingConfig, effective
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import EncoderError


def encoder_pooling(pooling: PoolingConfig, files: EncoderFiles) -> PoolingConfig:
    """Return pooling settings with a position for `auto`.

    It is that of a sentence-transformers folder, or else the mean.

    Raises:
        EncoderError: the folder has modules that are not supported.
    """
    if pooling.position != "auto":
        return pooling
    if files.sentence is None:
        return replace(pooling, position=effective(pooling).position)
    return replace(pooling, position=files.sentence.pooling().position)


def scales_vectors(pooling: PoolingConfig, files: EncoderFiles) -> bool:
    """Whether the vectors of the encoder, pooled as the user asked, are scaled to length 1."""
    if pooling.position != "auto" or files.sentence is None:
        return False
    return files.sentence.pooling().normalize


def described_position(files: EncoderFiles) -> str | list[str] | None:
    """Return the position of a sentence-transformers folder, for banks; None if there is none."""
    if files.sentence is None:
        return None
    try:
        position = files.sentence.pooling().position
    except EncoderError:
        return None
    return list(position) if isinstance(position, tuple) else position
