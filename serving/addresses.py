"""The addresses that serving answers at, by what they take of who asks. Imports nothing of what answers."""

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
