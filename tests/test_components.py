"""The search for first eigenvectors, on matrices whose eigenvectors are known."""

import pytest
import torch

from camviz.methods import principal_components
from camviz.methods.principal_components import first_eigenvectors


def known_matrix(size, values, seed=3):
    """A symmetric matrix with the given eigenvalues, float64 (size, size), and its eigenvectors in the same order."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return basis @ torch.diag(values) @ basis.mT, basis


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9, 0.999, 1.0])
def test_first_eigenvectors_however_close_the_second(ratio):
    """Matrices with known eigenvectors; where the two largest eigenvalues are one, any of their plane will do."""
    sizes = [150, 2, 48, 5, 49, 150]
    known = []
    for number, size in enumerate(sizes):
        values = torch.linspace(0, 0.5 * ratio, size, dtype=torch.float64)
        values[-2:] = torch.tensor([ratio, 1])
        known.append(known_matrix(size, values / values.sum(), seed=number))
    found = first_eigenvectors([gram.float() for gram, _ in known])
    assert [len(vector) for vector in found] == sizes
    for vector, (gram, basis) in zip(found, known, strict=True):
        vector = vector.double()
        assert abs(vector.norm() - 1) < 1e-6
        if ratio == 1:
            largest = torch.linalg.eigvalsh(gram)[-1]
            assert (vector - gram @ vector / largest).norm() < 1e-5
        else:
            assert (basis[:, :-1].mT @ vector).norm() < 1e-5 / (1 - ratio)  # the sine of the angle between


def test_first_eigenvectors_that_krylov_steps_do_not_reach(monkeypatch):
    """Where no round gets there, LAPACK does it."""
    monkeypatch.setattr(principal_components, "_ROUNDS", 1)
    values = torch.linspace(0.999, 1, 150, dtype=torch.float64)
    gram, basis = known_matrix(150, values / values.sum())
    vectors, exact = principal_components._krylov_round([gram], [principal_components._irregular(150, torch.float64)])
    assert exact == [False]
    assert abs(vectors[0] @ basis[:, -1]) < 0.9
    assert abs(first_eigenvectors([gram])[0] @ basis[:, -1]) > 1 - 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [40, 150])
@pytest.mark.parametrize("lacking", ["column", "given"])
def test_first_eigenvectors_that_half_of_the_beginning_lacks(lacking, size, dtype):
    """The search begins with the diagonal, here nearly the column of its largest, and a given vector: one is enough."""
    generator = torch.Generator().manual_seed(5)
    basis = torch.randn(size, size, generator=generator, dtype=torch.float64)
    if lacking == "column":  # the second eigenvector is nearly the first axis alone
        basis[0, :2] = torch.tensor([0.0, 100.0])
    else:
        given = principal_components._irregular(size, torch.float64)
        basis[:, 0] -= given * (given @ basis[:, 0])
    basis = torch.linalg.qr(basis).Q
    values = torch.linspace(0.3, 0, size, dtype=torch.float64)
    values[:2] = torch.tensor([1, 0.9])
    gram = basis @ torch.diag(values / values.sum()) @ basis.mT
    if lacking == "column":
        assert gram.diagonal().argmax() == 0
        assert abs(gram[:, 0] @ basis[:, 0]) < 1e-9
    else:
        assert abs(given @ basis[:, 0]) < 1e-9
    (found,) = first_eigenvectors([gram.to(dtype)])
    assert abs(found.double() @ basis[:, 0]) > 1 - 1e-6
