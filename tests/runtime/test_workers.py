"""Units made by workers: which, in what order, and that it makes no difference to the results."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from prefixbank.commands.invocation import Invocation
from prefixbank.commands.run import _faults_of_rest
from prefixbank.config.running import RunConfig
from prefixbank.errors import DataError, DeviceError, Faults, PrefixbankError, UsageError
from prefixbank.runtime.events import Event, silent
from prefixbank.runtime.jobs import Job, error_in, event_collector, events_in, failure, run_job
from prefixbank.runtime.unit import Unit, grouped
from prefixbank.runtime.worker import worker_context
from prefixbank.runtime.workers import ATTEMPTS, WorkerPool
from prefixbank.store.key import document, key_of
from prefixbank.store.store import Store
from tests.commands import call
from tests.prepared import SMALL, copy_store
from tests.runtime.inline import Inline

JOB = Job(command="run", overrides=("a=1",), store="/store", folder="/work")
STUDY = (
    "experiment=smoke",
    "experiment.sources=[alpha,beta]",
    "experiment.targets=[gamma,omega]",
    "probe.bootstrap_samples=50",
    *SMALL,
)
DRIVER = "run.driver=slurm"


@pytest.fixture
def invocation(prepared, tmp_path) -> Invocation:
    """A store of the test's own, in which the tiny encoder is."""
    return Invocation(store=copy_store(prepared.store, tmp_path / "copy"))


def study(prepared) -> tuple[str, ...]:
    return (*STUDY, f"run.data_root={prepared.tasks}", "prefix.length=3")


def digests(store: str | Path | None) -> dict[str, str]:
    assert store is not None
    return {entry.key: entry.digest for entry in Store(Path(store)).entries()}


def pool_with(
    driver: Inline, monkeypatch: pytest.MonkeyPatch, work: Callable[[Any], Any]
) -> WorkerPool:
    driver.instead(monkeypatch)
    return WorkerPool(JOB, RunConfig(driver="slurm"), work)


def test_job_is_the_same_after_a_journey_through_json():
    job = Job(
        command="embed",
        overrides=("a=1", "b=[2,3]"),
        store="/s",
        folder="/f",
        conf_dir="/c",
        force=True,
        groups=(("k",),),
        shards={3: "d"},
    )
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job


def raise_it(error: Exception) -> Callable[[], None]:
    def make() -> None:
        raise error

    return make


@pytest.mark.parametrize("kind", [UsageError, DataError, DeviceError, PrefixbankError])
def test_error_of_a_worker_is_the_same_error_here(kind):
    error = error_in(
        json.loads(json.dumps(run_job(raise_it(kind("a", expected="b", fix="c")), [])))
    )
    assert (type(error), str(error)) == (kind, "error: a\nexpected: b\nfix: c")


def test_several_faults_of_a_worker_stay_several():
    faults = Faults([UsageError("a", expected="b", fix="c"), DataError("d", expected="e", fix="f")])
    assert str(error_in(failure(faults))) == str(faults)


def test_note_that_another_worker_passed_on_is_no_news(monkeypatch):
    workers = pool_with(Inline(), monkeypatch, lambda values: {})
    note, done = (
        Event(kind="note", step="task", name="a", text="5 of 9 rows"),
        Event(kind="done", step="probe", name="a"),
    )
    heard = [note, replace(note, name="b"), done]
    assert list(workers.new_events(run_job(lambda: None, heard))) == heard
    assert list(workers.new_events(run_job(lambda: None, [note, done]))) == [done]


def test_mistake_in_the_code_is_raised_with_the_workers_traceback():
    with pytest.raises(RuntimeError, match="in raise_it|in make") as caught:
        error_in(run_job(raise_it(ZeroDivisionError("by nothing")), []))
    assert "ZeroDivisionError: by nothing" in str(caught.value)


def test_folder_that_a_worker_may_not_use_is_an_error_in_three_lines():
    error = error_in(run_job(raise_it(PermissionError(13, "Permission denied", "/data")), []))
    assert (
        error is not None
        and "Permission denied: '/data'" in error.what
        and error.expected
        and error.fix
    )


@pytest.mark.parametrize(("given", "own", "used"), [(3, 0, 3), (0, 5, 5), (3, 5, 3)])
def test_worker_takes_the_threads_of_its_job(tmp_path, given, own, used):
    job = replace(JOB, store=str(tmp_path), threads=given)
    assert worker_context(job, RunConfig(threads=own), silent).run.threads == used


def test_events_of_a_worker_are_told_without_its_progress():
    told, heard = (
        [
            Event(kind=kind, step="embed", name="x", seconds=1.5)
            for kind in ("miss", "progress", "done")
        ],
        [],
    )
    outcome = run_job(lambda: [event_collector(heard)(event) for event in told], heard)
    assert events_in(json.loads(json.dumps(outcome))) == [told[0], told[2]]


@pytest.mark.parametrize(
    ("batched", "num_workers", "expected"),
    [
        (False, 2, [("a",), ("b",), ("c",), ("d",), ("e",)]),
        (True, 2, [("a", "b"), ("c", "d", "e")]),
        (True, 9, [("a",), ("b",), ("c",), ("d",), ("e",)]),
    ],
)
def test_units_are_sent_one_by_one_or_in_batches_if_starting_a_worker_is_slow(
    monkeypatch, batched, num_workers, expected
):
    driver = Inline(num_workers=num_workers, batches_units=batched)
    workers = pool_with(driver, monkeypatch, lambda job: {})
    assert [job.keys for job in workers.jobs_for_keys("abcde")] == expected


def test_shards_of_a_job_are_neighbours_and_the_first_one_comes_along(monkeypatch):
    workers = pool_with(Inline(batches_units=True), monkeypatch, lambda job: {})
    jobs = workers.jobs_for_shards(
        {2: "c", 3: "d", 5: "f", 6: "g"}, always={0: "a"}, settings=["b=2"]
    )
    assert [dict(job.shards) for job in jobs] == [
        {0: "a", 2: "c", 3: "d"},
        {0: "a", 5: "f", 6: "g"},
    ]
    assert {job.overrides for job in jobs} == {("a=1", "b=2")}


def test_job_whose_worker_dies_is_begun_again(monkeypatch):
    driver = Inline(deaths=ATTEMPTS - 1)
    workers = pool_with(driver, monkeypatch, lambda job: {"events": [], "keys": job["groups"][0]})
    notes: list[Event] = []
    done = list(workers.outcomes(workers.jobs_for_keys([("a",)]), notes.append))
    assert [(job.keys, outcome["keys"]) for job, outcome in done] == [(("a",), ["a"])]
    assert [note.text for note in notes] == [
        f"a worker died: killed by SIGKILL; attempt {number} of 3" for number in (1, 2)
    ]


def test_job_whose_worker_always_dies_fails_and_the_others_are_done(monkeypatch):
    driver = Inline()
    workers = pool_with(
        driver, monkeypatch, lambda job: {"died": "no memory"} if job["groups"] == [["a"]] else {}
    )
    outcomes = {
        job.keys: error_in(outcome)
        for job, outcome in workers.outcomes(workers.jobs_for_keys([("a",), ("b",)]), silent)
    }
    assert outcomes[("b",)] is None and [len(call) for call in driver.calls] == [2, 1, 1]
    assert re.match("workers died 3 times .* no memory", outcomes[("a",)].what)


def test_worker_that_dies_after_some_units_is_begun_again_with_the_others(monkeypatch, tmp_path):
    documents = [document(step="some", version=1, config={"n": n}, inputs={}) for n in range(5)]
    groups = [(key_of(one),) for one in documents]

    def make_one(job: Any) -> Any:
        (first,), *rest = job["groups"]
        Store(tmp_path).build(documents[groups.index((first,))], lambda out, work: {})
        return {"died": "out of time"} if rest else {}

    driver = Inline(num_workers=1, batches_units=True).instead(monkeypatch)
    workers = WorkerPool(replace(JOB, store=str(tmp_path)), RunConfig(driver="slurm"), make_one)
    ((_, outcome),) = workers.outcomes(workers.jobs_for_keys(groups), silent)
    assert outcome == {} and len(driver.calls) == len(groups) > ATTEMPTS
    assert [len(job["groups"]) for job in driver.jobs] == [5, 4, 3, 2, 1]


def test_unit_that_fails_stops_no_other_of_its_job(tmp_path):
    keys = [str(number) * 32 for number in range(3)]
    job = replace(JOB, store=str(tmp_path), groups=tuple((key,) for key in keys))
    asked = []

    def run(part: Job) -> None:
        asked.append(part.keys)
        if keys[0] in part.keys:
            raise DataError("wrong", expected="right", fix="mend")

    (fault,) = _faults_of_rest(job, DataError("wrong", expected="right", fix="mend"), run)
    assert fault.what == "wrong" and asked == [(key,) for key in keys]


@pytest.mark.parametrize(
    ("run", "single", "num_workers", "one", "two"),
    [
        (RunConfig(), False, 1, False, False),
        (RunConfig(), False, 2, False, True),
        (RunConfig(workers=1), False, 2, False, False),
        (RunConfig(driver="ray"), True, 0, True, True),
    ],
)
def test_workers_take_units_where_that_makes_sense(monkeypatch, run, single, num_workers, one, two):
    Inline(dispatches_single_units=single, num_workers=num_workers).instead(monkeypatch)
    workers = WorkerPool(JOB, run, lambda job: {})
    assert (workers.should_dispatch(0), workers.should_dispatch(1), workers.should_dispatch(2)) == (
        False,
        one,
        two,
    )


def test_driver_is_opened_for_work_only_and_closed_once(monkeypatch):
    driver = Inline()
    workers = pool_with(driver, monkeypatch, lambda job: {})
    workers.close()
    assert (workers.should_dispatch(0), driver.closed) == (False, 0)
    workers.should_dispatch(1)
    workers.close()
    workers.close()
    assert driver.closed == 1


def test_experiment_made_by_workers_has_the_same_keys_and_bytes(
    prepared, invocation, tmp_path, monkeypatch
):
    other = Invocation(store=copy_store(prepared.store, tmp_path / "other"))
    report = call("run", *study(prepared), invocation=other).entry
    driver = Inline().instead(monkeypatch)
    assert (
        call("run", *study(prepared), DRIVER, invocation=invocation).entry.digest == report.digest
    )
    assert digests(invocation.store) == digests(other.store) and driver.closed == 1


def test_experiment_goes_to_workers_in_waves_of_what_can_be_made(prepared, invocation, monkeypatch):
    driver = Inline().instead(monkeypatch)
    call("run", *study(prepared), DRIVER, invocation=invocation)
    steps = {entry.key: entry.step for entry in Store(Path(invocation.store)).entries()}
    waves = [
        sorted(steps[key] for job in call for group in job["groups"] for key in group)
        for call in driver.calls
    ]
    assert waves == [
        ["embed", "embed", "train_prefix", "train_prefix"],
        ["embed", "embed", "probe", "probe"],
        ["probe", "probe"],
    ]


def test_finished_units_are_skipped_and_told_once(prepared, invocation, monkeypatch):
    driver = Inline().instead(monkeypatch)
    for _ in range(2):
        events: list[Event] = []
        call(
            "run",
            *study(prepared),
            DRIVER,
            invocation=Invocation(store=invocation.store, emit=events.append),
        )
    kinds = [event.kind for event in events if event.kind != "note"]
    assert kinds == ["hit"] * 12 and len(driver.jobs) == 10


def test_each_unit_that_a_worker_made_is_told_once(prepared, invocation, monkeypatch):
    Inline().instead(monkeypatch)
    events: list[Event] = []
    call(
        "run",
        *study(prepared),
        DRIVER,
        invocation=Invocation(store=invocation.store, emit=events.append),
    )
    done = [(event.step, event.key) for event in events if event.kind == "done"]
    assert len(done) == len(set(done)) == 12 and not [
        event for event in events if event.kind in ("hit", "waits")
    ]


@pytest.mark.slow
def test_force_makes_everything_again_once(prepared, invocation, monkeypatch):
    driver = Inline().instead(monkeypatch)
    before = call("run", *study(prepared), DRIVER, invocation=invocation).entry
    forced = Invocation(store=invocation.store, force=True)
    after = call("run", *study(prepared), DRIVER, invocation=forced).entry
    entries = Store(Path(invocation.store)).entries()
    again = [entry for entry in entries if entry.info.get("forced")]
    assert (before.digest, len(again), len(driver.jobs)) == (after.digest, 12, 20)


def test_dry_run_asks_no_worker(prepared, invocation, monkeypatch):
    driver = Inline().instead(monkeypatch)
    call(
        "run", *study(prepared), DRIVER, invocation=Invocation(store=invocation.store, dry_run=True)
    )
    assert not driver.calls


def test_failing_unit_is_reported_after_the_others_are_made(prepared, invocation, monkeypatch):
    driver = Inline().instead(monkeypatch)
    settings = (*study(prepared), DRIVER, 'experiment.overrides.beta=["optim.precision=fp16"]')
    with pytest.raises(DeviceError, match="fp16"):
        call("run", *settings, invocation=invocation)
    made = [entry.info["name"] for entry in Store(Path(invocation.store)).entries("train_prefix")]
    assert made.count("alpha") == 2 and made.count("beta") == 1 and driver.closed == 1


def test_workers_that_put_nothing_into_this_store_are_found_out(prepared, invocation, monkeypatch):
    driver = Inline().instead(monkeypatch)
    nothing = {"events": []}
    monkeypatch.setattr(
        driver, "outcomes", lambda jobs: ((index, nothing) for index in range(len(jobs)))
    )
    with pytest.raises(PrefixbankError, match="4 of 4 units are not in the store"):
        call("run", *study(prepared), DRIVER, invocation=invocation)


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("train-prefix", ("task=folder", "task.path={tasks}/gamma")),
        ("probe", ("bank=demo", "task=folder", "task.path={tasks}/gamma")),
    ],
)
def test_single_command_sends_its_units(
    prepared, invocation, tmp_path, monkeypatch, command, settings
):
    other = Invocation(store=copy_store(prepared.store, tmp_path / "other"))
    given = [setting.format(tasks=prepared.tasks) for setting in settings] + [
        *(SMALL if command == "train-prefix" else ())
    ]
    expected = call(command, *given, invocation=other).entry
    driver = Inline().instead(monkeypatch)
    found = call(command, *given, DRIVER, invocation=invocation).entry
    assert (found.key, found.digest) == (expected.key, expected.digest)
    assert [job["groups"] for job in driver.jobs][-1] == ((found.key,),)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(
        "".join(f"text number {number} {'long ' * (number % 5)}\n" for number in range(23)),
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize(
    "settings", [(), ("vectors=binary", "calibration_rows=4")], ids=["float32", "calibrated"]
)
def test_corpus_embedded_by_workers_has_the_same_keys_and_bytes(
    prepared, invocation, corpus, tmp_path, monkeypatch, settings, shares
):
    given = ("bank=demo", f"corpus.path={corpus}", "corpus.shard_rows=4", *settings)
    other = Invocation(store=copy_store(prepared.store, tmp_path / "other"))
    expected = call("embed", *given, invocation=other).entry
    driver = Inline(batches_units=shares).instead(monkeypatch)
    found = call("embed", *given, DRIVER, invocation=invocation).entry
    assert found.digest == expected.digest and digests(invocation.store) == digests(other.store)
    assert [len(call) for call in driver.calls] == ([1] if settings else []) + [
        2 if shares else 5 if settings else 6
    ]
    rows = [
        row
        for path in sorted(found.path.glob("*.parquet"))
        for row in parquet.read_table(path)["row"].to_pylist()
    ]
    assert rows == list(range(23))


def test_workers_are_asked_for_missing_shards_only(prepared, invocation, corpus, monkeypatch):
    driver = Inline().instead(monkeypatch)
    given = ("bank=demo", f"corpus.path={corpus}", "corpus.shard_rows=4", DRIVER)
    call("embed", *given, invocation=invocation)
    with corpus.open("a", encoding="utf-8") as file:
        file.write("one more\n")
    call("embed", *given, invocation=invocation)
    assert [sorted(job["shards"]) for job in driver.calls[1]] == [["5"]]


def test_corpus_that_is_another_one_for_the_workers_is_refused(
    prepared, invocation, corpus, monkeypatch
):
    driver = Inline().instead(monkeypatch)
    outcomes = driver.outcomes

    def change_first(jobs):
        corpus.write_text("another text\n" * 23, encoding="utf-8")
        return outcomes(jobs)

    driver.outcomes = change_first  # type: ignore[method-assign]
    with pytest.raises(DataError, match="changed while it was read"):
        call(
            "embed",
            "bank=demo",
            f"corpus.path={corpus}",
            "corpus.shard_rows=4",
            DRIVER,
            invocation=invocation,
        )


def test_progress_counts_the_rows_that_workers_have_done(prepared, invocation, corpus, monkeypatch):
    Inline().instead(monkeypatch)
    events: list[Event] = []
    told = Invocation(store=invocation.store, emit=events.append)
    call(
        "embed",
        "bank=demo",
        f"corpus.path={corpus}",
        "corpus.shard_rows=4",
        DRIVER,
        invocation=told,
    )
    done = [event.done for event in events if event.kind == "progress"]
    assert done[:7] == [0, 3, 7, 11, 15, 19, 23] and set(done[7:]) == {23}


@pytest.mark.parametrize("driver", ["slurm", "ray"])
def test_standard_input_is_refused_for_workers_on_other_machines(
    prepared, invocation, monkeypatch, driver
):
    asked = Inline().instead(monkeypatch)
    monkeypatch.setattr(
        "sys.stdin", type("Stdin", (), {"buffer": __import__("io").BytesIO(b"a\nb\nc\n")})
    )
    with pytest.raises(UsageError, match="corpus.path=- with run.driver=" + driver):
        call("embed", "bank=demo", "corpus.path=-", f"run.driver={driver}", invocation=invocation)
    assert not asked.calls


def test_relative_paths_lead_where_the_command_was_given(
    prepared, invocation, corpus, tmp_path, monkeypatch
):
    Inline().instead(monkeypatch)
    monkeypatch.chdir(corpus.parent)
    made = call(
        "embed",
        "bank=demo",
        "corpus.path=corpus.txt",
        "corpus.shard_rows=4",
        DRIVER,
        invocation=invocation,
    )
    assert made.is_made and Path.cwd() == corpus.parent


@pytest.mark.parametrize("setting", ["run.driver=ray", "run.workers=2"])
def test_reuse_is_refused_for_several_workers(prepared, invocation, corpus, monkeypatch, setting):
    asked = Inline().instead(monkeypatch)
    with pytest.raises(UsageError, match="reuse=true with run.driver="):
        call(
            "embed",
            "bank=demo",
            f"corpus.path={corpus}",
            "reuse=true",
            setting,
            invocation=invocation,
        )
    assert not asked.calls


def test_reuse_needs_no_workers_where_several_would_be_chosen(
    prepared, invocation, corpus, monkeypatch
):
    asked = Inline(dispatches_single_units=False).instead(monkeypatch)
    made = call(
        "embed",
        "bank=demo",
        f"corpus.path={corpus}",
        "corpus.shard_rows=4",
        "reuse=true",
        invocation=invocation,
    )
    assert made.is_made and not asked.calls


def test_units_of_a_group_are_made_by_one_worker(monkeypatch):
    units = [
        Unit(step="some", name="", document={"n": n}, make=lambda out, work: {}, group=group)
        for n, group in enumerate(["", "blocks", "", "blocks"])
    ]
    one, two, three, four = (key_of(unit.document) for unit in units)
    groups = grouped(units)
    assert groups == [(one,), (two, four), (three,)]
    workers = pool_with(Inline(num_workers=2, batches_units=True), monkeypatch, lambda job: {})
    assert [job.keys for job in workers.jobs_for_keys(groups)] == [(one,), (two, four, three)]
