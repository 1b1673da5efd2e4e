"""A sequence-to-sequence model behind `/v1/completions`: an encoder reads the prompt, a decoder writes the answer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.matching import answer_opening
from serving.engine.completions import Engine
from serving.engine.loaded import LoadedGeneration
from serving.generations.warm import warming
from tests.unit.serving.conftest import Answer, Served, load

Serve = Callable[..., Served]
TEXTS = ["the state of the union is strong", "one two three", "日本語 one </s> five"]


@pytest.fixture(scope="module", params=["t5", "bart"])
def generation(request: pytest.FixtureRequest, paths: dict[str, Path]) -> LoadedGeneration:
    """One of each family."""
    return load(paths[request.param], 1)


def written(generation: LoadedGeneration, text: str, tokens: int) -> list[int]:
    """What transformers itself writes greedily for a text; the words of control tokens in it are plain text."""
    read = generation.tokenizer(text, return_tensors="pt", split_special_tokens=True)
    model: Any = generation.model
    with torch.inference_mode():
        ids = model.generate(**read, do_sample=False, max_new_tokens=tokens)
    return list(ids[0, len(generation.opening) :].tolist())


def test_answers_are_those_of_the_whole_model(serve: Serve, generation: LoadedGeneration) -> None:
    """Several at once, in passes that they share; what was read and written is counted."""
    served = serve(generation, kind="seq2seq", max_batch=4)
    body = {"prompt": TEXTS, "max_tokens": 12, "temperature": 0}
    answer = served.client.post("/v1/completions", json=body).json()
    decode = generation.tokenizer.decode
    expected = [written(generation, text, 12) for text in TEXTS]
    for choice, ids in zip(answer["choices"], expected, strict=True):
        assert choice["text"] == decode(ids, skip_special_tokens=True)
    read = [generation.tokenizer(text, split_special_tokens=True)["input_ids"] for text in TEXTS]
    assert answer["usage"]["prompt_tokens"] == sum(map(len, read))
    assert answer["usage"]["completion_tokens"] == sum(map(len, expected))
    # One pass for each prompt's first token, then all in one.
    assert served.count("forward_passes_total") <= len(TEXTS) + max(map(len, expected))


def test_who_comes_later_joins_where_nothing_counts_what_was_written(
    engine: Engine, generation: LoadedGeneration
) -> None:
    """A T5's distances bear padding before an answer, BART's places do not; both get what they get alone."""
    first, later = (Answer(generation, text, tokens=60) for text in TEXTS[:2])
    engine.submit(first.job)
    first.first_piece()
    engine.submit(later.job)
    for answer, text in ((first, TEXTS[0]), (later, TEXTS[1])):
        answer.end()
        expected = written(generation, text, 60)
        assert answer.text == generation.tokenizer.decode(expected, skip_special_tokens=True)
    assert generation.conduct.way.cache == ("abreast" if "Bart" in type(generation.model).__name__ else "shared")


def test_a_first_token_that_is_forced_is_given_to_the_decoder(serve: Serve, paths: dict[str, Path]) -> None:
    """The language of a translation, say: answers go on from it, as transformers' own do."""
    generation = load(paths["bart"], 1)
    model: Any = generation.model
    model.generation_config.forced_bos_token_id = 7
    forced = replace(generation, opening=answer_opening(generation.model))
    assert forced.opening == (1, 7)
    body = {"prompt": TEXTS[0], "max_tokens": 6, "temperature": 0}
    answer = serve(forced, kind="seq2seq").client.post("/v1/completions", json=body).json()["choices"][0]["text"]
    expected = written(forced, TEXTS[0], 7)
    assert answer == generation.tokenizer.decode(expected, skip_special_tokens=True)


def test_answers_are_streamed_and_drawn(serve: Serve, generation: LoadedGeneration) -> None:
    """The pieces of a stream are the answer; a seed draws the same again."""
    served = serve(generation, kind="seq2seq")
    asked = {"prompt": TEXTS[0], "max_tokens": 8, "temperature": 1.0, "seed": 5}
    first, again = (served.client.post("/v1/completions", json=asked).json()["choices"][0]["text"] for _ in range(2))
    assert first == again
    stream = served.client.post("/v1/completions", json={**asked, "stream": True}).text
    assert stream.count("data: ") > 2


def test_prompt_and_answer_have_places_of_their_own(serve: Serve, paths: dict[str, Path]) -> None:
    """A prompt may fill the encoder's; one token more is refused by name."""
    generation = load(paths["bart"], 1)
    served = serve(generation, kind="seq2seq")
    full, room = [5] * generation.context, generation.context - len(generation.opening)
    longest = served.client.post("/v1/completions", json={"prompt": full, "max_tokens": room, "temperature": 0})
    assert longest.status_code == 200, longest.text
    for body in ({"prompt": [*full, 5], "max_tokens": 1}, {"prompt": [5], "max_tokens": room + 1}):
        refused = served.client.post("/v1/completions", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_it_answers_no_chats_and_is_tried_before_it_serves(serve: Serve, generation: LoadedGeneration) -> None:
    """It has no turns; a trial writes a few tokens as any answer."""
    served = serve(generation, kind="seq2seq")
    warming(served.worker, served.recent)(generation)
    chat = {"messages": [{"role": "user", "content": "one"}]}
    answer = served.client.post("/v1/chat/completions", json=chat)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "wrong_model_kind")
    assert "sequence-to-sequence model (seq2seq); this route needs a causal-lm" in answer.json()["error"]["message"]
