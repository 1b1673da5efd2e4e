"""What stored names are called before a person: what began a round, checks of the gate, what became of text. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from daemon.control.answers.canaries import AnsweredTo
from daemon.control.answers.comparisons import ComparisonAnswer, PickTally
from daemon.control.answers.records import SampleLine
from daemon.control.answers.serving import SwapLine

BEGUN: Final = {
    "by_hand": "by hand",
    "interval": "by the interval",
    "cron": "by the schedule",
    "volume": "by the amount of fresh text",
    "dry_run": "as a dry run",
}
CHECKS: Final = {
    "plausible_mean_nll": "new text: mean loss",
    "plausible_upper_nll": "new text: worst tenth",
    "plausible_repetitive_share": "new text: repetitive",
    "plausible_incoherent_share": "new text: incoherent",
    "plausible_contradicted_share": "new text: other labels",
    "plausible_contrary_share": "new text: labels turned round",
    "learned": "learned, vs parent",
    "parent": "loss vs parent",
    "best": "loss vs best",
    "anchor": "loss vs base",
    "average": "mean loss vs best",
    "proportion": "loss vs gain",
    "alone": "loss vs parent, by itself",
    "majority": "vs the most frequent label",
    "balanced_majority": "balanced accuracy, to always answering alike",
}
FORMS: Final = {
    "text": "plain text",
    "json_text": "JSON with a text",
    "json_messages": "JSON with messages of a chat",
    "json_pair": "JSON with an input and its target",
    "avro": "Avro, by the schema registry",
    "protobuf": "Protobuf, by the schema registry",
    "json_schema": "JSON by a schema of the registry",
    "framed": "framed by a registry's client",
    "glue": "framed by AWS Glue's client",
    "json": "JSON, not understood",
    "compressed": "compressed by its writer",
    "other_encoding": "text that is not UTF-8",
    "no_value": "without a value",
    "other": "something else",
}
"""What records are written as, by `streams.document.RecordForm`."""
DROPS: Final = {"accuracy": "accuracy lost", "f1": "macro-F1 lost", "skill": "right answers lost"}
VERSUS: Final = {
    "parent": "vs parent",
    "best": "vs best",
    "anchor": "vs base",
    "average": "on average vs best",
    "majority": "vs the most frequent label",
}
TALLIES: Final = {
    "duplicates": ("that was kept already", "that were kept already"),
    "near_duplicates": ("that is nearly held-out text", "that are nearly held-out text"),
    "forgotten": ("of an erased key", "of erased keys"),
    "redelivered": ("that Kafka sent again", "that Kafka sent again"),
    "surplus": ("beyond what slices and replay may hold", "beyond what slices and replay may hold"),
    "evicted": ("that made room for a later one", "that made room for later ones"),
    "erased_by_tombstone": ("that a tombstone erased", "that tombstones erased"),
    "over_quota": ("beyond a key's quota", "beyond a key's quota"),
}
"""What became of documents that are not kept, or no longer: of one, of several."""


DRAWN: Final = {
    "fresh": "new, to train on",
    "replay": "replayed",
    "early_stop": "new, to tell when to stop",
    "over_quota": "new, beyond a key's quota",
    "anchor": "held out, the anchor",
    "newest": "held out, the newest",
    "period": "held out, of earlier rounds",
}
"""What a round would be given, by part and by kind of slice."""


def fate_words(name: str) -> str:
    """What became of a record: its role, or why it is not kept."""
    return "held out" if name == "holdout" else name.replace("_", " ")


def part_words(name: str) -> str:
    """A part of a draw, or a kind of slice, in a column."""
    return DRAWN.get(name, name.replace("_", " "))


def begun(trigger: str) -> str:
    """What began a round, after "begun"."""
    return BEGUN.get(trigger, f"by {trigger.replace('_', ' ')}")


def trigger_word(trigger: str) -> str:
    """The same in a column."""
    return trigger.replace("_", " ")


def check_words(name: str) -> str:
    """A check: what is compared, and to what."""
    if name in CHECKS:
        return CHECKS[name]
    measure, _, to = name.partition("_")
    return f"{DROPS[measure]} {VERSUS[to]}" if measure in DROPS and to in VERSUS else name.replace("_", " ")


def not_kept(tallies: Mapping[str, int]) -> str:
    """What became of documents that are not kept, or no longer; empty where all are."""
    parts = (f"{tallies[name]:,} {words[tallies[name] != 1]}" for name, words in TALLIES.items() if tallies.get(name))
    return ", ".join(parts)


def shown_text(sample: SampleLine) -> str:
    """A sample's text; of a chat each turn behind the name of who speaks."""
    if "messages" in sample:
        return "\n\n".join(f"{message['role']}: {message['content']}" for message in sample["messages"])
    return sample["text"]


def became_of_text(erased_at: float | None) -> str:
    """What became of text that is not kept."""
    if erased_at is None:
        return "its text has left the memory"
    return f"its text was erased by its key at {datetime.fromtimestamp(erased_at, UTC).isoformat(timespec='seconds')}"


def span_words(spans: Sequence[Sequence[int]], most: int = 8) -> str:
    """Ranges of offsets, each a first and a last; of many the first."""
    words = ", ".join(f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in spans[:most])
    return words + (f" and {len(spans) - most:,} more ranges" if len(spans) > most else "")


def rate(number: int, seconds: float) -> str:
    """How many come a second, in words: `0/s`, `0.02/s`, `3.4/s`, `1,200/s`."""
    each = number / max(seconds, 1e-9)
    return f"{each:,.0f}/s" if each >= 10 or not number else f"{each:.2g}/s"


def bytes_rate(size: int, seconds: float) -> str:
    """How many bytes come a second, in words."""
    each = size / max(seconds, 1e-9)
    for unit, of in (("MB", 1e6), ("kB", 1e3)):
        if each >= of:
            return f"{each / of:,.1f} {unit}/s"
    return f"{each:,.0f} B/s"


def picked_sentence(answer: ComparisonAnswer) -> str:
    """Who found which of two generations' answers the better; empty where nobody has said."""
    if answer["picked"] is None:
        return ""
    won = next((line["generation"] for line in answer["answers"] if line["side"] == answer["picked"]), None)
    found = "both answers equal" if won is None else f"generation {won}'s answer better"
    return f"{answer['picked_by']} found {found}."


def share_words(tally: PickTally) -> str:
    """How often the first of a pair was found better, of what found one better; a dash where nothing did."""
    share, lower, upper = tally["first_share"], tally["first_share_lower"], tally["first_share_upper"]
    if share is None or lower is None or upper is None:
        return "–"
    return f"{share:.0%}, {lower:.0%} to {upper:.0%}"


def answered_words(answered: AnsweredTo | None) -> str:
    """To whom a watched generation answered; empty where that is not known, or nobody."""
    if answered is None:
        return ""
    named = [f"{each['requests']:,} of {each['key'] or 'those without a key'}" for each in answered["by_key"]]
    if others := answered["other_keys"]:
        named.append(f"{answered['other_requests']:,} of {others:,} other key{'s' if others > 1 else ''}")
    return f"it answered {', '.join(named)}" if named else ""


def swap_words(line: SwapLine) -> str:
    """What happened, in words."""
    what = {"serves": "begins to serve", "watched": "is watched in traffic", "taken_back": "is taken back"}
    number = "?" if line["generation"] is None else line["generation"]
    return f"generation {number} {what.get(line['what'], line['what'])}"


def time_words(seconds: float) -> str:
    """A time to two figures or three."""
    return f"{1000 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"
