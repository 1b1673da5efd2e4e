"""What tombstones ask for is carried out many at a time, and the whole file rewritten seldom."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from daemon.ingestion.erasure_desk import SCRUB_EVERY_SECONDS, TombstoneDesk
from streams.document import Batch, Erasure
from streams.topic_settings import TopicSettings
from tests.unit.daemon.control.test_within_daemon import live_control
from tests.unit.daemon.rooms import world
from tests.unit.memory.helpers import Stream, text


def test_the_desk_erases_what_waits_and_nothing_where_nothing_does(tmp_path: Path) -> None:
    """The text is gone after one look; a later one finds nothing to do."""
    with world(tmp_path) as here:
        stream = Stream()
        here.store.append(stream.of([text(1), text(2)], keys=["u-1", "u-2"]))
        desk = TombstoneDesk(here.store.people.tombstones_wait, live_control(here).apply_tombstones)
        assert not desk.look()
        asked = Erasure(stream.partition, stream.offset, "u-1")
        here.store.append(Batch((), (), (), {stream.partition: stream.offset + 1}, (asked,)))
        assert desk.look()
        assert not desk.look()
        assert not here.store.people.find("u-1").is_anything
        assert here.store.people.find("u-2").is_anything


def test_a_round_that_was_given_the_text_is_called_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by an erasure that a person asks for; one that was not given it goes on."""
    monkeypatch.setattr("daemon.control.within_daemon.ROUND_ENDS_WITHIN_S", 0.0)
    with world(tmp_path) as here:
        stream = Stream()
        keys = [f"u-{n % 7}" for n in range(70)]
        here.store.append(stream.of([text(n) for n in range(70)], keys=keys))
        drawn = here.store.rounds.begin(trigger="by hand", recipe={}, seed=1)
        assert drawn is not None
        here.current.begin(drawn.number, now=0.0)
        whose = {one.key_hash for one in drawn.fresh}
        given = next(key for key in keys if here.store.people.key_hash(key) in whose)
        for key, off in (("nobody", False), (given, True)):
            asked = Erasure(stream.partition, stream.offset, key)
            stream.offset += 1
            here.store.append(Batch((), (), (), {stream.partition: stream.offset}, (asked,)))
            live_control(here).apply_tombstones(scrub=False)
            assert bool(here.current.called_off) is off


def test_the_file_is_rewritten_at_most_once_an_hour() -> None:
    """Each time all who write wait."""
    now = [0.0]
    scrubbed: list[bool] = []
    desk = TombstoneDesk(lambda: True, scrubbed.append, lambda: now[0])
    for _ in range(3):
        desk.look()
    now[0] = SCRUB_EVERY_SECONDS
    desk.look()
    assert scrubbed == [True, False, False, True]


def test_tombstones_that_could_name_nobody_are_a_mistake_in_the_settings() -> None:
    """A record without a value has no fields, so no key_field either."""
    assert TopicSettings.model_validate({"name": "t", "on_tombstone": "erase"}).on_tombstone == "erase"
    with pytest.raises(ValidationError, match="leave out key_field"):
        TopicSettings.model_validate({"name": "t", "on_tombstone": "erase", "key_field": "id"})
