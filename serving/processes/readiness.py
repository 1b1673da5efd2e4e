"""Waiting until an engine has a model: asked for its list again and again, as long as that may take."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import httpx

from serving.errors import BrokenGeneration
from serving.outbound import in_words
from serving.processes.asking import KnownModel, known_models

ASK_EVERY_S: Final = 0.2
ASK_WITHIN_S: Final = 5.0


class NotInTime(Exception):
    """An engine was not ready in time; the message says what it said last."""


def until_listed(
    client: httpx.Client, name: str, *, within_s: float, ending: threading.Event, look: Callable[[Sequence[str]], None]
) -> KnownModel:
    """What an engine says of a model, once it has it.

    Args:
        client: of the engine.
        name: of the model.
        within_s: how long that may take.
        ending: set where nobody waits any more.
        look: called between two questions with the names that it gave, none where it gave no list; raises where there
            is nothing to wait for.

    Raises:
        BrokenGeneration: serving ends; or by `look`.
        NotInTime: it took longer.
    """
    deadline, why = time.monotonic() + within_s, "it did not answer"
    while time.monotonic() < deadline:
        names: list[str] = []
        try:
            models = known_models(client)
            names = [model.name for model in models]
            if name in names:
                return models[names.index(name)]
            why = f"it has {', '.join(names) or 'no model'}, and not {name}"
        except httpx.HTTPError as error:
            why = f"{in_words(error, str(client.base_url))}: {error}"
        look(names)
        if ending.wait(ASK_EVERY_S):
            raise BrokenGeneration("serving ends")
    raise NotInTime(why)
