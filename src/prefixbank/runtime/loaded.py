"""What a session has loaded: tasks, encoders, and models prepared for inference."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar, assert_never

from prefixbank.choices import PrefixKind
from prefixbank.config.schema import EncoderConfig, TaskConfig
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.data.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn

    from prefixbank.data.encoders.encoder import Encoder

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

ENCODERS_KEPT = 2
"""A study uses many fine-tuned encoders, one after the other, and returns to the frozen one."""


class LruCache(Generic[K, T]):
    """Keeps the `size` values used last; the least recently used one is dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: dict[K, T] = {}

    def get(self, key: K, make: Callable[[], T]) -> T:
        """Return the value of a key; `make` makes it if it is not cached."""
        value = self._values.pop(key) if key in self._values else make()
        self._values[key] = value
        if len(self._values) > self._size:
            del self._values[next(iter(self._values))]
        return value


class Loaded:
    """Caches of one session. Every task is kept, of the encoders only those used last."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[TaskConfig, str], Task] = {}
        self._files: dict[EncoderConfig, EncoderFiles] = {}
        self._encoders: LruCache[tuple[str, str], Encoder] = LruCache(ENCODERS_KEPT)
        self._checked: set[tuple[str, PrefixKind]] = set()
        """Digests of encoders that passed the check for a kind of prefix."""
        self._inference_models: LruCache[tuple[str, str], nn.Module] = LruCache(ENCODERS_KEPT)
        self._used: set[str] = set()

    def task(self, config: TaskConfig, data_root: str, on_load: Callable[[Task], None]) -> Task:
        """Return a task's checked examples.

        Args:
            config: the task.
            data_root: folder of task folders, as `RunConfig.data_root`.
            on_load: called with the task if it was not cached.
        """
        if (config, data_root) not in self._tasks:
            from prefixbank.data.tasks.load import load_task

            task = load_task(config, data_root=data_root)
            on_load(task)
            self._tasks[config, data_root] = task
        return self._tasks[config, data_root]

    def encoder_files(
        self, config: EncoderConfig, locate: Callable[[EncoderConfig], EncoderFiles]
    ) -> EncoderFiles:
        """Return the files of an encoder; `locate` finds them if they are not cached."""
        if config not in self._files:
            self._files[config] = locate(config)
        return self._files[config]

    def encoder(self, files: EncoderFiles, device: str, *, kind: PrefixKind = "deep") -> Encoder:
        """Return an encoder on a device.

        Args:
            files: the encoder.
            device: `cpu`, `cuda` or `mps`.
            kind: kind of prefix that it has to take, which is checked once for each encoder.
                Deep prefixes are checked when it is loaded.
        """
        from prefixbank.data.encoders.encoder import load_encoder

        encoder = self._encoders.get((files.digest, device), lambda: load_encoder(files, device))
        if (files.digest, kind) not in self._checked:
            _check(encoder, kind)
            self._checked.add((files.digest, kind))
        return encoder

    def is_first_use(self, what: str) -> bool:
        """Return whether the session uses something, such as a precision, for the first time."""
        first = what not in self._used
        self._used.add(what)
        return first

    def inference_model(self, files: EncoderFiles, device: str, precision: str) -> nn.Module:
        """Return the model of an encoder for embedding; on a CPU its linear layers are packed."""
        from prefixbank.core.embed import DTYPES
        from prefixbank.core.packed import pack_linear_layers, packable

        model, dtype = self.encoder(files, device).model, DTYPES[precision]
        if not packable(model, dtype):
            return model
        return self._inference_models.get(
            (files.digest, precision), lambda: pack_linear_layers(model, dtype)
        )


def _check(encoder: Encoder, kind: PrefixKind) -> None:
    """Check that an encoder takes prefixes of a kind."""
    match kind:
        case "deep":
            return
        case "soft":
            from prefixbank.data.encoders.prompts import check_prompt

            check_prompt(encoder)
        case "readout":
            from prefixbank.data.encoders.readouts import check_readouts

            check_readouts(encoder)
        case _:
            assert_never(kind)
