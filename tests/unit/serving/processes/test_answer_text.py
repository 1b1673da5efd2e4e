"""The text of an answer is what the builtin engine makes of the same tokens."""

from serving.engine.completions import Completion, Delta, Finished
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.processes.answer_text import AnswerText
from serving.processes.asking import EnginePiece


def job(generation: LoadedGeneration, *stop: str) -> Completion:
    """An answer that is wanted."""
    return Completion(generation, [3, 4, 5], 40, Sampling(temperature=0), stop, lambda _: None)


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
