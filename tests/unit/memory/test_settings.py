"""The memory's settings."""

import pytest
from pydantic import ValidationError

from memory.settings import MemorySettings


def test_every_setting_has_a_default_and_a_description() -> None:
    """The reference file is printed from these."""
    MemorySettings()
    assert all(field.description for field in MemorySettings.model_fields.values())


@pytest.mark.parametrize(
    "wrong",
    [{"holdout_share": 0.0}, {"holdout_share": 0.9}, {"key_quota": 0}, {"replay_eras": 1}, {"no_such": 1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_values_out_of_bounds_and_unknown_keys_are_refused(wrong: dict[str, float]) -> None:
    """By name."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        MemorySettings(**wrong)


def test_settings_do_not_change() -> None:
    """A running store keeps what it was opened with."""
    with pytest.raises(ValidationError, match="frozen"):
        MemorySettings().key_quota = 5  # type: ignore[misc]  # the mistake
