"""Claims about several processes, tested with several processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import prefixbank
from prefixbank.store.key import key_of

KEY = key_of(
    {
        "schema": 1,
        "step": "train_prefix",
        "version": 1,
        "config": {"seed": 0},
        "inputs": {"examples": "ab" * 32},
    },
)


def finish(process):
    out, _ = process.communicate(timeout=60)
    return out.split(), process.returncode


def wait_for(condition):
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "the other process did not come so far"
        time.sleep(0.01)


def log_of(store) -> list[str]:
    return (store.root.parent / "made.log").read_text(encoding="utf-8").split()


def test_second_process_waits_and_finds_what_the_first_made(store, start):
    first = start("slow", text="first")
    wait_for((store.root.parent / "started").exists)
    second = start("plain", text="second")
    assert second.stdout.readline() == "waits\n"
    (store.root.parent / "go").touch()
    said = (finish(first), finish(second))
    assert (said, log_of(store)) == (((["made"], 0), (["hit"], 0)), ["first"])


def test_racing_processes_make_once(store, start):
    racers = [start("plain", text=str(number)) for number in range(3)]
    said = sorted(finish(racer)[0][-1] for racer in racers)
    assert (said, len(log_of(store))) == (["hit", "hit", "made"], 1)


def test_waiting_process_makes_it_itself_when_the_first_is_killed(store, start):
    first = start("slow", text="first")
    wait_for((store.root.parent / "started").exists)
    second = start("plain", text="second")
    second.stdout.readline()
    first.kill()
    finish(first)
    assert (finish(second)[0], store.get(KEY).file("prefix.bin").read_text(encoding="utf-8")) == (
        ["made"],
        "second",
    )


def test_kill_during_make_leaves_no_entry(store, start):
    _, code = finish(start("die in make"))
    assert (code, store.get(KEY), store.entries()) == (-signal.SIGKILL, None, [])


def test_kill_during_make_keeps_the_workdir(store, start, workdir):
    finish(start("die in make"))
    assert (workdir(KEY) / "step").read_text(encoding="utf-8") == "2"


def test_next_build_resumes_after_a_kill(store, start):
    finish(start("die in make"))
    finish(start("plain"))
    assert store.get(KEY).info["steps_made"] == [2]


def test_next_build_removes_what_the_killed_one_left(store, start):
    finish(start("die in make"))
    left = sorted(path.suffix for path in (store.root / "tmp").iterdir())
    finish(start("plain"))
    assert (left, list((store.root / "tmp").iterdir())) == ([".out", ".work"], [])


def test_kill_between_flush_and_rename_leaves_no_entry(store, start):
    _, code = finish(start("die before rename"))
    sealed = list((store.root / "tmp").glob("*.out/entry.json"))
    assert (code, len(sealed), store.get(KEY)) == (-signal.SIGKILL, 1, None)


def test_next_build_succeeds_after_a_kill_between_flush_and_rename(store, start):
    finish(start("die before rename", text="first"))
    finish(start("plain", text="second"))
    assert store.get(KEY).file("prefix.bin").read_text(encoding="utf-8") == "second"


def test_next_build_puts_the_old_entry_back_after_a_kill_in_the_middle_of_a_forced_one(
    store, start
):
    finish(start("plain", text="old"))
    _, code = finish(start("die between renames", text="new"))
    absent = store.get(KEY)
    said, _ = finish(start("plain", text="third"))
    text = store.get(KEY).file("prefix.bin").read_text(encoding="utf-8")
    assert (code, absent, said, text) == (-signal.SIGKILL, None, ["hit"], "old")


def test_gc_leaves_alone_what_a_running_process_makes(store, start, now):
    process = start("slow")
    wait_for((store.root.parent / "started").exists)
    plan = store.gc_plan(now, 0)
    (store.root.parent / "go").touch()
    assert (plan, finish(process)[0]) == ([], ["made"])


def test_gc_run_leaves_alone_what_was_locked_after_the_plan(store, start, now):
    finish(start("die in make"))
    plan = store.gc_plan(now, 0)
    process = start("slow")
    wait_for((store.root.parent / "started").exists)
    freed_bytes = store.gc_run(plan)
    (store.root.parent / "go").touch()
    assert (len(plan), freed_bytes, finish(process)[0]) == (2, 0, ["made"])


def test_importing_the_store_loads_no_heavy_library():
    source = Path(prefixbank.__file__).parents[1]
    code = (
        "import sys; import prefixbank.store, prefixbank.env; "
        "print(sorted({'torch','transformers','datasets','hydra','numpy','pydantic'} & "
        "set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(source)},
    )
    assert done.stdout == "[]\n"
