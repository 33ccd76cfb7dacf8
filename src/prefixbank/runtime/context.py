"""What the steps of one command share.

The store, how to run, whom to tell, and what is loaded already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from prefixbank.config.running import RunConfig
from prefixbank.config.schema import EncoderConfig, TaskConfig
from prefixbank.data.encoders.files import EncoderFiles, describe_folder, locate_encoder
from prefixbank.data.tasks.task import Task
from prefixbank.errors import DeviceError, EncoderError
from prefixbank.runtime.events import Emit, Event, silent
from prefixbank.runtime.loaded import ENCODERS_KEPT, LruCache
from prefixbank.runtime.unit import NotMade, Planned, Unit, plan_unit, run_unit
from prefixbank.runtime.workers import WorkerPool, make_units
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store

if TYPE_CHECKING:
    from torch import nn

    from prefixbank.data.encoders.encoder import Encoder


CPU_TOKENS, ACCELERATOR_TOKENS = 1024, 32_768
"""Tokens in a batch: so many that a matrix product is worth it, so few that its results stay in a
core's cache."""


class Context:
    """One command's surroundings. Loads each task once, and keeps the encoders used last.

    Args:
        store: where artifacts live.
        run: how and where to run.
        emit: gets every event.
        dry_run: plan only; nothing is made.
        force: make again what the store has.
        workers: workers that make what is missing; None: this process makes it.
    """

    def __init__(
        self,
        store: Store,
        run: RunConfig,
        *,
        emit: Emit = silent,
        dry_run: bool = False,
        force: bool = False,
        workers: WorkerPool | None = None,
    ) -> None:
        self.store, self.run, self.emit, self.dry_run, self.force = store, run, emit, dry_run, force
        self.workers = workers
        self._only: frozenset[str] | None = None
        self._made: set[str] = set()
        """Keys of units that were made and told of before the command gets to them: they are
        neither made nor told again."""
        self._missing: list[Unit] | None = None
        self._tasks: dict[tuple[TaskConfig, str], Task] = {}
        self._files: dict[EncoderConfig, EncoderFiles] = {}
        self._encoders: LruCache[Encoder] = LruCache(ENCODERS_KEPT)
        self._read_prompts: set[str] = set()
        """Digests of encoders that have proved to read soft prompts."""
        self._readers: LruCache[nn.Module] = LruCache(ENCODERS_KEPT)

    def __enter__(self) -> Context:
        """Go on."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        if self.workers is not None:
            self.workers.close()

    def dry(self, emit: Emit, missing: list[Unit] | None = None) -> Context:
        """Return a context that plans instead of running, with the same store and things loaded.

        Args:
            emit: gets every event.
            missing: the units that could be made now are added to this.
        """
        return self._twin(emit=emit, dry_run=True, _missing=missing)

    def with_listener(self, emit: Emit) -> Context:
        """Return a context that tells somebody else, with the same store and things loaded."""
        return self._twin(emit=emit)

    def restricted_to(self, keys: Iterable[str] | None, emit: Emit) -> Context:
        """Return a context that makes these units only (None: all), in this process.

        It has the same store and the same things loaded.
        """
        return self._twin(emit=emit, _only=None if keys is None else frozenset(keys), workers=None)

    def _twin(self, **changed: object) -> Context:
        twin = copy(self)
        vars(twin).update(changed)
        return twin

    @property
    def is_share(self) -> bool:
        """Whether this process makes some units only."""
        return self._only is not None

    def ensure(self, unit: Unit) -> Planned:
        """Plan or run one unit, whichever this command is for.

        One that is no share of this process is planned in silence.
        """
        key = key_of(unit.document)
        if self.dry_run:
            return self._plan(unit, key)
        if self._only is not None and key not in self._only:
            return plan_unit(self.store, unit, silent, explain=False)
        if (
            not unit.here
            and self.workers is not None
            and self.needs_making(key)
            and self.workers.should_dispatch(1)
        ):
            name = f"{unit.step} {unit.name}"
            make_units(self.workers, [key], name, self.store, self.emit)
            self.mark_made([key])
        emit = silent if key in self._made else self.emit
        entry = run_unit(
            self.store, unit, emit, force=self._forces(key), explain=emit is not silent
        )
        if self.force or self.is_share:
            self._made.add(key)
        return Planned(step=unit.step, name=unit.name, key=key, made=entry)

    def ensure_from(
        self,
        step: str,
        name: str,
        build: Callable[[], Unit],
        ensure: Callable[[Unit], Planned] | None = None,
    ) -> Planned:
        """Plan or run a unit whose key depends on other artifacts.

        Args:
            step: of the unit, as `Unit.step`.
            name: what messages call it.
            build: returns the unit from the `entry` of the artifacts it depends on. If one of them
                is not made yet, nothing is planned or run.
            ensure: plans or runs the unit; None is `self.ensure`.
        """
        try:
            unit = build()
        except NotMade as error:
            if not self.is_share:
                text = f"needs {error.planned.step} {error.planned.name}"
                self.emit(Event(kind="waits", step=step, name=name, text=text))
            return Planned(step=step, name=name)
        return (ensure or self.ensure)(unit)

    def mark_made(self, keys: Iterable[str]) -> None:
        """Take note of units that workers have made."""
        self._made.update(keys)

    def needs_making(self, key: str) -> bool:
        """Tell whether a unit is to be made by this command."""
        return self._forces(key) or self.store.get(key) is None

    def _plan(self, unit: Unit, key: str) -> Planned:
        planned = plan_unit(
            self.store, unit, self.emit, force=self._forces(key), explain=self.emit is not silent
        )
        if self._missing is not None and not planned.is_made:
            self._missing.append(unit)
        return planned

    def _forces(self, key: str) -> bool:
        """Tell whether a unit is to be made although it is there: once."""
        return self.force and key not in self._made

    def task(self, config: TaskConfig) -> Task:
        """Return a task's checked examples, and say what the loader had to say about them."""
        return self._task(config, self.run.data_root)

    def task_at(self, origin: TaskConfig) -> Task:
        """Return a task from where another one was loaded, wherever tasks are looked for now."""
        return self._task(origin, "")

    def _task(self, config: TaskConfig, data_root: str) -> Task:
        if (config, data_root) not in self._tasks:
            from prefixbank.data.tasks.load import load_task

            task = load_task(config, data_root=data_root)
            for note in task.notes:
                self.emit(Event(kind="note", step="task", name=task.name, text=note))
            self._tasks[config, data_root] = task
        return self._tasks[config, data_root]

    def encoder_files(self, config: EncoderConfig) -> EncoderFiles:
        """Return where an encoder is and the digest of its bytes.

        The tiny one is made when first asked for, in a dry run not kept.
        """
        if config not in self._files:
            self._files[config] = (
                self._tiny(config) if config.source == "tiny" else locate_encoder(config)
            )
        return self._files[config]

    def _tiny(self, config: EncoderConfig) -> EncoderFiles:
        from prefixbank.runtime import tiny_encoder

        unit = tiny_encoder.unit()
        entry = (
            run_unit(self.store, unit, silent)
            if not self.dry_run
            else self.store.get(key_of(unit.document))
        )
        if entry is not None:
            return describe_folder(entry.path, config, "tiny")
        with TemporaryDirectory() as folder:
            unit.make(Path(folder), Path(folder))
            return describe_folder(Path(folder), config, "tiny")

    def encoder_of_bank(self, bank: Entry, asked: EncoderConfig) -> EncoderFiles:
        """Return the encoder that a bank was made with, or one of the same bytes asked for.

        Raises:
            EncoderError: another encoder was asked for, or its files changed since.
        """
        own = EncoderConfig(**bank.info["encoder"])
        files = self.encoder_files(own if asked.source == "bank" else asked)
        made_with = bank.document["inputs"]["encoder"]
        if files.digest != made_with:
            name = own.name if asked.source == "bank" else asked.name
            raise EncoderError(
                f"bank {bank.short_key} was made with encoder {own.name} {made_with[:8]}, "
                f"{files.label} here is {files.digest[:8]}",
                expected="the very encoder that its prefixes were trained on",
                fix=f"drop the encoder= option, or train and combine again with encoder={name}",
            )
        return files

    def load(self, files: EncoderFiles, *, prompts: bool = False) -> Encoder:
        """Return the encoder itself, on the device asked for.

        It is loaded unless it is one of the last ones.

        Args:
            files: where it is.
            prompts: soft prompts are to be read with it, so that it has to prove once that it can.
        """
        from prefixbank.data.encoders.encoder import load_encoder

        encoder = self._encoders.get(files.digest, lambda: load_encoder(files, self.device()))
        if prompts and files.digest not in self._read_prompts:
            from prefixbank.data.encoders.prompts import check_prompt

            check_prompt(encoder)
            self._read_prompts.add(files.digest)
        return encoder

    def inference_model(self, files: EncoderFiles, precision: str) -> nn.Module:
        """Return the encoder's model as embedding reads texts with it.

        On a CPU with packed linear layers.
        """
        from prefixbank.core.embed import DTYPES
        from prefixbank.core.packed import pack_linear_layers, packable

        model, dtype = self.load(files).model, DTYPES[precision]
        if not packable(model, dtype):
            return model
        return self._readers.get(
            f"{files.digest} {precision}", lambda: pack_linear_layers(model, dtype)
        )

    def device(self) -> str:
        """Choose the device and set the number of threads.

        Raises:
            DeviceError: the device asked for is not there.
        """
        import torch

        if self.run.threads:
            torch.set_num_threads(self.run.threads)
        present = {
            "cpu": True,
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
        }
        if self.run.device == "auto":
            return next(name for name in ("cuda", "mps", "cpu") if present[name])
        if not present[self.run.device]:
            raise DeviceError(
                f"run.device={self.run.device}, but torch {torch.__version__} finds no such device",
                expected=(
                    f"one of auto, {', '.join(name for name, there in present.items() if there)}"
                ),
                fix=(
                    "run.device=auto    or install a torch build for this device (see: prefixbank "
                    "doctor)"
                ),
            )
        return self.run.device

    def embed_tokens(self) -> int:
        """Return the tokens of one batch when embedding: as asked, else what suits the device."""
        return self.run.embed_tokens or (
            CPU_TOKENS if self.device() == "cpu" else ACCELERATOR_TOKENS
        )

    def embed_workers(self) -> int:
        """Return how many batches to embed at a time: one on each core of a CPU.

        0 on an accelerator, which takes them one by one.
        """
        import torch

        return torch.get_num_threads() if self.device() == "cpu" else 0
