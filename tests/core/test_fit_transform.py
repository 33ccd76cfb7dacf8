"""Linear transforms against scikit-learn, faiss, plain loops and finite differences."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA

from prefixbank.choices import Transform
from prefixbank.core import fit_transform as module
from prefixbank.core.fit_transform import (
    ALTERNATIONS,
    check_size,
    fit_transform,
    itq_rotation,
    random_rotation,
)
from prefixbank.core.quantize import calibrate, share_near
from prefixbank.core.transform import ROWS, LinearTransform, transformed
from prefixbank.errors import DataError, UsageError

KINDS = get_args(Transform)
ROWS_OF_SAMPLE, FEATURES = 400, 12


def sample(rows: int = ROWS_OF_SAMPLE, features: int = FEATURES, seed: int = 0) -> np.ndarray:
    """Correlated features with means of their own."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, features)) @ rng.normal(size=(features, features))
    return (mixed + rng.normal(size=features)).astype(np.float32)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 200)


def test_transform_is_a_product_of_vectors_less_the_mean():
    rng = np.random.default_rng(1)
    vectors, mean, matrix = (
        rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,), (4, 2))
    )
    found = LinearTransform(mean=mean, matrix=matrix)(vectors)
    for row in range(3):
        for column in range(2):
            terms = [
                (float(vectors[row, one]) - float(mean[one])) * float(matrix[one, column])
                for one in range(4)
            ]
            assert found[row, column] == pytest.approx(sum(terms), rel=1e-6)


def test_transform_of_a_row_does_not_depend_on_the_others():
    vectors = sample(ROWS + 7)
    transform = fit_transform("rotation", vectors, 0, 0)
    whole = transform(vectors)
    assert whole.shape == vectors.shape and whole.dtype == np.float32
    assert np.array_equal(whole[-9:], transform(vectors[-9:]))


def test_pieces_of_a_vector_are_transformed_by_themselves():
    vectors = sample()
    first = fit_transform("rotation", vectors[:, :5], 3, 0)
    second = fit_transform("pca", vectors[:, 5:], 4, 0)
    found = transformed(vectors, (first, second))
    assert np.array_equal(found, np.hstack([first(vectors[:, :5]), second(vectors[:, 5:])]))
    assert transformed(vectors, ()) is vectors
    with pytest.raises(ValueError, match="size 11"):
        transformed(vectors[:, 1:], (first, second))


def test_pca_is_that_of_sklearn_up_to_signs():
    vectors = sample()
    expected = PCA(n_components=5, svd_solver="full").fit(vectors.astype(np.float64))
    found = fit_transform("pca", vectors, 5, 0)
    signs = np.sign((found.matrix * expected.components_.T).sum(axis=0))
    np.testing.assert_allclose(found.matrix * signs, expected.components_.T, atol=1e-5)
    np.testing.assert_allclose(
        found(vectors) * signs, expected.transform(vectors.astype(np.float64)), atol=1e-4
    )


def test_largest_component_of_a_principal_direction_is_positive():
    matrix = fit_transform("pca", sample(), 0, 0).matrix
    assert all(column[np.abs(column).argmax()] > 0 for column in matrix.T)


@pytest.mark.parametrize("size", [3, 12, 30])
def test_columns_of_a_rotation_are_orthonormal_in_each_block(size: int):
    matrix = random_rotation(FEATURES, size, 3)
    assert matrix.shape == (FEATURES, size)
    for start in range(0, size, FEATURES):
        block = matrix[:, start : start + FEATURES]
        np.testing.assert_allclose(block.T @ block, np.eye(block.shape[1]), atol=1e-12)


def test_rotation_keeps_distances():
    vectors = sample(20)
    turned = fit_transform("rotation", vectors, 0, 5)(vectors)
    for one, other in ((0, 1), (3, 17)):
        assert np.linalg.norm(turned[one] - turned[other]) == pytest.approx(
            float(np.linalg.norm(vectors[one] - vectors[other])), rel=1e-5
        )


def sign_error(vectors: np.ndarray, rotation: np.ndarray) -> float:
    """What ITQ minimises: the mean squared distance of rotated vectors from their signs."""
    values = vectors @ rotation
    return float(np.square(np.where(values < 0, -1.0, 1.0) - values).mean())


def test_itq_is_that_of_scipy_procrustes():
    vectors = sample().astype(np.float64)
    vectors -= vectors.mean(axis=0)
    start = rotation = random_rotation(FEATURES, FEATURES, 0)
    for _ in range(ALTERNATIONS):
        signs = np.where(vectors @ rotation < 0, -1.0, 1.0)
        rotation, _ = orthogonal_procrustes(vectors, signs)
    np.testing.assert_allclose(itq_rotation(vectors, start), rotation, atol=1e-9)


def test_error_of_itq_never_rises_and_ends_below_that_of_faiss(monkeypatch):
    """faiss 1.15 begins with the same error, and ends with a larger one.

    Of V' B = U S W' it takes U W for the next rotation. The one with the least error is U W', which
    unlike the other does not depend on the signs of the singular vectors.
    """
    faiss = pytest.importorskip("faiss")
    vectors = sample()
    vectors = ((vectors - vectors.mean(axis=0)) / vectors.std()).astype(np.float32)
    start = random_rotation(FEATURES, FEATURES, 0)

    def of_faiss(alternations: int) -> np.ndarray:
        peer = faiss.ITQMatrix(FEATURES)
        peer.max_iter = alternations
        faiss.copy_array_to_vector(start.ravel(), peer.init_rotation)
        peer.train(vectors)
        rows: np.ndarray = faiss.vector_to_array(peer.A).reshape(FEATURES, FEATURES)
        return rows.T

    def ours(alternations: int) -> np.ndarray:
        monkeypatch.setattr(module, "ALTERNATIONS", alternations)
        return itq_rotation(vectors.astype(np.float64), start)

    np.testing.assert_allclose(of_faiss(0), ours(0), atol=1e-6)
    errors = [sign_error(vectors, ours(count)) for count in (0, 1, 2, 5, 20, 50)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < sign_error(vectors, of_faiss(50))


def test_itq_is_that_of_plain_loops(monkeypatch):
    monkeypatch.setattr(module, "ALTERNATIONS", 3)
    vectors, rotation = sample(30, 2).astype(np.float64), random_rotation(2, 2, 1)
    vectors -= vectors.mean(axis=0)
    found = itq_rotation(vectors, rotation)
    for _ in range(3):
        product = np.zeros((2, 2))
        for row in vectors:
            turned = [sum(row[k] * rotation[k, d] for k in range(2)) for d in range(2)]
            for k in range(2):
                for d in range(2):
                    product[k, d] += row[k] * (-1.0 if turned[d] < 0 else 1.0)
        # The orthogonal matrix nearest to M is M (M'M)^(-1/2).
        values, basis = np.linalg.eigh(product.T @ product)
        rotation = product @ basis @ np.diag(values**-0.5) @ basis.T
    np.testing.assert_allclose(found, rotation, atol=1e-9)


def test_itq_brings_vectors_nearer_to_their_signs():
    vectors = sample() / 3
    centred = vectors - vectors.mean(axis=0)
    pca, itq = (fit_transform(kind, vectors, 0, 0).matrix for kind in ("pca", "itq"))
    np.testing.assert_allclose(itq.T @ itq, np.eye(FEATURES), atol=1e-5)
    turned = pca @ random_rotation(FEATURES, FEATURES, 0)
    assert sign_error(centred, itq) < min(sign_error(centred, one) for one in (pca, turned))


@pytest.mark.parametrize("size", [6, 30])
def test_autoencoder_finds_vectors_better_than_the_rotation_it_starts_from(quick, size: int):
    vectors, held_out = np.split(sample(), [300])

    def error(kind: Transform) -> float:
        transform = fit_transform(kind, vectors, size, 2)
        signs, others = (
            np.c_[np.where(transform(one) > 0, 1.0, -1.0), np.ones(len(one))]
            for one in (vectors, held_out)
        )
        decoder = np.linalg.lstsq(signs, vectors, rcond=None)[0]
        return float(np.square(held_out - others @ decoder).mean())

    assert error("autoencoder") < 0.95 * error("rotation")


@pytest.mark.parametrize("kind", KINDS)
def test_same_sample_gives_the_same_transform_whatever_the_threads(quick, kind: Transform):
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(fit_transform(kind, sample(), 6, 4))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    first, second = found
    assert np.array_equal(first.matrix, second.matrix) and np.array_equal(first.mean, second.mean)
    assert first.matrix.shape == (FEATURES, 6) and first.matrix.dtype == np.float32
    other = fit_transform(kind, sample(), 6, 5)
    assert np.array_equal(first.matrix, other.matrix) == (kind == "pca")


@pytest.mark.parametrize("kind", KINDS)
def test_size_zero_keeps_the_number_of_features(quick, kind: Transform):
    assert fit_transform(kind, sample(), 0, 0).matrix.shape == (FEATURES, FEATURES)


def test_sample_without_variance_is_transformed_to_zero(quick):
    same = np.full((9, 3), 0.1, np.float32)
    for kind in ("rotation", "autoencoder"):
        assert not fit_transform(kind, same, 0, 0)(same).any()


@pytest.mark.parametrize("kind", ["pca", "itq"])
def test_more_features_than_there_are_are_refused(kind: Transform):
    with pytest.raises(UsageError, match="transform_size=13 on vectors of 12 features"):
        fit_transform(kind, sample(), 13, 0)
    for other in ("rotation", "autoencoder"):
        check_size(other, 13, features=12, rows=1)


@pytest.mark.parametrize("kind", ["pca", "itq"])
@pytest.mark.parametrize(("size", "wanted"), [(0, 12), (5, 5)])
def test_fewer_rows_than_features_are_refused(kind: Transform, size: int, wanted: int):
    with pytest.raises(DataError, match=f"to {wanted} features, fitted on {wanted} rows") as fault:
        fit_transform(kind, sample(wanted), size, 0)
    assert f"transform_size={wanted - 1} " in fault.value.fix
    assert fit_transform(kind, sample(wanted + 1), size, 0).matrix.shape == (12, wanted)
    with pytest.raises(DataError) as fault:
        check_size(kind, size, features=12, rows=1)
    assert "transform_size" not in fault.value.fix


def test_share_near_counts_small_margins():
    vectors, threshold = sample(50, 3), np.array([0.1, 0.0, -0.2], np.float32)
    vectors[7, 1] = vectors[9, 2] + 0.2  # far
    vectors[3, 0] = 0.1 + 1e-5
    vectors[4, 1] = -1e-5
    deviations = [np.std(vectors[:, one].astype(np.float64)) for one in range(3)]
    spread = (sum(one**2 for one in deviations) / 3) ** 0.5
    near = sum(
        abs(float(vectors[row, one]) - float(threshold[one])) < 1e-4 * spread
        for row in range(50)
        for one in range(3)
    )
    assert near >= 2 and share_near(vectors, threshold) == pytest.approx(near / 150)


def test_bits_after_a_transform_are_split_at_zero():
    vectors = sample()
    transform = fit_transform("rotation", vectors, 0, 0)
    plain = calibrate(vectors)
    after = calibrate(transform(vectors), (transform,), bits="median")
    assert np.array_equal(plain.threshold("median"), plain.median) and plain.near_threshold is None
    assert not after.threshold("median").any()
    assert after.near_threshold == share_near(transform(vectors), np.zeros(FEATURES, np.float32))


@pytest.mark.parametrize("kind", ["pca", "itq"])
def test_directions_without_variance_are_no_features(kind: Transform):
    two = np.repeat(sample(2), 30, axis=0)
    with pytest.raises(DataError, match="vary in 1 directions, for 2 principal ones") as caught:
        fit_transform(kind, two, 2, 0)
    assert caught.value.fix.startswith("transform_size=1 ")
    assert fit_transform(kind, two, 1, 0).matrix.shape == (FEATURES, 1)
    with pytest.raises(DataError, match="vary in 0 directions"):
        fit_transform(kind, np.ones((30, FEATURES), np.float32), 2, 0)
