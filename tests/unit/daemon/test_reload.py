"""What a reload takes over."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daemon.settings.load import RELOADABLE, reload
from daemon.settings.tree import Settings

OTHER = {
    "state_dir": "/elsewhere",
    "model": {"path": "/other"},
    "log": {"level": "debug"},
    "triggers": {"fresh_samples": 77},
    "gate": {"minimum_gain": 0.1},
    "learner": {"recipe": {"kl": 0.5}},
    "checkpoints": {"keep_last": 9},
    "serving": {"port": 9999},
    "admin": {"port": 9998},
    "lifecycle": {"rounds_kept": 9},
}
NOW = Settings.model_validate({"model": {"path": "/base"}})


@given(st.sets(st.sampled_from(sorted(OTHER))))
def test_what_can_be_reloaded_is_and_the_rest_is_named(changed: set[str]) -> None:
    """Each changed section is either in use or named as waiting for a restart, never neither."""
    read = Settings.model_validate({"model": {"path": "/base"}} | {name: OTHER[name] for name in changed})
    result = reload(NOW, read)
    assert set(result.changed) | set(result.need_restart) == changed
    assert set(result.changed) <= set(RELOADABLE)
    for name in Settings.model_fields:
        used = read if name in result.changed else NOW
        assert getattr(result.settings, name) == getattr(used, name)


def test_a_state_directory_is_never_changed_under_way() -> None:
    """It needs a restart."""
    read = NOW.model_copy(update={"state_dir": Path("/elsewhere")})
    assert reload(NOW, read).need_restart == ("state_dir",)
