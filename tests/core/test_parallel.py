"""Pieces of work on several cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from prefixbank.core.parallel import AHEAD, parallel_map


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order(workers: int):
    def late(number: int) -> int:
        time.sleep(0.01 if number % 3 == 0 else 0.0)
        return number * number

    assert list(parallel_map(late, range(20), workers)) == [number * number for number in range(20)]


def test_workers_compute_at_the_same_time():
    meeting = threading.Barrier(3, timeout=20)
    assert len(set(parallel_map(lambda _: meeting.wait(), range(3), 3))) == 3


def test_each_worker_has_one_thread_of_torch_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    assert set(parallel_map(lambda _: torch.get_num_threads(), range(6), 2)) == {1}
    seen = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert torch.get_num_threads() == before and seen == [before]


def test_few_pieces_are_taken_ahead():
    taken = []

    def pieces() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    results = parallel_map(lambda number: number, pieces(), 2)
    assert next(results) == 0 and len(taken) <= 2 * AHEAD + 1
    results.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_error_of_a_piece_ends_all(workers: int):
    done = []

    def fail(number: int) -> None:
        if number == 3:
            raise RuntimeError("no memory")
        done.append(number)

    with pytest.raises(RuntimeError, match="no memory"):
        list(parallel_map(fail, range(1000), workers))
    assert len(done) < 100


def test_error_of_the_source_ends_all():
    def pieces() -> Iterator[int]:
        yield 1
        raise ValueError("row 2")

    with pytest.raises(ValueError, match="row 2"):
        list(parallel_map(lambda number: number, pieces(), 2))
