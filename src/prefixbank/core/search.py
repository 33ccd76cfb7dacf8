"""Exact nearest neighbours by faiss, over vectors that come in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import faiss
import numpy as np

from prefixbank.core.unit_length import unit_length


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest rows of each query, nearest first.

    Args:
        rows: int64 [Q, k] row numbers, -1 where there are fewer than k.
        scores: float32 [Q, k], larger is nearer; -inf where there is no row.
    """

    rows: np.ndarray
    scores: np.ndarray

    def merged(self, other: Neighbours, k: int) -> Neighbours:
        """Return the k best of both; those of `self` win ties."""
        rows, scores = (
            np.concatenate([self.rows, other.rows], axis=1),
            np.concatenate([self.scores, other.scores], axis=1),
        )
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Neighbours(
            rows=np.take_along_axis(rows, order, axis=1),
            scores=np.take_along_axis(scores, order, axis=1),
        )


def nearest(queries: np.ndarray, pieces: Iterable[np.ndarray], k: int) -> Neighbours:
    """Return the rows with the greatest cosine.

    Args:
        queries: float32 [Q, F].
        pieces: float32 [N, F] each; rows are numbered across pieces.
        k: neighbours of each query.
    """
    units = unit_length(queries)
    best, first = _none(len(queries), k), 0
    for piece in pieces:
        scores, rows = faiss.knn(
            units, unit_length(piece), min(k, len(piece)), metric=faiss.METRIC_INNER_PRODUCT
        )
        best, first = (
            best.merged(Neighbours(rows=rows + first, scores=scores), k),
            first + len(piece),
        )
    return best


def nearest_bits(queries: np.ndarray, pieces: Iterable[np.ndarray], k: int) -> Neighbours:
    """Return the rows with the fewest differing bits; a score is minus that number.

    Args:
        queries: uint8 [Q, S] packed bits.
        pieces: uint8 [N, S] each.
        k: neighbours of each query.
    """
    best, first = _none(len(queries), k), 0
    for piece in pieces:
        distances, rows = faiss.knn_hamming(
            queries, np.ascontiguousarray(piece), min(k, len(piece))
        )
        nearest_here = Neighbours(
            rows=rows.astype(np.int64) + first, scores=-distances.astype(np.float32)
        )
        best, first = best.merged(nearest_here, k), first + len(piece)
    return best


def rescored(
    queries: np.ndarray, pieces: Iterable[np.ndarray], candidates: Neighbours, k: int
) -> Neighbours:
    """Return the k best of each query's candidates by cosine.

    Args:
        queries: float32 [Q, F].
        pieces: float32 [N, F] each, which hold the rows that `candidates` numbers.
        candidates: the rows to compare with each query.
        k: neighbours of each query.
    """
    units, first = unit_length(queries), 0
    scores = np.full(candidates.rows.shape, -np.inf, np.float32)
    for piece in pieces:
        query, rank = np.nonzero(
            (candidates.rows >= first) & (candidates.rows < first + len(piece))
        )
        picked = unit_length(piece[candidates.rows[query, rank] - first])
        scores[query, rank] = (units[query] * picked).sum(axis=1)
        first += len(piece)
    return _none(len(queries), k).merged(Neighbours(rows=candidates.rows, scores=scores), k)


def _none(queries: int, k: int) -> Neighbours:
    return Neighbours(
        rows=np.full((queries, k), -1, np.int64), scores=np.full((queries, k), -np.inf, np.float32)
    )
