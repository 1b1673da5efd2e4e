"""Where a request is silent, the model's own generation_config speaks."""

from typing import Any

import pytest
import structlog
from transformers import GenerationConfig

from serving.answers.openai import CompletionRequest
from serving.engine.defaults import Defaults
from serving.engine.sampling import Sampling


def defaults(**said: Any) -> Defaults:
    """Those of a model whose file says that."""
    return Defaults.of(GenerationConfig(**said))


def asked(**said: Any) -> CompletionRequest:
    """A request."""
    return CompletionRequest(prompt="a", **said)  # type: ignore[arg-type]  # read as JSON is


def test_a_model_that_says_nothing_leaves_openais_defaults() -> None:
    """Temperature and nucleus 1, no penalty."""
    for config in (GenerationConfig(), GenerationConfig(eos_token_id=[1, 2]), None):
        assert asked().sampling(Defaults.of(config)) == Sampling()


def test_what_the_model_says_holds_where_the_request_is_silent() -> None:
    """Field by field."""
    model = defaults(do_sample=True, temperature=0.6, top_p=0.9, top_k=20, min_p=0.1, repetition_penalty=1.2)
    assert asked().sampling(model) == Sampling(0.6, 0.9, None, 20, 0.1, 1.2)
    said = asked(temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0)
    assert said.sampling(model) == Sampling(0.0)
    assert asked(top_k=5).sampling(model) == Sampling(0.6, 0.9, None, 5, 0.1, 1.2)


def test_a_model_that_is_not_to_be_drawn_from_is_greedy() -> None:
    """Until a request names a temperature."""
    model = defaults(do_sample=False, temperature=0.6)
    assert asked().sampling(model).temperature == 0
    assert asked(temperature=0.7).sampling(model).temperature == 0.7
    assert asked(top_p=0.9).sampling(model).temperature == 0


@pytest.mark.parametrize(
    "said",
    [
        {"temperature": -1.0}, {"temperature": float("nan")}, {"temperature": "hot"}, {"top_p": 5.0}, {"top_p": True},
        {"top_k": 2.5}, {"top_k": -5}, {"min_p": 2.0}, {"repetition_penalty": 0.0}, {"max_new_tokens": 0},
    ],
)  # fmt: skip
def test_what_cannot_be_is_left_out_with_a_warning(said: dict[str, Any]) -> None:
    """A request must not fail for it."""
    config = GenerationConfig()
    vars(config).update(said)
    with structlog.testing.capture_logs() as logs:
        assert Defaults.of(config) == Defaults()
    assert logs[0]["out_of_range"] == list(said)


def test_what_is_not_followed_is_said_once() -> None:
    """At loading; what is set to its usual value is not spoken of."""
    with structlog.testing.capture_logs() as logs:
        defaults(no_repeat_ngram_size=3, num_beams=4, typical_p=1.0, suppress_tokens=[5])
        defaults(no_repeat_ngram_size=0, num_beams=1)
    assert [sorted(log["not_supported"]) for log in logs] == [["no_repeat_ngram_size", "num_beams", "suppress_tokens"]]


def test_the_length_of_an_answer_is_read() -> None:
    """`max_new_tokens`; `max_length` counts the prompt and is not."""
    assert defaults(max_new_tokens=7).max_new_tokens == 7
    assert defaults(max_length=20).max_new_tokens is None
