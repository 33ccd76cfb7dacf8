"""Fine-tuned encoders as artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.artifacts.pooling import pooling_of
from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders.files import (
    SINGLE_WEIGHTS,
    EncoderFiles,
    copy_without_weights,
    list_files,
)
from prefixbank.store.artifact import Entry

if TYPE_CHECKING:
    from prefixbank.core.combine import Bank
    from prefixbank.core.training.settings import MultitaskResult


def is_encoder(entry: Entry) -> bool:
    """Whether an artifact is a multi-task encoder and no bank."""
    return entry.step == "train_multitask"


FOLDER, LISTING = "encoder", "encoder.files"


def listing_of(entry: Entry) -> str:
    """Return the digest by which artifacts name the encoder in an artifact of this step."""
    return entry.files[LISTING].sha256


def encoder_of(entry: Entry) -> EncoderFiles:
    """Return the encoder in an artifact of this step, after reading all its files to check them.

    Its digest is the SHA-256 of the artifact's list of these files, so that what was embedded with
    it keeps the artifact out of gc.

    Raises:
        DamagedError: a file is not the one that was published.
    """
    for name in entry.files:
        if name.startswith(f"{FOLDER}/"):
            entry.file(name)
    name, folder = f"multitask/{entry.info['name']}", entry.path / FOLDER
    return EncoderFiles(
        folder=folder,
        digest=listing_of(entry),
        label=f"{name}@{entry.short_key}",
        source=EncoderConfig(name=name, source="folder", path=str(folder)),
    )


def load_plain(entry: Entry) -> Bank:
    """Return the bank without prefixes that pools as an artifact's encoder was trained."""
    from prefixbank.artifacts.bank import plain_bank

    return plain_bank(pooling_of(entry))


def write_encoder(out: Path, listing: Path, files: EncoderFiles, result: MultitaskResult) -> None:
    """Write the fine-tuned encoder as a folder of its own, and the list of its files.

    The hash of that list is its digest.
    """
    from prefixbank.artifacts.tensors import write_tensors

    out.mkdir()
    copy_without_weights(files.folder, out)
    write_tensors(out / SINGLE_WEIGHTS, result.encoder)
    listing.write_bytes(list_files(out))
