"""A map over many small pieces of work, one piece on each core instead of one piece on all.

Most pieces are too small for several threads, which would wait for each other more than they
compute. Results of one thread do not depend on the number of cores, not even in their last bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")

AHEAD = 2
"""Pieces queued for each worker: enough that none is idle, few enough for memory."""


def parallel_map(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], workers: int
) -> Iterator[Result]:
    """Yield `function(piece)` for each piece, in order.

    `workers` threads compute them, with one torch thread each. What is thread-local in torch
    (autocast, inference mode) has to be entered in `function`. An error, or leaving the loop, stops
    all workers.

    Args:
        function: what to do; torch releases the interpreter's lock while it computes.
        pieces: iterated in this thread, a few pieces ahead.
        workers: number of threads; 0 computes in this thread, as suits an accelerator.
    """
    if workers == 0:
        yield from map(function, pieces)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="embed", initializer=torch.set_num_threads, initargs=(1,)
    )
    waiting: deque[Future[Result]] = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # Threads that are made later would start with what a worker has set.
        torch.set_num_threads(threads)
