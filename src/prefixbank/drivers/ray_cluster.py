"""Workers on a Ray cluster: tasks for units, a pool of Ray Data actors for shards of a corpus."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from prefixbank.config.running import RunConfig
from prefixbank.drivers.driver import DIED, JSON, Work
from prefixbank.env import set_default
from prefixbank.errors import DeviceError, UsageError


class RayDriver:
    """See `Driver`.

    Jobs with shards go through Ray Data: an actor, with its loaded encoder, runs many of them.
    """

    dispatches_single_units, batches_units = True, False

    def __init__(self, run: RunConfig, work: Work) -> None:
        self._ray = _ray()
        self._config, self._work = run.ray, work
        self.num_workers = run.workers
        self._threads = run.threads or run.ray.cpus
        # Ray's backend prints to stderr by default.
        set_default("RAY_BACKEND_LOG_LEVEL", "fatal")
        try:
            self._ray.init(
                address=run.ray.address or None,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DeviceError(
                f"run.ray.address={run.ray.address or '(none)'}: {str(error).splitlines()[0]}",
                expected=(
                    "the address of a running Ray cluster, `auto` on one of its machines, or none "
                    "to start one here"
                ),
                fix="ray start --head    or drop run.ray.address",
            ) from error

    def outcomes(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        """See `Driver.outcomes`."""
        self._check_capacity()
        sized = [{**job, "threads": self._threads} for job in jobs]
        yield from self._shards(sized) if all(job["shards"] for job in jobs) else self._units(sized)

    def close(self) -> None:
        """See `Driver.close`."""
        self._ray.shutdown()

    def _units(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        remote = self._ray.remote(
            num_cpus=self._config.cpus, num_gpus=self._config.gpus, max_retries=0
        )(self._work)
        waiting = list(enumerate(jobs))
        running: dict[Any, int] = {}
        while waiting or running:
            while waiting and (not self.num_workers or len(running) < self.num_workers):
                index, job = waiting.pop(0)
                running[remote.remote(job)] = index
            done, _ = self._ray.wait(list(running))
            for reference in done:
                yield running.pop(reference), self._outcome(reference)

    def _outcome(self, reference: Any) -> JSON:
        try:
            outcome: JSON = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return {DIED: _first_line(error)}
        return outcome

    def _shards(self, jobs: Sequence[JSON]) -> Iterator[tuple[int, JSON]]:
        """Run jobs in a pool of actors; Ray gives the job of a dead actor to another one."""
        from ray import data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        data.DataContext.get_current().enable_progress_bars = False
        work = self._work

        class Embedder:
            def __call__(self, batch: Any) -> Any:
                return {
                    "index": batch["index"],
                    "outcome": [json.dumps(work(json.loads(job))) for job in batch["job"]],
                }

        rows = [{"index": index, "job": json.dumps(job)} for index, job in enumerate(jobs)]
        done = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Embedder,
            batch_size=1,
            compute=data.ActorPoolStrategy(
                size=min(len(jobs), self.num_workers or self._capacity()),
                max_tasks_in_flight_per_actor=1,
            ),
            num_cpus=self._config.cpus,
            num_gpus=self._config.gpus,
        )
        left = dict(enumerate(jobs))
        try:
            for row in done.iter_rows():
                left.pop(row["index"])
                yield row["index"], json.loads(row["outcome"])
        except self._ray.exceptions.RayError as error:
            for index in left:
                yield index, {DIED: _first_line(error)}

    def _capacity(self) -> int:
        """Return how many workers fit into the cluster."""
        resources = self._ray.cluster_resources()
        cpus = int(resources.get("CPU", 0) // self._config.cpus)
        return (
            min(cpus, int(resources.get("GPU", 0) // self._config.gpus))
            if self._config.gpus
            else cpus
        )

    def _check_capacity(self) -> None:
        """Refuse workers that are too large for the cluster: Ray would wait for ever."""
        if self._capacity() == 0:
            resources = self._ray.cluster_resources()
            raise DeviceError(
                f"a worker of {self._config.cpus} CPUs and {self._config.gpus:g} GPUs, but the Ray "
                f"cluster has {resources.get('CPU', 0):g} and {resources.get('GPU', 0):g}",
                expected="workers that fit",
                fix="run.ray.cpus=1 run.ray.gpus=0",
            )


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError(
            "run.driver=ray needs the package ray, which is not installed",
            expected="prefixbank with its extra 'ray'",
            fix="pip install 'prefixbank[ray]'    or run.driver=local",
        ) from None
    return ray


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
