"""What a client says of an answer is taken in at the door."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoints.serving_pointer import Canary
from serving.engine.loaded import LoadedGeneration
from serving.feedback.register import LONGEST_CHARACTERS
from serving.feedback.spool import Feedback, take
from serving.generations.switch import Watched
from serving.traffic.choice import Caller
from tests.unit.serving.conftest import Served
from tests.unit.serving.test_app import CHAT, PROMPT, chunks

Serve = Callable[..., Served]


def said(state: Path) -> list[Feedback | None]:
    """What waits for the memory."""
    taken = take(state, 0)
    return [] if taken is None else [line for _, line in taken.lines()]


def give(served: Served, answer: str, **more: Any) -> Any:
    """Feedback's response."""
    return served.client.post("/v1/feedback", json={"id": answer, "verdict": "reject", **more})


def test_feedback_names_the_generation_and_is_written_down(
    serve: Serve, first: LoadedGeneration, tmp_path: Path
) -> None:
    """Of a completion, a chat and a stream; without text, which nobody asked to keep."""
    served = serve(first, state=tmp_path)
    ids = [
        served.client.post("/v1/completions", json=PROMPT).json()["id"],
        served.client.post("/v1/chat/completions", json=CHAT).json()["id"],
        chunks(served.client.post("/v1/completions", json={**PROMPT, "stream": True}).text)[0]["id"],
    ]
    for answer in ids:
        response = give(served, answer, correction="better", user="someone")
        assert response.status_code == 200, response.text
        assert response.json() | {"answered_at": 0} == {
            "object": "feedback",
            "id": answer,
            "verdict": "reject",
            "generation": 1,
            "answered_at": 0,
        }
    for answer, line in zip(ids, said(tmp_path), strict=True):
        assert line is not None
        assert (line.answer, line.generation, line.verdict, line.user) == (answer, 1, "reject", "someone")
        assert (line.messages, line.text, line.correction, line.corrected) == (None, None, None, True)


def test_text_is_kept_where_it_is_asked_for(serve: Serve, first: LoadedGeneration, tmp_path: Path) -> None:
    """What was asked, what was answered, what it should have been, and who asked."""
    served = serve(first, state=tmp_path, feedback={"keep_text": True})
    asked = {**PROMPT, "user": "alice"}
    whole = served.client.post("/v1/completions", json=asked).json()
    give(served, whole["id"], correction="better")
    pieces = chunks(served.client.post("/v1/chat/completions", json={**CHAT, "stream": True}).text)[:-1]
    give(served, pieces[0]["id"])
    several = served.client.post("/v1/completions", json={**PROMPT, "prompt": ["a b", "c d"]}).json()
    give(served, several["id"], correction="of which?")
    completion, chat, unclear = said(tmp_path)
    assert completion is not None
    assert chat is not None
    assert unclear is not None
    assert completion.messages == (("prompt", PROMPT["prompt"]),)
    assert completion.text == whole["choices"][0]["text"]
    assert (completion.correction, completion.user) == ("better", "alice")
    assert chat.messages == (("user", "hi"),)
    assert chat.text == "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces)
    assert (unclear.messages, unclear.corrected) == (None, True)


def test_labels_are_judged_and_corrected_text_by_text(serve: Serve, judge: LoadedGeneration, tmp_path: Path) -> None:
    """Each has an id; its correction is a label, or all that fit. Text is kept where it is asked for."""
    for keep in (True, False):
        state = tmp_path / str(keep)
        served = serve(judge, classifier=True, state=state, feedback={"keep_text": keep})
        asked = {"input": ["one two", "three"], "user": "alice"}
        data = served.client.post("/v1/classify", json=asked).json()["data"]
        assert len({entry["id"] for entry in data}) == 2
        for entry, correction in zip(data, ("flood", ["flood", "calm"]), strict=True):
            assert give(served, entry["id"], correction=correction).json()["generation"] == 1
        lines = said(state)
        kept = [(line.messages, line.text, line.correction, line.user) for line in lines if line is not None]
        assert kept == (
            [
                ((("prompt", "one two"),), data[0]["label"], "flood", "alice"),
                ((("prompt", "three"),), data[1]["label"], ("flood", "calm"), "alice"),
            ]
            if keep
            else [(None, None, None, None)] * 2
        )
        assert [line is not None and line.corrected for line in lines] == [True, True]


def test_a_list_of_labels_corrects_no_text(serve: Serve, first: LoadedGeneration, tmp_path: Path) -> None:
    """It would be learned as what it looks like."""
    served = serve(first, state=tmp_path)
    answer = served.client.post("/v1/completions", json=PROMPT).json()["id"]
    response = give(served, answer, correction=["calm"])
    assert (response.status_code, response.json()["error"]["param"]) == (400, "correction")
    assert said(tmp_path) == []


def test_only_so_many_answers_are_at_hand(serve: Serve, first: LoadedGeneration, tmp_path: Path) -> None:
    """Feedback on older ones is taken all the same, without text."""
    served = serve(first, state=tmp_path, feedback={"keep_text": True, "answers_kept": 1})
    ids = [served.client.post("/v1/completions", json=PROMPT).json()["id"] for _ in range(2)]
    for answer in ids:
        assert give(served, answer).status_code == 200
    assert [line is not None and line.text is not None for line in said(tmp_path)] == [False, True]


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"id": "cmpl-" + "0" * 56}, (404, "id")),
        ({"id": "x" * 201}, (400, "id")),
        ({"id": ""}, (400, "id")),
        ({"id": 7}, (400, "id")),
        ({"verdict": "maybe"}, (400, "verdict")),
        ({"verdict": None}, (400, "verdict")),
        ({"user": "u" * 1025}, (400, "user")),
        ({"user": 1}, (400, "user")),
        ({"user": "a\0b"}, (400, "user")),
        ({"correction": ""}, (400, "correction")),
        ({"correction": 7}, (400, "correction")),
        ({"correction": ["calm", ""]}, (400, "correction")),
        ({"correction": "a" * (LONGEST_CHARACTERS + 1)}, (413, "correction")),
        ({"stars": 5}, (400, "stars")),
    ],
)
def test_what_is_no_feedback_is_refused_by_name(
    serve: Serve, first: LoadedGeneration, tmp_path: Path, body: dict[str, Any], refused: tuple[int, str]
) -> None:
    """And nothing is written down."""
    served = serve(first, state=tmp_path)
    answer = served.client.post("/v1/completions", json=PROMPT).json()["id"]
    response = give(served, answer, **body)
    assert (response.status_code, response.json()["error"]["param"]) == refused
    assert said(tmp_path) == []


def test_an_answer_of_another_process_with_the_same_state_is_known(
    serve: Serve, first: LoadedGeneration, tmp_path: Path
) -> None:
    """Also after a restart; of another server it is not."""
    answer = serve(first, state=tmp_path).client.post("/v1/completions", json=PROMPT).json()["id"]
    assert give(serve(first, state=tmp_path), answer).status_code == 200
    assert give(serve(first, state=tmp_path / "other"), answer).status_code == 404


def test_answers_are_given_where_feedback_cannot_be_kept(serve: Serve, first: LoadedGeneration, tmp_path: Path) -> None:
    """Without a state directory, or with one that cannot be made: feedback alone says so, and when to send it again."""
    (tmp_path / "file").touch()
    told = []
    for state in (None, tmp_path / "file"):
        served = serve(first, state=state)
        answer = served.client.post("/v1/completions", json=PROMPT)
        assert answer.status_code == 200
        given = give(served, answer.json()["id"])
        told.append((given.status_code, given.json()["error"]["code"], given.headers.get("retry-after")))
    # Clients send again what is answered with a 5xx, and nothing else of these.
    assert told == [(404, "feedback_not_taken", None), (503, "not_ready", "60")]


def test_it_is_counted_among_the_callers_who_had_asked(
    serve: Serve, first: LoadedGeneration, second: LoadedGeneration, tmp_path: Path
) -> None:
    """Of the answers that are compared while a generation is watched, and of no other: nobody can choose it."""
    keys = tmp_path / "keys"
    keys.write_text("a-key\n")
    keys.chmod(0o600)
    served = serve(first, keys, state=tmp_path / "state")
    key = {"authorization": "Bearer a-key"}

    def ask(user: str, **headers: str) -> str:
        answer = served.client.post("/v1/completions", json={**PROMPT, "user": user}, headers=key | headers)
        return str(answer.json()["id"])

    ids = [ask("before")]
    served.switch.watch(Watched(second, Canary(second.number, 0.5, "canary", since=0.0)))
    users = [f"user {number}" for number in range(6)]
    ids += [ask(user) for user in users]
    ids += [ask("user 1", **{"x-riverkeep-canary": wish}) for wish in ("always", "never")]
    for answer in ids:
        body = {"id": answer, "verdict": "reject", "user": "made up"}
        assert served.client.post("/v1/feedback", json=body, headers=key).status_code == 200
    groups = [None if line is None else line.group for line in said(tmp_path / "state")]
    assert groups == [None, *(Caller(b"user:" + user.encode()).group(2) for user in users), None, None]


def test_feedback_needs_a_key_where_answers_do(serve: Serve, first: LoadedGeneration, tmp_path: Path) -> None:
    """It is written for good."""
    keys = tmp_path / "keys"
    keys.write_text("a-key\n")
    keys.chmod(0o600)
    assert give(serve(first, keys, state=tmp_path / "state"), "cmpl-1").status_code == 401
