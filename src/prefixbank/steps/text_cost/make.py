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
    """A bank on a loaded encoder, and the number of blocks that it makes, 1 without blocks."""

    bank: Bank | BlockBank
    encoder: Encoder
    blocks: int

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
    specs = specs_of(bank, files, EmbedRecipe(), pooling)
    made = bank_of(specs)
    encoder = session.load(files, kind=kind_of(made))
    return LoadedPass(bank=made, encoder=encoder, blocks=len(specs))


def cost_of(session: Session, passes: Sequence[Pass], tokens: int, stored: StoredVectors) -> JSON:
    """Return operations, features and bytes of one text's vector.

    Transforms are linear maps, one for each block of a bank of blocks. They are not counted.
    """
    loaded = [load_pass(session, one.bank, one.files, one.pooling) for one in passes]
    counts = [one.count(tokens) for one in loaded]
    sizes = [size for _, size in counts]
    if stored.transform != "none" and stored.transform_size:
        sizes = [stored.transform_size] * sum(one.blocks for one in loaded)
    return {
        "tokens": tokens,
        "operations": sum(operations for operations, _ in counts),
        "features": sum(sizes),
        "bytes": sum(bytes_per_vector(stored.vectors, size) for size in sizes),
    }
