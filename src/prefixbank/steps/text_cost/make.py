"""Make the artifact of step `text-cost`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefixbank.config.schema import EmbedRecipe, PoolingConfig, StoredVectors
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.cost import inputs_of, text_operations
from prefixbank.core.quantize import bytes_per_vector
from prefixbank.data.encoders.encoder import Encoder
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.runtime.session import Session
from prefixbank.steps.embed.make import bank_of
from prefixbank.steps.embed.rows import kind_of
from prefixbank.steps.embed.spec import specs_of
from prefixbank.steps.text_cost.passes import Pass
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON


@dataclass(frozen=True, kw_only=True)
class LoadedPass:
    """A bank on a loaded encoder."""

    bank: Bank | BlockBank
    encoder: Encoder

    def count(self, tokens: int) -> tuple[int, int]:
        """Return the operations for one text, and F, the features of its vector.

        Raises:
            UsageError: the encoder does not read so many tokens.
        """
        self.encoder.check_length(tokens)
        model = self.encoder.model
        device = next(model.parameters()).device
        inputs = {name: tensor.to(device) for name, tensor in inputs_of(1, tokens).items()}
        return text_operations(model, self.bank, inputs)


def load_pass(
    session: Session, bank: Entry | None, files: EncoderFiles, pooling: PoolingConfig
) -> LoadedPass:
    """Load what a text passes through, with attention whose operations can be counted.

    Args:
        session: loads the encoder.
        bank: bank artifact; None is the encoder alone.
        files: encoder.
        pooling: of the encoder alone.
    """
    made = bank_of(specs_of(bank, files, EmbedRecipe(), pooling))
    return LoadedPass(bank=made, encoder=session.load(files, kind=kind_of(made)))


def cost_of(session: Session, passes: Sequence[Pass], tokens: int, stored: StoredVectors) -> JSON:
    """Return operations, features and bytes of one text's vector.

    Transforms are linear maps of the vector, which are not counted.
    """
    counts = [load_pass(session, one.bank, one.files, one.pooling).count(tokens) for one in passes]
    features = sum(size for _, size in counts)
    kept = stored.transform_size if stored.transform != "none" else 0
    return {
        "tokens": tokens,
        "operations": sum(operations for operations, _ in counts),
        "features": kept or features,
        "bytes": bytes_per_vector(stored.vectors, kept or features),
    }
