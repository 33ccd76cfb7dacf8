from __future__ import annotations

import fcntl
import threading

import pytest

from prefixbank.errors import StoreError
from prefixbank.store.locks import is_locked, lock, lock_if_free


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def second(path, monkeypatch):
    """A thread that opens the lock file, then waits for `released` before it asks for the lock, and
    keeps it until the test ends.
    """
    opened, released, has_it, may_go = (threading.Event() for _ in range(4))
    flock = fcntl.flock

    def slow_flock(descriptor, operation):
        if operation == fcntl.LOCK_EX:
            opened.set()
            released.wait(30)
        flock(descriptor, operation)

    def hold():
        with lock(path, root=path.parent):
            has_it.set()
            may_go.wait(30)

    monkeypatch.setattr(fcntl, "flock", slow_flock)
    thread = threading.Thread(target=hold)
    yield thread, opened, released, has_it
    may_go.set()
    thread.join(30)


def test_lock_is_held_by_one_at_a_time(path):
    with lock(path, root=path.parent), lock_if_free(path, root=path.parent) as is_held:
        assert is_held is False


def test_lock_is_free_after_its_body(path):
    with lock(path, root=path.parent):
        pass
    with lock_if_free(path, root=path.parent) as is_held:
        assert is_held is True


def test_lock_is_free_after_an_error_in_its_body(path):
    with pytest.raises(KeyError), lock(path, root=path.parent):
        raise KeyError
    assert is_locked(path) is False


def test_lock_removes_its_file(path):
    with lock(path, root=path.parent):
        pass
    assert not path.exists()


def test_lock_does_not_call_on_wait_when_free(path):
    calls = []
    with lock(path, root=path.parent, on_wait=lambda: calls.append(1)):
        assert calls == []


def test_waiting_holder_excludes_a_third_although_the_first_removed_the_file(path, second):
    thread, opened, released, has_it = second
    with lock(path, root=path.parent):
        thread.start()
        assert opened.wait(30)
    released.set()
    assert has_it.wait(30)
    with lock_if_free(path, root=path.parent) as is_held:
        assert is_held is False


def test_is_locked_sees_a_holder(path):
    with lock(path, root=path.parent):
        assert is_locked(path) is True


def test_is_locked_leaves_no_file(path):
    assert (is_locked(path), path.exists()) == (False, False)


def test_is_locked_sees_no_holder_when_a_killed_one_left_the_file(path):
    path.touch()
    assert is_locked(path) is False


def test_lock_file_that_cannot_be_made_is_a_store_error(tmp_path):
    with pytest.raises(StoreError), lock(tmp_path / "absent" / "lock", root=tmp_path):
        raise AssertionError("the body must not run")
