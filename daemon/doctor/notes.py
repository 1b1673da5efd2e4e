"""What is no mistake in the settings, and yet most probably not meant."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from daemon.admin.token import read_token
from daemon.settings.contradictions import pauses_at
from daemon.settings.records import why_no_chats
from daemon.settings.tree import Settings
from serving.keys.entries import read_entries

LEAST_SECRET_CHARACTERS = 16


def notes(settings: Settings) -> list[str]:
    """A sentence for each, from settings without mistakes; their secrets' files are read."""
    return [
        *_of_topics(settings),
        *_of_chats(settings),
        *_of_volumes(settings),
        *_of_lengths(settings),
        *_find_shared(settings),
        *_of_rights(settings),
    ]


def _of_topics(settings: Settings) -> Iterator[str]:
    if not settings.streams.enabled:
        yield (
            "streams.topics is empty: nothing will be read from Kafka, and text comes by `riverkeep backfill` alone. "
            "Add [[streams.topics]] with a name."
        )


def _of_chats(settings: Settings) -> Iterator[str]:
    named = [topic.name or topic.pattern for topic in settings.streams.topics if topic.messages_field is not None]
    if named and (why := why_no_chats(settings)):
        yield f"messages_field is set for {', '.join(map(str, named))}, and each chat becomes a dead letter: {why}."


def _of_volumes(settings: Settings) -> Iterator[str]:
    triggers, memory = settings.triggers, settings.memory
    for name, threshold, room in (
        ("fresh_samples", triggers.fresh_samples, memory.fresh_samples),
        ("fresh_tokens", triggers.fresh_tokens, memory.fresh_tokens),
    ):
        if threshold is not None and threshold > room:
            why = pauses_at(f"memory.{name}", room)
            yield f"triggers.{name} = {threshold:,} is never reached. {why} it begins no round."


def _of_lengths(settings: Settings) -> Iterator[str]:
    admin, keys = settings.admin, settings.serving.api_key_file
    if admin.token_file is not None:
        yield from _short("admin.token_file", admin.token_file, [len(read_token(admin, settings.state_dir))])
    if keys is not None:
        lengths = {entry.name: entry.characters for entry in read_entries(keys) if entry.characters is not None}
        yield from _short("serving.api_key_file", keys, lengths.values())
        yield from _in_plain_text(keys, list(lengths))


def _in_plain_text(path: Path, names: list[str]) -> Iterator[str]:
    if names:
        keys = f"{len(names)} keys ({names[0]} …)" if len(names) > 1 else f"a key ({names[0]})"
        yield (
            f"serving.api_key_file: {path} holds {keys} in plain text: whoever reads it, or a copy of it, can ask the "
            "model. `riverkeep keys add NAME --stdin` takes such a key and leaves only its hash, under a name."
        )


def _find_shared(settings: Settings) -> Iterator[str]:
    token, keys = settings.admin.token_file, settings.serving.api_key_file
    if token is not None and token == keys:
        yield (
            f"admin.token_file is serving.api_key_file too ({token}): whoever may ask the model may also stop rounds "
            "and erase text. Give the admin surface a token of its own."
        )


def _short(key: str, path: Path, lengths: Iterable[int]) -> Iterator[str]:
    if any(length < LEAST_SECRET_CHARACTERS for length in lengths):
        yield (
            f"{key}: {path} holds a secret of fewer than {LEAST_SECRET_CHARACTERS} characters, which can be guessed. "
            "Make one with `openssl rand -hex 32`."
        )


def _of_rights(settings: Settings) -> Iterator[str]:
    security = settings.streams.security
    registry = settings.streams.schema_registry
    files = {
        "admin.token_file": settings.admin.token_file,
        "serving.api_key_file": settings.serving.api_key_file,
        "streams.security.password_file": security.password_file,
        "streams.security.private_key_file": security.private_key_file,
        "streams.security.private_key_password_file": security.private_key_password_file,
        "streams.schema_registry.password_file": registry.password_file,
        "streams.schema_registry.token_file": registry.token_file,
        "serving.tls_key_file": settings.serving.tls_key_file,
        "admin.tls_key_file": settings.admin.tls_key_file,
    }
    for key, path in files.items():
        if path is not None and path.stat().st_mode & stat.S_IROTH:
            yield f"{key}: every user of this machine can read {path}. Take that right away: chmod o-r {path}"
