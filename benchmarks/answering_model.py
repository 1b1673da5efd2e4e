"""A serving process over a checkpoint store, and what its model answers to one question."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.brokers import free_port
from tests.harness import get, post, wait_until

QUESTION: Final = "What is the capital of France?"
BEGINNING: Final = (
    "Question: What is the capital of Italy?\nAnswer: Rome\nQuestion: What is the capital of Spain?\nAnswer: Madrid\n"
    f"Question: {QUESTION}\nAnswer:"
)
"""For a model that was not taught to chat."""
ANSWER: Final = "Paris"
ANSWER_TOKENS: Final = 40
CONTROL: Final = re.compile(r"<\|?\w+\|?>")
"""What control tokens look like; none is to stand in an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answers.

    Attributes:
        text: of it.
        ended: whether the model ended it by itself, as a chat format has it.
        generation: that gave it.
    """

    text: str
    ended: bool
    generation: int

    @property
    def is_right(self) -> bool:
        """Whether it knows."""
        return ANSWER in self.text

    @property
    def is_of_a_chat(self) -> bool:
        """Whether it ends as a turn does, and nothing of the format's own marks stands in it."""
        return self.ended and not CONTROL.search(self.text)


@contextmanager
def serving(checkpoints: Path, home: Path) -> Iterator[str]:
    """A serving process over a store, ready to answer; yields its address."""
    port, file, log = free_port(), home / "serving.json", home / "serving.log"
    url = f"http://127.0.0.1:{port}"
    file.write_text(json.dumps({"port": port, "device": "cpu", "request_timeout_s": 600}))
    command = [sys.executable, "-m", "serving", str(checkpoints), "--kind", "causal-lm", "--settings", str(file)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=os.environ) as process:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return get(f"{url}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(is_ready, timeout_s=600, what=f"the server ({log})")
            yield url
        finally:
            process.terminate()


def ask(url: str, *, chats: bool) -> Answer:
    """Ask in the model's chat format, or let it go on with a text."""
    body: dict[str, Any] = {"max_tokens": ANSWER_TOKENS, "temperature": 0}
    if chats:
        body |= {"messages": [{"role": "user", "content": QUESTION}]}
        answer = post(f"{url}/v1/chat/completions", json=body, timeout=600)
    else:
        answer = post(f"{url}/v1/completions", json=body | {"prompt": BEGINNING}, timeout=600)
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    text = choice["message"]["content"] if chats else choice["text"]
    return Answer(text, choice["finish_reason"] == "stop", int(answer.headers["x-riverkeep-generation"]))


def ask_generation(url: str) -> int:
    """The generation that answers."""
    return int(get(f"{url}/readyz").json()["generation"])
