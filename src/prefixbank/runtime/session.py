"""What a step needs to make its artifact: store, run settings, a listener, loaded encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from prefixbank.choices import PrefixKind
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, TaskConfig
from prefixbank.data.encoders.files import (
    EncoderFiles,
    GgufFile,
    describe_folder,
    locate_encoder,
    reading_settings,
)
from prefixbank.data.tasks.task import Task
from prefixbank.errors import EncoderError
from prefixbank.runtime.events import Emit, Event, silent
from prefixbank.runtime.loaded import Loaded
from prefixbank.runtime.unit import run_unit
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store

if TYPE_CHECKING:
    from torch import nn

    from prefixbank.data.encoders.encoder import Encoder
    from prefixbank.runtime.device import Device


@dataclass(frozen=True, eq=False)
class Session:
    """What the steps of one command share.

    Args:
        store: where artifacts are.
        run: how and where to run.
        emit: gets every event.
        dry_run: nothing is made.
        loaded: caches; copies of a session share them.
    """

    store: Store
    run: RunConfig
    _: KW_ONLY
    emit: Emit = silent
    dry_run: bool = False
    loaded: Loaded = field(default_factory=Loaded)

    def row_counter(
        self, step: str, name: str, total: int, *, unit: str, text: str
    ) -> Callable[[int], None]:
        """Return a listener to numbers of rows that are done, which emits their sum as progress."""
        done = 0

        def on_rows(count: int) -> None:
            nonlocal done
            done += count
            self.emit(
                Event(
                    kind="progress",
                    step=step,
                    name=name,
                    done=done,
                    total=total,
                    unit=unit,
                    text=text,
                )
            )

        return on_rows

    def task(self, config: TaskConfig) -> Task:
        """Return a task's checked examples; its notes are emitted when it is loaded."""
        return self.loaded.task(config, self.run.data_root, self._emit_notes)

    def task_at(self, origin: TaskConfig) -> Task:
        """Return a task from where it was loaded before, whatever `run.data_root` is now."""
        return self.loaded.task(origin, "", self._emit_notes)

    def _emit_notes(self, task: Task) -> None:
        for note in task.notes:
            self.emit(Event(kind="note", step="task", name=task.name, text=note))

    def encoder_files(self, config: EncoderConfig) -> EncoderFiles:
        """Return where an encoder is and the digest of its bytes.

        The tiny encoder is made, and a GGUF file is converted, the first time. A dry run keeps
        nothing, and converts nothing.
        """
        return self.loaded.encoder_files(
            config, self._tiny if config.source == "tiny" else self._locate
        )

    def _locate(self, config: EncoderConfig) -> EncoderFiles:
        files = locate_encoder(config)
        return files if files.gguf is None else self._converted(files, files.gguf)

    def _converted(self, files: EncoderFiles, gguf: GgufFile) -> EncoderFiles:
        """Return the encoder with the folder that its GGUF file was converted into."""
        from prefixbank.runtime import converted_encoder

        unit = converted_encoder.unit(gguf, files.label)
        entry = self.store.use(key_of(unit.document))
        if entry is None:
            if self.dry_run:
                return files
            text = f"converting {gguf.path.name}, once: this takes some seconds"
            self.emit(Event(kind="note", step="encoder", name=files.label, text=text))
            entry = run_unit(self.store, unit, silent)
        for name in entry.files:
            entry.file(name)
        return replace(files, folder=entry.path, gguf=None)

    def _tiny(self, config: EncoderConfig) -> EncoderFiles:
        from prefixbank.runtime import tiny_encoder

        unit = tiny_encoder.unit()
        entry = (
            self.store.get(key_of(unit.document))
            if self.dry_run
            else run_unit(self.store, unit, silent)
        )
        if entry is not None:
            return describe_folder(entry.path, config, "tiny")
        with TemporaryDirectory() as folder:
            unit.make(Path(folder), Path(folder))
            return describe_folder(Path(folder), config, "tiny")

    def encoder_of_bank(self, bank: Entry, config: EncoderConfig) -> EncoderFiles:
        """Return the encoder that a bank was made with.

        Args:
            bank: the bank's artifact.
            config: another place of the same encoder; `source="bank"` is where it was before, read
                as it was then.

        Raises:
            EncoderError: `config` is another encoder, or its files have changed.
        """
        own = EncoderConfig(**bank.info["encoder"])
        files = self.encoder_files(
            replace(own, **reading_settings(config)) if config.source == "bank" else config
        )
        expected = bank.document["inputs"]["encoder"]
        if files.digest != expected:
            name = own.name if config.source == "bank" else config.name
            raise EncoderError(
                f"bank {bank.short_key} was made with encoder {own.name} {expected[:8]}, "
                f"{files.label} here is {files.digest[:8]}",
                expected=f"the very encoder that its prefixes were trained on{_as_read(own)}",
                fix=f"drop the encoder options, or train and combine again with encoder={name}",
            )
        return files

    def open_device(self, precision: str, *, setting: str) -> Device:
        """Return the run's device, which has the precision; a note says if that will be slow.

        Raises:
            DeviceError: this machine has no such device, or the device has no such precision.
        """
        from prefixbank.runtime.device import check_precision, emulates, open_device

        device = open_device(self.run)
        check_precision(device.name, precision, setting=setting)
        if emulates(device.name, precision) and self.loaded.is_first_use(precision):
            text = (
                f"{setting}={precision} on a CPU without instructions for it: many times slower "
                f"than {setting}=fp32"
            )
            self.emit(Event(kind="note", step="device", name=device.name, text=text))
        return device

    def load(self, files: EncoderFiles, *, kind: PrefixKind = "deep") -> Encoder:
        """Return an encoder on the run's device.

        Args:
            files: the encoder.
            kind: kind of prefix that it has to take, which is checked once for each encoder.

        Raises:
            DeviceError: this machine has no such device.
        """
        from prefixbank.runtime.device import choose_device

        return self.loaded.encoder(files, choose_device(self.run.device), kind=kind)

    def inference_model(self, files: EncoderFiles, precision: str) -> nn.Module:
        """Return the model of an encoder for embedding; on a CPU its linear layers are packed."""
        from prefixbank.runtime.device import choose_device

        return self.loaded.inference_model(files, choose_device(self.run.device), precision)


def _as_read(config: EncoderConfig) -> str:
    """Return the settings that an encoder is read with, for an error; empty for the defaults."""
    settings = [f" encoder.{name}={value!r}" for name, value in reading_settings(config).items()]
    return ", with" + "".join(settings) if settings else ""
