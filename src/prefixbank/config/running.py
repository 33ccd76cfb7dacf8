"""How and where to run. Nothing here can change a result, and no key function accepts it."""

from __future__ import annotations

from dataclasses import field

from pydantic.dataclasses import dataclass

from prefixbank.choices import Device, DriverName, SlurmCluster, TextStatesPlace, Tracker
from prefixbank.config.schema import STRICT, Count, Natural, NotNegative, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SlurmConfig:
    """Resources of each worker of a Slurm job array, with `run.driver=slurm`."""

    cluster: SlurmCluster = "slurm"
    """`local`: run the jobs as processes of this machine, to try things out without Slurm."""
    folder: str = "slurm"
    """Folder for the logs of jobs. Like the store, every machine must see it under the same
    path."""
    partition: str = ""
    """Partition to submit to; empty: the default of the cluster."""
    minutes: Count = 240
    """Time limit of a worker in minutes. A training that is cut off resumes from its checkpoint."""
    cpus: Count = 8
    """CPUs of each worker."""
    gpus: Natural = 0
    """GPUs of each worker."""
    memory_gb: Natural = 0
    """Memory of each worker in GB; 0: the default of the partition."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RayConfig:
    """Cluster and resources of each worker, with `run.driver=ray`."""

    address: str = ""
    """Address of a running cluster; `auto`: the one that this machine is part of; empty: start one
    on this machine and stop it at the end."""
    cpus: Count = 1
    """CPUs of each worker."""
    gpus: NotNegative = 0.0
    """GPUs of each worker; with 0.5, two workers share one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunConfig:
    """How and where to run."""

    device: Device = "auto"
    """Device that torch computes on; `auto`: an accelerator if there is one, else the CPU."""
    threads: Natural = 0
    """CPU threads of torch; 0: as torch chooses, and in a worker its share of the cores."""
    embed_tokens: Natural = 0
    """Tokens in one batch when embedding, padding included; 0: 1,024 on a CPU, 32,768 on an
    accelerator."""
    checkpoint_every_s: NotNegative = 30.0
    """Seconds between two checkpoints of a training."""
    text_states_in: TextStatesPlace = "memory"
    """Where a training with `optim.text_states=cached_...` keeps the states of its texts: in
    memory, or in a file in the store, which is deleted after the training."""
    text_states_gb: Positive = 8.0
    """The most that these states may take, in GB. A training that needs more is refused."""
    tracker: Tracker = "none"
    """Where learning curves are sent as well. The artifact has them in any case."""
    tracker_dir: str = "runs"
    """Folder for the files of TensorBoard."""
    data_root: str = ""
    """Folder of task folders. If it is set, a task named X is read from `<data_root>/X`."""
    driver: DriverName = "local"
    """Where workers make missing artifacts: `local` starts processes on this machine, `slurm`
    submits job arrays, `ray` uses a Ray cluster."""
    workers: Natural = 0
    """How many artifacts to make at a time. 0: with `local`, one on each GPU, or without GPUs one
    in the process of the command; with `slurm`, one job for each; with `ray`, as many as the
    cluster has room for."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    ray: RayConfig = field(default_factory=RayConfig)
