"""Folders that sentence-transformers wrote: which modules make vectors of the encoder's states.

The folder's `modules.json` lists them. The first holds the encoder; a pooling and a scaling to
length 1 may follow. Needs neither torch nor sentence-transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from prefixbank.choices import PoolingPosition
from prefixbank.errors import EncoderError

MODULES, POOLING = "modules.json", "config.json"
READ = "sentence_bert_config.json"
"""How the encoder is read: its longest input, and whether texts are lowercased."""
PROMPTS = "config_sentence_transformers.json"
POSITIONS: Mapping[str, PoolingPosition] = MappingProxyType(
    {"cls": "cls", "mean": "mean", "max": "max", "lasttoken": "last"}
)
"""Modes of pooling that are positions here."""
OLD_MODES = MappingProxyType(
    {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens": "weightedmean",
        "pooling_mode_lasttoken": "lasttoken",
    }
)
"""Flags of earlier versions, in the order in which the vectors of several lie side by side."""


@dataclass(frozen=True, kw_only=True)
class SentencePooling:
    """What a sentence-transformers model makes of the last hidden states.

    Args:
        position: which tokens become one vector.
        normalize: whether that is scaled to length 1.
    """

    position: PoolingPosition | tuple[PoolingPosition, ...]
    normalize: bool


@dataclass(frozen=True, kw_only=True)
class SentenceFolder:
    """A folder with a `modules.json`.

    Args:
        folder: the folder.
        modules: kind and subfolder of each module, in order.
        max_tokens: longest input that the model is meant for; None: not said.
        lowercase: whether texts are lowercased.
    """

    folder: Path
    modules: tuple[tuple[str, Path], ...]
    max_tokens: int | None
    lowercase: bool

    @property
    def encoder(self) -> Path:
        """The folder of the encoder's files."""
        return self.modules[0][1]

    def pooling(self) -> SentencePooling:
        """Return how the modules after the encoder make one vector.

        Raises:
            EncoderError: there is a module, a mode of pooling or a prompt that is not supported.
        """
        kinds = [kind for kind, _ in self.modules]
        known = [["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]]
        if kinds not in known:
            others = [kind for kind in kinds if kind not in known[1]]
            raise self._refusal(
                f"the module {', '.join(others)}" if others else f"the modules {', '.join(kinds)}"
            )
        prompt = _read(self.folder / PROMPTS).get("default_prompt_name")
        if prompt:
            raise self._refusal(f"the default prompt '{prompt}'")
        modes = _modes(_read(self.modules[1][1] / POOLING))
        unknown = [mode for mode in modes if mode not in POSITIONS]
        if unknown:
            raise self._refusal(f"the pooling {', '.join(unknown)}")
        positions = tuple(POSITIONS[mode] for mode in modes)
        return SentencePooling(
            position=positions[0] if len(positions) == 1 else positions,
            normalize=len(kinds) == len(known[1]),
        )

    def _refusal(self, what: str) -> EncoderError:
        return EncoderError(
            f"{self.folder} is a sentence-transformers model with {what}",
            expected="a Transformer, a Pooling (cls, mean, max or lasttoken), and maybe Normalize",
            fix="pooling=mean, or another pooling, reads its Transformer alone",
        )


def sentence_folder(folder: Path) -> SentenceFolder | None:
    """Return what the `modules.json` of a folder says; None if it has none.

    Raises:
        EncoderError: it is not such a list, its first module is no Transformer, or a module is
            outside the folder.
    """
    if not (folder / MODULES).is_file():
        return None
    try:
        listed = _loaded(folder / MODULES)
        modules = tuple((_kind(one["type"]), _inside(folder, one["path"])) for one in listed)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise EncoderError(
            f"{folder / MODULES} does not list the modules of a model",
            expected='[{"path": "", "type": "sentence_transformers.models.Transformer"}, ...]',
            fix="save the model again with sentence-transformers",
        ) from error
    if not modules or modules[0][0] != "Transformer":
        first = modules[0][0] if modules else "nothing"
        raise EncoderError(
            f"{folder} is a sentence-transformers model that begins with {first}",
            expected="a Transformer first, whose attention can read prefixes",
            fix="encoder=minilm, or another encoder",
        )
    read = _read(modules[0][1] / READ)
    return SentenceFolder(
        folder=folder,
        modules=modules,
        max_tokens=read.get("max_seq_length"),
        lowercase=bool(read.get("do_lower_case")),
    )


def _kind(module: str) -> str:
    """Return the name of a module's class; the whole of it if it is not the library's own."""
    return module.rpartition(".")[2] if module.startswith("sentence_transformers.") else module


def _inside(folder: Path, path: str) -> Path:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(path)
    return folder / path


def _modes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modes of a pooling, as this version or an earlier one writes them."""
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        return (mode,) if isinstance(mode, str) else tuple(mode)
    return tuple(mode for flag, mode in OLD_MODES.items() if config.get(flag)) or ("mean",)


def _read(path: Path) -> dict[str, Any]:
    """Return the settings in a file; none without it."""
    if not path.is_file():
        return {}
    try:
        return dict(_loaded(path))
    except (TypeError, ValueError) as error:
        raise EncoderError(
            f"{path} holds no settings",
            expected="a JSON object",
            fix="save the model again with sentence-transformers",
        ) from error


def _loaded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
