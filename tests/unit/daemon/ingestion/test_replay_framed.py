"""Dead letters that were framed become documents once a schema registry is named."""

from pathlib import Path

from daemon.ingestion.replay_dead_letters import replay
from daemon.settings.load import load
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch, DeadLetter, Partition, Reason
from tests.fake_registry import fake_registry, framed

NEWS = Partition("news", 0)


def test_framed_letters_are_read_again_with_the_registry(tmp_path: Path) -> None:
    """While it does not answer they stay what they are, and say why."""
    value = framed(1, b'{"text": "behind the frame"}')
    letter = DeadLetter(NEWS, 0, Reason.SCHEMA_FRAMED, "framed", None, value, len(value), 0.0)
    with Store.open(tmp_path / "db", MemorySettings()) as store, fake_registry() as registry:
        store.append(Batch((), (letter,), (), {NEWS: 1}))
        environment = {
            "RIVERKEEP_MODEL__PATH": "/m",
            "RIVERKEEP_STREAMS__TOPICS": '[{"name": "news"}]',
            "RIVERKEEP_STREAMS__SCHEMA_REGISTRY__URL": registry.url,
        }
        settings = load(None, environment)
        registry.status = 503
        assert replay(store, settings, ids=frozenset(), now=1.0)["reasons"] == {"schema_framed": 1}
        assert "HTTP 503" in store.quarantine.dead_letters()[0].detail
        registry.status = None
        registry.add(1, {}, "JSON")
        assert replay(store, settings, ids=frozenset(), now=2.0)["kept"] == 1
        assert store.quarantine.dead_letters() == []
