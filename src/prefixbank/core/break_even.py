"""What it costs to serve N tasks on one text: one shared encoder, or one model for each task.

With an encoder that all tasks share, N tasks cost C_shared + N C_head; with a model for each task
they cost N C_one, its head included. So the shared encoder is cheaper from N* tasks on, where
N* = C_shared / (C_one - C_head).

Source: Du et al. 2020 (2004.14287), section 6.
"""

from __future__ import annotations


def head_operations(features: int, outputs: int) -> int:
    """Return the operations of a linear head [C, F] for one text."""
    return 2 * features * outputs


def total(encoder: float, head: float, tasks: int, *, is_shared: bool) -> float:
    """Return the cost of N tasks on one text.

    Args:
        encoder: cost of the encoder's pass.
        head: cost of one head.
        tasks: N.
        is_shared: whether the encoder serves all tasks, not one.
    """
    return encoder + tasks * head if is_shared else tasks * (encoder + head)


def break_even(shared: float, shared_head: float, one: float, one_head: float) -> float | None:
    """Return N*, the number of tasks from which a shared encoder costs less than one for each.

    Args:
        shared: cost of the shared encoder's pass.
        shared_head: cost of a head on its vectors.
        one: cost of the pass of a model for one task.
        one_head: cost of its head.
    Returns:
        The number, which may be a fraction; None: never, since a head on the shared vectors costs
        as much as the whole model for one task.
    """
    saved = one + one_head - shared_head
    return shared / saved if saved > 0 else None
