"""What `bank=` names: a bank, a multi-task encoder or the plain encoder, and how each pools."""

from __future__ import annotations

from prefixbank.artifacts.encoder import encoder_of, is_encoder
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.prefix import ref_of
from prefixbank.artifacts.staleness import refuse_stale
from prefixbank.config.commands import EmbedConfig, ProbeCommandConfig
from prefixbank.config.schema import EncoderConfig, PoolingConfig, effective
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import UsageError
from prefixbank.runtime.session import Session
from prefixbank.store.artifact import Entry
from prefixbank.store.store import Store

PLAIN, MULTITASK = "none", "multitask"


def resolve_bank_and_encoder(
    session: Session, config: EmbedConfig | ProbeCommandConfig
) -> tuple[Entry | None, EncoderFiles, PoolingConfig]:
    """Return the bank asked for, its encoder, and its pooling.

    A bank or a multi-task encoder brings its own.

    `none` is the default encoder, or the one asked for. A multi-task encoder is no bank.
    """
    bank, encoder = config.bank, config.encoder
    if not bank:
        raise UsageError(
            "no bank given",
            expected="bank=NAME, bank=multitask/NAME, or bank=none for the plain encoder",
            fix="prefixbank cache ls    lists the banks there are",
        )
    if bank == PLAIN:
        return (
            None,
            session.encoder_files(EncoderConfig() if encoder.source == "bank" else encoder),
            config.pooling,
        )
    entry = resolve_bank(session.store, bank)
    own = pooling_of(entry)
    if effective(config.pooling) not in (own, PoolingConfig()):
        raise UsageError(
            f"pooling settings with bank={bank}, which brings its own",
            expected=(
                f"no pooling, or that of {bank}: position={own.position} layers={own.layers} "
                f"last_k={own.last_k} layer={own.layer}"
            ),
            fix=(
                "drop the pooling settings    or make another bank with them: prefixbank combine "
                "pooling=... name=NAME"
            ),
        )
    if not is_encoder(entry):
        return entry, session.encoder_of_bank(entry, encoder), own
    if encoder.source != "bank":
        raise UsageError(
            f"encoder={encoder.name} with bank={bank}, which is an encoder itself",
            expected="no encoder= beside a multi-task encoder",
            fix="drop the encoder= option    or take the encoder without it: bank=none",
        )
    return None, encoder_of(entry), own


def resolve_bank(store: Store, text: str) -> Entry:
    """Return a bank, or a multi-task encoder.

    A bank that is named (not given by its key) must be made of its prefixes as they are now.
    """
    if text.startswith(f"{MULTITASK}/"):
        return store.resolve(MULTITASK, text)
    ref = ref_of(store, "bank", text)
    if not ref and ref_of(store, MULTITASK, text):
        raise UsageError(
            f"no bank '{text}', but a multi-task encoder of this name",
            expected="the name of a bank",
            fix=f"bank={MULTITASK}/{text}",
        )
    entry = store.resolve("bank", text)
    if ref:
        refuse_stale(store, ref, entry)
    return entry
