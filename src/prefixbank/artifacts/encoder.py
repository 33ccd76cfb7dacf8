"""Artifacts that hold a fine-tuned encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prefixbank.artifacts.pooling import pooling_of
from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders.files import (
    POOLING,
    SINGLE_WEIGHTS,
    EncoderFiles,
    copy_without_weights,
    list_files,
    reading_settings,
)
from prefixbank.store.artifact import Entry

if TYPE_CHECKING:
    from prefixbank.core.combine import Bank
    from prefixbank.core.training.settings import MultitaskResult


def is_encoder(entry: Entry) -> bool:
    """Whether an artifact is a multi-task encoder, not a bank."""
    return entry.step == "train_multitask"


FOLDER, LISTING = "encoder", "encoder.files"


def listing_of(entry: Entry) -> str:
    """Return the digest of the encoder in a multi-task artifact, as key documents have it."""
    return entry.files[LISTING].sha256


def encoder_of(entry: Entry) -> EncoderFiles:
    """Return the encoder in a multi-task artifact, after checking all of its files.

    It is read as the encoder that it was trained from: with the same layers and pair separator.
    Its digest is the SHA-256 of the artifact's list of these files. Embeddings made with the
    encoder have it in their key documents, which keeps the artifact out of gc.

    Raises:
        DamagedError: a file is not the one that was published.
    """
    for name in entry.files:
        if name.startswith(f"{FOLDER}/"):
            entry.file(name)
    name, folder = f"multitask/{entry.info['name']}", entry.path / FOLDER
    origin = EncoderConfig(name=name, source="folder", path=str(folder))
    return EncoderFiles(
        folder=folder,
        digest=listing_of(entry),
        label=f"{name}@{entry.short_key}",
        origin=replace(origin, **reading_settings(EncoderConfig(**entry.info["encoder"]))),
    )


def load_plain(entry: Entry) -> Bank:
    """Return the bank without prefixes, with the pooling that the encoder was trained with."""
    from prefixbank.artifacts.bank import plain_bank

    return plain_bank(pooling_of(entry), encoder_of(entry))


def write_encoder(out: Path, listing: Path, files: EncoderFiles, result: MultitaskResult) -> None:
    """Write the fine-tuned encoder as a folder, and the list of its files.

    What was learned of the pooling is one of the files. The hash of the list is the encoder's
    digest. Of an encoder with some of its layers, the folder holds these and no others.
    """
    from prefixbank.artifacts.tensors import write_tensors

    out.mkdir()
    copy_without_weights(files.folder, out)
    if files.lowercase:
        from prefixbank.data.encoders.encoder import load_tokenizer

        load_tokenizer(files).save_pretrained(out)
    if files.origin.layers:
        from prefixbank.data.encoders.layers import cut_config_file

        cut_config_file(out, files.origin.layers)
    write_tensors(out / SINGLE_WEIGHTS, result.encoder)
    if result.pooling:
        write_tensors(out / POOLING, result.pooling)
    listing.write_bytes(list_files(out, files.origin))
