"""Open the driver of a run."""

from __future__ import annotations

from typing import assert_never

from prefixbank.config.running import RunConfig
from prefixbank.drivers.driver import Driver, Work


def open_driver(run: RunConfig, work: Work) -> Driver:
    """Return the driver of `run.driver`.

    Raises:
        UsageError: its package is not installed.
        DeviceError: the cluster, or the device, is not available.
    """
    match run.driver:
        case "local":
            from prefixbank.drivers.local import LocalDriver

            return LocalDriver(run)
        case "slurm":
            from prefixbank.drivers.slurm import SlurmDriver

            return SlurmDriver(run, work)
        case "ray":
            from prefixbank.drivers.ray_cluster import RayDriver

            return RayDriver(run, work)
    assert_never(run.driver)
