"""The addresses that serving answers at, by what they take of who asks. Imports nothing of what answers."""

import re
from typing import Final

OPEN_ROUTES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Probes and the scraper have no key, and learn nothing that a client wrote."""
CANARY_ROUTE: Final = "/v1/riverkeep/canary"
WATCHED_TEXT_ROUTE: Final = "/v1/riverkeep/watched-text"
PROBED_ROUTES: Final = OPEN_ROUTES | {"/v1/riverkeep/generation", CANARY_ROUTE, WATCHED_TEXT_ROUTE}
MODEL_ROUTE: Final = "/v1/models/{model:path}"
ANSWER_ROUTES: Final = frozenset({"/v1/completions", "/v1/chat/completions", "/v1/classify"})
"""What takes of all of a key's limits; to ask how things are takes nothing."""
FEEDBACK_ROUTE: Final = "/v1/feedback"
"""It writes to the disk: what takes of a key's requests, and of nothing else."""
STATE_ROUTES: Final = frozenset({MODEL_ROUTE, "/v1/models", "/v1/riverkeep/generation", CANARY_ROUTE})
ROUTES: Final = OPEN_ROUTES | ANSWER_ROUTES | STATE_ROUTES | {FEEDBACK_ROUTE, WATCHED_TEXT_ROUTE}
OTHER_ROUTES: Final = "other"
"""The label of all that is none of them."""
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_plain(path: str) -> bool:
    """Whether a decoded path may be one of an address here: no address has control characters.

    The router's patterns let a line's end pass behind an address. Whatever is decided by comparing paths, such as who
    needs a key and what takes of a limit, would not know the address with it, and the route would still be found.
    """
    return CONTROL.search(path) is None
