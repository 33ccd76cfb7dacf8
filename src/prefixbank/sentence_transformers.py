"""A bank as a module of sentence-transformers, from a folder that `prefixbank export` wrote.

    SentenceTransformer(modules=[BankModule.load("FOLDER")]).encode(["a text"])

Source: the module interface of sentence-transformers 6 (`InputModule`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from prefixbank.artifacts.bank import read_bank
from prefixbank.artifacts.bundle import read_bundle
from prefixbank.artifacts.sentence_transformers import ENCODER, SETTINGS
from prefixbank.config.schema import EncoderConfig
from prefixbank.core.blocks import BlockBank
from prefixbank.core.combine import Bank
from prefixbank.core.embed import batch_encoder
from prefixbank.data.encoders.encoder import Encoder, load_encoder
from prefixbank.data.encoders.files import describe_folder
from prefixbank.errors import DamagedError


class BankModule(InputModule):
    """An encoder with a bank: from texts, or pairs of texts, to vectors.

    Args:
        folder: of the export.
        encoder: the frozen encoder.
        bank: prefixes, and how they turn texts into vectors.
        max_seq_length: longest text in tokens.
    """

    def __init__(
        self, folder: Path, encoder: Encoder, bank: Bank | BlockBank, max_seq_length: int
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder, self.encoder, self.bank = folder, encoder, bank
        self.model, self.tokenizer = encoder.model, encoder.tokenizer
        self.max_seq_length = max_seq_length

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> BankModule:
        """Load a bank and its encoder.

        Args:
            model_name_or_path: folder of the export, or a hub repository with its files.
            subfolder: of it.
            token: of the hub.
            cache_folder: for what is downloaded; None: the hub's own.
            revision: of the repository.
            local_files_only: download nothing.
            init_defaults: not used.
            kwargs: whatever else sentence-transformers passes; not used.

        Raises:
            UsageError: it is not a folder that `prefixbank export` wrote.
            DamagedError: a file differs from what was exported.
        """
        found = cls.load_dir_path(
            model_name_or_path, subfolder, token, cache_folder, revision, local_files_only
        )
        folder = Path(found or model_name_or_path).absolute()
        bundle = read_bundle(str(folder))
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        described = settings["encoder"]
        digest = described.pop("digest")
        config = EncoderConfig(
            name=bundle.name, source="folder", path=str(folder / ENCODER), **described
        )
        files = describe_folder(folder / ENCODER, config, bundle.name)
        if files.digest != digest:
            raise DamagedError(
                f"the encoder in {folder} was altered",
                expected=f"files with the digest {digest[:8]}",
                fix="copy the whole folder again    or export it again",
            )
        encoder = load_encoder(files, "cpu")
        return cls(folder, encoder, read_bank(bundle.bank), settings["max_length_tokens"])

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return the token ids [B, T] of texts, or of pairs of texts that are read jointly."""
        paired = bool(inputs) and not isinstance(inputs[0], str)
        first, second = zip(*inputs, strict=True) if paired else (inputs, None)
        texts = [f"{prompt or ''}{text}" for text in first]
        tokens = self.encoder.tokenize(texts, second, self.max_seq_length)
        return dict(tokens.batch(np.arange(len(tokens))).inputs)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding`, the vectors [B, F]."""
        names = [*self.encoder.tokenizer.model_input_names, "attention_mask"]
        inputs = {name: features[name] for name in names if name in features}
        blocks = batch_encoder(self.bank, self.model, next(self.parameters()).dtype)(inputs)
        features["sentence_embedding"] = torch.cat(list(blocks), dim=1)
        return features

    def get_embedding_dimension(self) -> int:
        """Return F, the number of features of a vector."""
        with torch.no_grad():
            return int(self.forward(self.preprocess(["a"]))["sentence_embedding"].shape[1])

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Copy the files of the export, with the length that is set now."""
        shutil.copytree(self.folder, output_path, dirs_exist_ok=True)
        path = Path(output_path, SETTINGS)
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings["max_length_tokens"] = self.max_seq_length
        path.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
