"""Fixtures of the tests of `core`."""

from __future__ import annotations

import pytest
from transformers import BertModel

from tests.core.toys import new_bert


@pytest.fixture(scope="session")
def bert() -> BertModel:
    """A frozen random BERT with prefix attention; no test may change it."""
    return new_bert()
