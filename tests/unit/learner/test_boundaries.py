"""Packed documents and what a model makes of them."""

from types import SimpleNamespace
from typing import Any

import torch

from learner.boundaries import keeps_documents_apart
from tests.unit.learner import tiny


class IgnoresPositions(torch.nn.Module):
    """A model that sees one long text whatever its positions say."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.device = inner, inner.device
        self.get_input_embeddings = inner.get_input_embeddings

    def forward(self, input_ids: Any, position_ids: Any, use_cache: bool) -> SimpleNamespace:
        """Leave positions out."""
        return SimpleNamespace(logits=self.inner(input_ids=input_ids, use_cache=use_cache).logits)


class TakesNoPositions(IgnoresPositions):
    """A model without the argument."""

    def forward(self, input_ids: Any, use_cache: bool) -> SimpleNamespace:  # type: ignore[override]  # names what it is given
        """Know nothing of positions."""
        return SimpleNamespace(logits=self.inner(input_ids=input_ids, use_cache=use_cache).logits)


def test_llama_keeps_packed_documents_apart() -> None:
    """Restarting positions are enough for it."""
    assert keeps_documents_apart(tiny.llama().eval())


def test_model_that_ignores_positions_is_found_out() -> None:
    """Its second document depends on the first."""
    assert not keeps_documents_apart(IgnoresPositions(tiny.llama().eval()))


def test_model_without_positions_is_found_out() -> None:
    """It counts them itself, so it cannot restart."""
    assert not keeps_documents_apart(TakesNoPositions(tiny.llama().eval()))
