"""The gate's need of held-out text, told to the memory, which knows nothing of the gate."""

from daemon.settings.tree import Settings
from gate.keys_wanted import keys_wanted, read_checks
from memory.store import Store


def keys_for_gate(store: Store, settings: Settings) -> int:
    """Keys that each slice needs to be judged by, by the latest round of which a candidate was judged."""
    read = (read_checks(round_.verdict) for round_ in store.rounds.latest())
    latest = next((checks for checks in read if checks), ())
    return keys_wanted(settings.model.kind, settings.gate.minimum_documents, latest)


def ask_for_held_out(store: Store, settings: Settings) -> None:
    """Let the memory hold out what the gate needs of what arrives from now on."""
    store.ask_for_held_out(keys_for_gate(store, settings))
