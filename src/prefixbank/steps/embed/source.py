"""Resolve `bank=`: a bank, a fine-tuned encoder or the plain encoder, with its pooling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prefixbank.artifacts.bundle import is_path, read_bundle
from prefixbank.artifacts.encoder import KINDS, encoder_of, is_encoder, kind_of
from prefixbank.artifacts.pooling import contradicts, describe_pooling, pooling_of
from prefixbank.artifacts.prefix import ref_of
from prefixbank.artifacts.staleness import refuse_stale
from prefixbank.config.schema import EncoderConfig, PoolingConfig
from prefixbank.data.encoders.auto_pooling import encoder_pooling
from prefixbank.data.encoders.files import EncoderFiles, reading_settings
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.steps.combine import STEP as COMBINE
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store

PLAIN = "none"


def resolve_bank_and_encoder(
    session: Session, bank: str, encoder: EncoderConfig, pooling: PoolingConfig
) -> tuple[Entry | None, EncoderFiles, PoolingConfig]:
    """Return the bank of the settings `bank`, `encoder` and `pooling`, its encoder and its pooling.

    The bank is None for `bank=none`, the plain encoder of `encoder=`, for a multi-task encoder and
    for a student. A bank and these have their own encoder and pooling.

    Raises:
        UsageError: no bank, or settings that contradict it.
        EncoderError: the encoder is not the one that the bank was made with.
    """
    if not bank:
        raise UsageError(
            "no bank given",
            expected="bank=NAME, bank=multitask/NAME, or bank=none for the plain encoder",
            fix="prefixbank cache ls    lists all banks",
        )
    if bank == PLAIN:
        if pooling.is_learned:
            raise UsageError(
                "learned pooling with bank=none: the plain encoder has learned nothing",
                expected="a bank or a multi-task encoder that was trained with it, or fixed "
                "pooling",
                fix="pooling=mean pooling.layers=last pooling.size=0    or prefixbank "
                "train-multitask 'tasks=[...]' pooling=attention",
            )
        files = session.encoder_files(_plain(encoder))
        return None, files, encoder_pooling(pooling, files)
    entry = resolve_bank(session.store, bank)
    own = pooling_of(entry)
    if contradicts(pooling, own):
        raise UsageError(
            f"pooling settings with bank={bank}, which has its own",
            expected=f"no pooling, or that of {bank}: {describe_pooling(own)}",
            fix=(
                "drop the pooling settings    or make another bank with them: prefixbank combine "
                "pooling=... name=NAME"
            ),
        )
    if not is_encoder(entry):
        return entry, session.encoder_of_bank(entry, encoder), own
    if encoder.source != "bank" or reading_settings(encoder):
        raise UsageError(
            f"encoder={encoder.name} with bank={bank}, which is an encoder itself",
            expected="no encoder= and no encoder.* beside a multi-task encoder or a student",
            fix="drop the encoder options    or use that encoder alone: bank=none",
        )
    return None, encoder_of(entry), own


def _plain(encoder: EncoderConfig) -> EncoderConfig:
    """Return the encoder of `bank=none`: the default one if none is named."""
    if encoder.source != "bank":
        return encoder
    return replace(EncoderConfig(), **reading_settings(encoder))


def resolve_bank(store: Store, text: str) -> Entry:
    """Return a bank, a multi-task encoder or a student by name or key, or the bank of a bundle.

    Raises:
        UsageError: there is none, it is another artifact, or a bank given by name is stale.
    """
    if is_path(text):
        return read_bundle(text).bank
    if kind := kind_of(text):
        return store.resolve(kind, text)
    ref = ref_of(store, "bank", text)
    others = [other for kind in KINDS.values() if (other := ref_of(store, kind, text))]
    if not ref and others:
        raise UsageError(
            f"no bank '{text}', but there is {' and '.join(others)}",
            expected="the name of a bank, or the whole ref of an encoder",
            fix="    or ".join(f"bank={other}" for other in others),
        )
    entry = _in_store(store, text)
    if entry.step != COMBINE and not is_encoder(entry):
        raise UsageError(
            f"{text} is the result of {entry.step.replace('_', '-')}, not a bank",
            expected="the ref, name or key of a bank, of a multi-task encoder or of a student",
            fix="prefixbank cache ls combine    lists all banks",
        )
    if ref:
        refuse_stale(store, ref, entry)
    return entry


def _in_store(store: Store, text: str) -> Entry:
    """Return a bank of the store; for a folder of its name, the error says how to write that."""
    try:
        return store.resolve("bank", text)
    except UsageError as error:
        if not text or not Path(text).is_dir():
            raise
        fix = f"bank={text}/    if the folder is meant"
        raise UsageError(error.what, expected=error.expected, fix=fix) from error
