"""Exponentials of many values have the bits of `math.exp`, however they are worked out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.runtimes import exponentials as it

FLOATS = st.floats(allow_nan=False, width=64)


def _bits(values: np.ndarray) -> list[int]:
    return values.view(np.int64).tolist()


@given(st.lists(FLOATS, min_size=1, max_size=60))
def test_many_have_the_bits_of_each(values: list[float]) -> None:
    many = np.resize(np.array(values), it.MANY)
    assert _bits(it.exponentials(many)) == _bits(np.array([it.exponential(value) for value in many.tolist()]))
    each = [1.0 / (1.0 + it.exponential(-value)) for value in many.tolist()]
    assert _bits(it.logistics(many)) == _bits(np.array(each))


def test_the_shape_stays() -> None:
    many = np.arange(it.MANY * 3, dtype=np.float64).reshape(-1, 3) / it.MANY
    assert it.exponentials(many).shape == many.shape
    assert it.exponentials(many)[7, 2] == math.exp(many[7, 2])
    assert it.logistics(many[:, :1]).shape == (it.MANY, 1)


def test_a_library_that_differs_in_one_bit_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.special

    right = scipy.special.expit
    monkeypatch.setattr(scipy.special, "expit", lambda values: np.nextafter(right(values), 1.0))
    it._of_many.cache_clear()
    try:
        powers, shares = it._of_many()
        assert powers is not None and shares is None
        many = np.linspace(-5, 5, it.MANY)
        assert _bits(it.logistics(many)) == _bits(np.array([1.0 / (1.0 + math.exp(-v)) for v in many.tolist()]))
    finally:
        it._of_many.cache_clear()
