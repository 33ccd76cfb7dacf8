"""Vectors in fewer bytes, against sentence-transformers' definition and bit by bit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from prefixbank.choices import VectorType
from prefixbank.core.quantize import (
    Calibration,
    bytes_per_vector,
    calibrate,
    dequantize,
    needs_calibration,
    quantize,
)

SAMPLE = np.random.default_rng(0).normal(size=(500, 20)).astype(np.float32) * np.linspace(
    0.1, 5, 20, dtype=np.float32
)
CALIBRATION = calibrate(SAMPLE)
KINDS = get_args(VectorType)


def there_and_back(
    vectors: np.ndarray, kind: VectorType, calibration: Calibration = CALIBRATION
) -> np.ndarray:
    return dequantize(
        quantize(vectors, kind, calibration, "median"), kind, calibration, vectors.shape[1]
    )


def test_calibration_is_least_greatest_and_median_of_each_feature():
    assert np.array_equal(CALIBRATION.low, [min(column) for column in SAMPLE.T.tolist()])
    assert np.array_equal(CALIBRATION.high, [max(column) for column in SAMPLE.T.tolist()])
    middle = [sorted(column)[249:251] for column in SAMPLE.astype(np.float64).T.tolist()]
    np.testing.assert_allclose(CALIBRATION.median, [sum(two) / 2 for two in middle], rtol=1e-6)


def test_float32_is_stored_as_it_is():
    assert quantize(SAMPLE, "float32", None, "median") is SAMPLE


def test_float16_is_the_nearest_and_never_infinite():
    assert np.array_equal(quantize(SAMPLE, "float16", None, "median"), SAMPLE.astype(np.float16))
    assert np.isfinite(
        quantize(np.array([[1e6, -1e6]], np.float32), "float16", None, "median")
    ).all()


def test_int8_is_off_by_half_a_level_at_most():
    level = (CALIBRATION.high - CALIBRATION.low) / 256
    assert (np.abs(there_and_back(SAMPLE, "int8") - SAMPLE) <= level * 0.501).all()


def test_int8_uses_all_levels():
    stored = quantize(SAMPLE, "int8", CALIBRATION, "median")
    assert (
        stored.dtype == np.int8
        and set(stored.min(axis=0)) == {-128}
        and set(stored.max(axis=0)) == {127}
    )


def test_value_beyond_the_range_gets_its_end():
    far = np.stack([CALIBRATION.low - 100, CALIBRATION.high + 100])
    assert quantize(far, "int8", CALIBRATION, "median").tolist() == [[-128] * 20, [127] * 20]


def test_feature_that_never_varied_keeps_its_value():
    sample = np.full((4, 3), 0.02, np.float32)
    assert np.array_equal(there_and_back(sample, "int8", calibrate(sample)), sample)


@pytest.mark.parametrize("threshold", ["median", "zero"])
def test_first_feature_is_the_highest_bit_of_the_first_byte(threshold):
    limits = CALIBRATION.median if threshold == "median" else np.zeros(20)
    stored = quantize(SAMPLE[:50], "binary", CALIBRATION, threshold)
    for row, packed in zip(SAMPLE[:50].tolist(), stored.tolist(), strict=True):
        bits = [int(value > limit) for value, limit in zip(row, limits.tolist(), strict=True)] + [
            0
        ] * 4
        assert packed == [
            sum(bit << (7 - place) for place, bit in enumerate(bits[start : start + 8]))
            for start in (0, 8, 16)
        ]


def test_bits_come_back_as_one_and_minus_one():
    back = there_and_back(SAMPLE, "binary")
    assert back.dtype == np.float32 and np.array_equal(
        back, np.where(SAMPLE > CALIBRATION.median, 1.0, -1.0)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("features", [8, 20])
def test_bytes_per_vector_are_those_stored(kind: VectorType, features: int):
    stored = quantize(SAMPLE[:, :features], kind, calibrate(SAMPLE[:, :features]), "median")
    assert stored.nbytes == 500 * bytes_per_vector(kind, features)


def test_binary_is_sixteen_times_smaller_than_float16():
    assert bytes_per_vector("float16", 384) == 16 * bytes_per_vector("binary", 384)


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_is_asked_for_where_it_is_needed(kind: VectorType):
    if needs_calibration(kind):
        with pytest.raises(ValueError, match="calibration"):
            quantize(SAMPLE, kind, None, "median")
    else:
        assert quantize(SAMPLE, kind, None, "median").shape == SAMPLE.shape
