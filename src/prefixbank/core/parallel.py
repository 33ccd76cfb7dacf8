"""Work of many small pieces on the cores of this machine.

One piece on each core, instead of one piece on all.

Most pieces are too small for several threads: they wait for each other more than they compute. And
what one thread computes does not depend, in its last bit, on how many cores there are.
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
"""Pieces waiting for each worker, so that none stands idle and few are held in memory."""


def parallel_map(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], workers: int
) -> Iterator[Result]:
    """Yield `function(piece)` for each piece, in order.

    Computed by `workers` threads with one thread of torch each.

    What is thread-local in torch (autocast, inference mode) has to be entered in `function`. An
    error ends all; so does leaving the loop.

    Args:
        function: what to do; torch leaves the interpreter's lock free while it computes.
        pieces: taken from this thread, no more than a few ahead.
        workers: 0 computes in this thread, as an accelerator wants it.
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
        # What a worker sets is also what threads made later begin with.
        torch.set_num_threads(threads)
