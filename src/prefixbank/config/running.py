"""How and where to run. Nothing here can change a result, and no key function takes it."""

from __future__ import annotations

from dataclasses import field

from pydantic.dataclasses import dataclass

from prefixbank.choices import Device, DriverName, SlurmCluster, Tracker
from prefixbank.config.schema import STRICT, Count, Natural, NotNegative


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SlurmConfig:
    """What `run.driver=slurm` asks Slurm for, for each of the workers of an array."""

    cluster: SlurmCluster = "slurm"
    """`local`: processes of this machine in Slurm's place, to try things out."""
    folder: str = "slurm"
    """Folder for the jobs' logs; like the store, one that every machine sees under the same
    path."""
    partition: str = ""
    """Empty: the cluster's default."""
    minutes: Count = 240
    """Time limit. A worker that is ended by it loses nothing: a training goes on at its
    checkpoint."""
    cpus: Count = 8
    """CPUs of each worker."""
    gpus: Natural = 0
    """GPUs of each worker."""
    memory_gb: Natural = 0
    """0: the partition's default."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RayConfig:
    """What `run.driver=ray` asks Ray for."""

    address: str = ""
    """Of a running cluster, `auto` for the one that this machine is part of; empty: one is started
    on this machine and ended again."""
    cpus: Count = 1
    """CPUs of each worker."""
    gpus: NotNegative = 0.0
    """GPUs of each worker; 0.5 lets two share one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunConfig:
    """How and where to run."""

    device: Device = "auto"
    """What torch computes on; `auto`: an accelerator if there is one."""
    threads: Natural = 0
    """CPU threads of torch; 0: its choice, in a worker its share of the cores."""
    embed_tokens: Natural = 0
    """Tokens, padding included, in one batch when embedding; 0: what suits the device (1,024 on a
    CPU, 32,768 on an accelerator)."""
    checkpoint_every_s: NotNegative = 30.0
    """Seconds between two checkpoints in training."""
    tracker: Tracker = "none"
    """Where learning curves are mirrored to; they are in the artifact either way."""
    tracker_dir: str = "runs"
    """Folder of TensorBoard's files."""
    data_root: str = ""
    """Folder of task folders; a task named X is then read from `<data_root>/X`."""
    driver: DriverName = "local"
    """Who makes what is missing: processes of this machine, Slurm's job arrays, or a Ray
    cluster."""
    workers: Natural = 0
    """How many units to make at a time. 0: with `local` one on each GPU, without GPUs one in the
    command's own process; with `submitit` one job for each unit; with `ray` as many as the cluster
    has room for."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    ray: RayConfig = field(default_factory=RayConfig)
