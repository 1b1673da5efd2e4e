"""What an examination finds."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what, in a few words.
        ok: whether it will work.
        detail: what was found.
        remedy: what to do where it will not work.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""

    def as_facts(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)
