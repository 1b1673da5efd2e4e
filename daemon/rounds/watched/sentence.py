"""What is watched, in a sentence for a person."""

from memory.ledger.history.canaries import CanaryRecord


def sentence_of(canary: CanaryRecord, said: str) -> str:
    """What is watched and what is said of it, for a person."""
    how = "is watched as a shadow" if canary.mode == "shadow" else "is watched as a canary"
    detail = f"{said[0].lower()}{said[1:].removesuffix('.')}" if said else "nothing is known of it yet"
    return f"generation {canary.generation} {how} beside generation {canary.beside}: {detail}"
