"""The text of an answer is what the builtin engine makes of the same tokens."""

import pytest

from serving.engine.completion import Completion, Delta, Finished
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.errors import Failed, NotGivenByEngine
from serving.processes.answer_text import AnswerText
from serving.processes.asking import EnginePiece


def job(generation: LoadedGeneration, *stop: str, scored: int | None = None, echo: str | None = None) -> Completion:
    """An answer that is wanted."""
    sampling = Sampling(temperature=0)
    return Completion(generation, [3, 4, 5], 40, sampling, stop, lambda _: None, scored=scored, echo=echo)


def events(answer: AnswerText, *pieces: EnginePiece | Finished) -> list[Delta | Finished]:
    """What comes of an engine's pieces."""
    return [event for piece in pieces for event in answer.take(piece)]


def text_of(told: list[Delta | Finished]) -> str:
    """All of it."""
    return "".join(event.text for event in told if isinstance(event, Delta))


def decoded(generation: LoadedGeneration, tokens: tuple[int, ...]) -> str:
    """The text of all these tokens at once."""
    return str(generation.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def test_tokens_make_the_text_whatever_the_engine_makes_of_them(first: LoadedGeneration) -> None:
    """Half a character at the end too, which engines leave out; the engine's own text is not looked at."""
    tokens = tuple(range(3, 43))
    told = events(AnswerText(job(first)), *(EnginePiece("?", (token,)) for token in tokens), Finished("length", 40))
    assert decoded(first, (3, 4, 5)) + text_of(told) == decoded(first, (3, 4, 5, *tokens))
    assert told[-1] == Finished("length", 40)


def test_it_ends_where_it_is_to_end(first: LoadedGeneration) -> None:
    """Before a token that ends it, or a text; what the engine says after that is not taken."""
    end = min(first.stop_ids)
    told = events(AnswerText(job(first)), EnginePiece("a", (70, 71)), EnginePiece("", (end, 72)))
    assert told[-1] == Finished("stop", 3)
    text = text_of(told)
    assert text_of(events(AnswerText(job(first)), EnginePiece("", (70, 71)), Finished("stop", 2))) == text
    stopped = events(AnswerText(job(first, text[1])), EnginePiece("", (70, 71, 72)))
    assert text_of(stopped) == text[0]
    assert isinstance(stopped[-1], Finished)


def test_the_engines_own_text_is_taken_where_it_tells_no_tokens(first: LoadedGeneration) -> None:
    """With its own count."""
    told = events(AnswerText(job(first)), EnginePiece("a"), EnginePiece(""), EnginePiece("b"), Finished("stop", 7))
    assert told == [Delta("a"), Delta("b"), Finished("stop", 7)]


def logprobs(*tokens: tuple[str, float, dict[str, float]]) -> dict[str, object]:
    """Scores in the shape of OpenAI's completions."""
    return {
        "tokens": [token for token, _, _ in tokens],
        "token_logprobs": [own for _, own, _ in tokens],
        "top_logprobs": [top for _, _, top in tokens],
        "text_offset": [0] * len(tokens),
    }


def test_scores_by_numbers_get_this_sides_names(first: LoadedGeneration) -> None:
    """As vLLM tells them; the alternatives that were asked for, the most probable first; the end's own at the end."""
    end = min(first.stop_ids)
    told = logprobs(
        ("token_id:70", -0.5, {"token_id:70": -0.5, "token_id:71": -0.25, "token_id:72": -3.0}),
        (f"token_id:{end}", -0.125, {f"token_id:{end}": -0.125}),
    )
    got = events(AnswerText(job(first, scored=2)), EnginePiece("?", (70, end), told))
    (score,) = [score for event in got if isinstance(event, Delta) for score in event.scores]
    names = [first.names.score(number, None, ()).token for number in (70, 71)]
    assert (score.token, score.logprob, score.top) == (names[0], -0.5, ((names[1], -0.25), (names[0], -0.5)))
    assert isinstance(got[-1], Finished)
    assert got[-1].score is not None
    assert got[-1].score.logprob == -0.125


def test_scores_by_words_are_placed_in_the_engines_text(first: LoadedGeneration) -> None:
    """Where it tells no tokens; the word that ends an answer is no part of it."""
    end = first.unshown[min(first.stop_ids)]
    got = events(
        AnswerText(job(first, scored=1, echo="xy")),
        EnginePiece("ab", None, logprobs(("a", -1.0, {"a": -1.0}), ("b", -2.0, {"c": -0.5, "b": -2.0}))),
        EnginePiece("", None, logprobs((end, -0.5, {}))),
        Finished("stop", 3),
    )
    assert isinstance(got[0], Delta)
    assert [(score.token, score.offset, score.top) for score in got[0].scores] == [
        ("a", 2, (("a", -1.0),)),
        ("b", 3, (("c", -0.5),)),
    ]
    assert isinstance(got[-1], Finished)
    assert got[-1].score is not None
    assert (got[-1].score.token, got[-1].score.offset) == (end, 4)


@pytest.mark.parametrize("tokens", [None, (70,)])
def test_an_engine_that_gives_no_scores_is_named(first: LoadedGeneration, tokens: tuple[int, ...] | None) -> None:
    """With what to leave out."""
    with pytest.raises(NotGivenByEngine, match="logprobs: the engine") as caught:
        events(AnswerText(job(first, scored=1)), EnginePiece("a", tokens))
    assert (caught.value.status, caught.value.param) == (501, "logprobs")


@pytest.mark.parametrize(
    "given", [{}, [], {"tokens": ["a"], "token_logprobs": []}, {"tokens": ["token_id:x"], "token_logprobs": [0]}]
)
def test_scores_of_another_shape_are_the_engines_failure(first: LoadedGeneration, given: object) -> None:
    """Not the client's."""
    with pytest.raises(Failed, match="another shape"):
        events(AnswerText(job(first, scored=1)), EnginePiece("a", None, given))
