"""What a session has loaded: tasks, encoders, and models prepared for inference."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

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
        self._take_prompts: set[str] = set()
        """Digests of encoders that passed the check for soft prompts."""
        self._inference_models: LruCache[tuple[str, str], nn.Module] = LruCache(ENCODERS_KEPT)

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

    def encoder(self, files: EncoderFiles, device: str, *, prompts: bool = False) -> Encoder:
        """Return an encoder on a device.

        Args:
            files: the encoder.
            device: `cpu`, `cuda` or `mps`.
            prompts: check, once for each encoder, that it takes soft prompts.
        """
        from prefixbank.data.encoders.encoder import load_encoder

        encoder = self._encoders.get((files.digest, device), lambda: load_encoder(files, device))
        if prompts and files.digest not in self._take_prompts:
            from prefixbank.data.encoders.prompts import check_prompt

            check_prompt(encoder)
            self._take_prompts.add(files.digest)
        return encoder

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
