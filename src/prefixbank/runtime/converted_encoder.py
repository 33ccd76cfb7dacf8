"""Step `converted-encoder`: a GGUF file as a folder of float32 weights, made once."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from prefixbank.data.encoders.files import GgufFile
from prefixbank.runtime.unit import Unit
from prefixbank.store.key import JSON, document

VERSION = 1  # 1: first


def unit(gguf: GgufFile, name: str) -> Unit:
    """Return the unit; its key follows the file, and the release of transformers that reads it.

    Args:
        gguf: the file.
        name: what messages call the encoder.
    """

    def make(out: Path, work: Path) -> JSON:
        from prefixbank.data.encoders.gguf import write_from_gguf

        write_from_gguf(gguf.path, out)
        return {}

    return Unit(
        step="converted-encoder",
        name=name,
        document=document(
            step="converted_encoder",
            version=VERSION,
            config={"transformers": metadata.version("transformers")},
            inputs={"gguf": gguf.digest},
        ),
        make=make,
        cheap=True,
    )
