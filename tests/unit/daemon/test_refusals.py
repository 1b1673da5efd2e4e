"""What the log tells of records that are dead letters."""

from structlog.testing import capture_logs

from daemon.ingestion.ingest import TOLD_SECONDS, Refusals
from streams.document import DeadLetter, Partition, Reason


def letter(topic: str, reason: Reason) -> DeadLetter:
    """One with something in it that the log must not have."""
    return DeadLetter(Partition(topic, 0), 1, reason, "secret", b"secret", b"secret", 6, 0.0)


def test_refused_records_are_told_of_once_in_ten_minutes_by_topic() -> None:
    """The first at once, those that follow in one line with their number by reason; nothing of what is in them."""
    refusals, missing, label = Refusals(), Reason.MISSING_FIELD, Reason.UNKNOWN_LABEL
    with capture_logs() as logs:
        refusals.tell([letter("news", missing), letter("blogs", missing)], 0.0)
        refusals.tell([letter("news", label)], 1.0)
        refusals.tell([letter("news", label), letter("news", missing)], TOLD_SECONDS - 1)
        assert len(logs) == 2
        refusals.tell([], TOLD_SECONDS)
        refusals.tell([], 5 * TOLD_SECONDS)
    assert [(line["topic"], line["reasons"]) for line in logs] == [
        ("news", {"missing_field": 1}),
        ("blogs", {"missing_field": 1}),
        ("news", {"unknown_label": 2, "missing_field": 1}),
    ]
    assert {(line["event"], line["log_level"], line["look"]) for line in logs} == {
        ("records_refused", "warning", "riverkeep memory dead-letters")
    }
    assert "secret" not in str(logs)
