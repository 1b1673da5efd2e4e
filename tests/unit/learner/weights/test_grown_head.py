"""A head that grows: the old answers stay, the new row begins where its label's documents lie."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, LlamaConfig, RobertaConfig

from learner.weights.grown_head import (
    BELOW,
    GrownRows,
    HeadCannotGrow,
    find_head,
    grow,
    head_inputs,
    imprint,
    with_rows_of,
)
from tests.unit.learner import tiny

SIZES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def roberta() -> Any:
    """A head of two layers."""
    config = RobertaConfig(vocab_size=99, max_position_embeddings=64, pad_token_id=0, **SIZES)
    config.num_labels = 3
    return AutoModelForSequenceClassification.from_config(config)


def llama() -> Any:
    """A head without a bias, at every place."""
    config = LlamaConfig(vocab_size=99, pad_token_id=0, num_key_value_heads=2, **SIZES)
    config.num_labels = 3
    return AutoModelForSequenceClassification.from_config(config)


MODELS: list[Callable[[], Any]] = [tiny.bert, roberta, llama]


def documents(count: int, first: int) -> list[dict[str, Tensor]]:
    """Documents of few different tokens."""
    chance = torch.Generator().manual_seed(first)
    return [{"input_ids": torch.randint(first, first + 5, (1, 9), generator=chance)} for _ in range(count)]


def imprinted(model: Any) -> tuple[GrownRows, list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """A row for one new label, its documents, and others."""
    own, others = documents(20, 6), documents(20, 20)
    return imprint(model, ["hail"], [head_inputs(model, own)], head_inputs(model, others)), own, others


@pytest.mark.parametrize("make", MODELS)
def test_the_old_answers_stay_and_the_new_one_has_a_name(make: Callable[[], Any]) -> None:
    """Logits of the labels that it had are the same, but for the order in which a wider layer adds up."""
    torch.manual_seed(1)
    model = make().eval()
    rows, own, others = imprinted(model)
    before = [model(**each).logits[0] for each in (*own, *others)]
    names = list(model.config.id2label.values())
    grow(model, rows)
    after = [model(**each).logits[0] for each in (*own, *others)]
    assert all(torch.allclose(new[:3], old, atol=1e-6) for new, old in zip(after, before, strict=True))
    assert list(model.config.id2label.values()) == [*names, "hail"]
    assert model.config.num_labels == 4
    assert model(**own[0], labels=torch.tensor([3])).loss.isfinite()


@pytest.mark.parametrize("make", MODELS[:2])
def test_a_new_row_begins_where_its_documents_lie(make: Callable[[], Any]) -> None:
    """In the mean of its own it is as high as the best other, in that of the others BELOW beneath."""
    torch.manual_seed(2)
    model = make().eval()
    # Rows that are far enough apart for the new one to be so too.
    find_head(model)[1].weight.data.mul_(3000)
    rows, own, others = imprinted(model)
    ours, theirs = head_inputs(model, own).mean(0), head_inputs(model, others).mean(0)
    grow(model, rows)
    _, head = find_head(model)
    high, low = head(ours), head(theirs)
    assert high[3].item() == pytest.approx(high[:3].max().item(), abs=1e-3)
    assert low[3].item() == pytest.approx(low[:3].max().item() - BELOW, abs=1e-3)


def test_a_new_row_is_no_further_out_than_the_others() -> None:
    """However near its documents lie to the rest, so that training can move it; the others are safe from it as well."""
    torch.manual_seed(2)
    model = tiny.bert().eval()
    rows, _, others = imprinted(model)
    weight = model.classifier.weight
    apart = (weight - weight.mean(0)).norm(dim=1).max()
    assert (rows.weights["classifier.weight"][0] - weight.mean(0)).norm() <= apart * 1.001
    theirs = head_inputs(model, others).mean(0)
    grow(model, rows)
    low = model.classifier(theirs)
    assert low[3].item() == pytest.approx(low[:3].max().item() - BELOW, abs=1e-3)


def test_what_the_head_is_given_is_what_it_answers_by() -> None:
    """Also where it reads every place of a document."""
    for make in MODELS:
        model = make().eval()
        (document,) = documents(1, 6)
        _, head = find_head(model)
        assert torch.allclose(head(head_inputs(model, [document]))[0], model(**document).logits[0], atol=1e-5)


def test_without_documents_a_row_is_the_mean_of_the_others() -> None:
    """Nothing says where it should lie."""
    model = tiny.bert()
    none = head_inputs(model, [])
    rows = imprint(model, ["hail"], [none], none)
    assert torch.allclose(rows.weights["classifier.weight"][0], model.classifier.weight.mean(0), atol=1e-6)


def test_weights_of_before_get_the_further_rows_of_another() -> None:
    """Such rows matter to nothing yet."""
    model = tiny.bert()
    rows, _, _ = imprinted(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    grow(model, rows)
    after = dict(model.named_parameters())
    widened = with_rows_of(before, {name: torch.zeros_like(value) for name, value in after.items()})
    assert torch.equal(widened["classifier.weight"][:3], before["classifier.weight"])
    assert not widened["classifier.weight"][3:].any()


def test_a_head_without_a_row_for_each_label_cannot_grow() -> None:
    """The message names the model."""
    model = tiny.bert()
    model.config.num_labels = 7
    with pytest.raises(HeadCannotGrow, match="BertForSequenceClassification"):
        find_head(model)
