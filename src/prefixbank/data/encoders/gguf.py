"""Convert a GGUF file into a folder that loads in a moment; dequantising takes many seconds."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from prefixbank.data.encoders.files import SINGLE_WEIGHTS


def write_from_gguf(file: Path, folder: Path) -> None:
    """Write model and tokenizer of a GGUF file into `folder`, the weights as float32.

    transformers reads the file, with the package `gguf`. Nothing in it is run.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    source = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    with redirect_stderr(io.StringIO()):  # a progress bar that cannot be turned off
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
        model = AutoModel.from_pretrained(file.parent, dtype=torch.float32, **source)
    # The weights are plain numbers now, which this entry of the configuration would deny.
    del model.config.quantization_config
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file(model.state_dict(), folder / SINGLE_WEIGHTS)
