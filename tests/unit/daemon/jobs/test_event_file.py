"""What a learner tells, read from its file while it is written."""

from pathlib import Path

from daemon.jobs.event_file import EventFile
from learner.directory.progress_event import ProgressEvent
from learner.directory.round_directory import PROGRESS


def test_half_a_line_is_heard_when_it_is_whole(tmp_path: Path) -> None:
    """Nothing, nonsense and what is none of ours are told apart."""
    events = EventFile(tmp_path, writes=False)
    assert events.read() is None
    with (tmp_path / PROGRESS).open("a", buffering=1) as file:
        file.write('{"event": "step", "st')
        file.flush()
        assert events.read() == []
        file.write('ep": 3}\nLoading weights: 100%\n{"event": "alive"}\n')
        assert events.read() == [ProgressEvent("step", step=3), ProgressEvent("alive")]
        assert events.read() is None


def test_a_file_that_begins_anew_is_read_from_its_begin(tmp_path: Path) -> None:
    """As where the learner found its save unusable."""
    path = tmp_path / PROGRESS
    path.write_text('{"event": "alive"}\n' * 5)
    events = EventFile(tmp_path, writes=True)
    path.write_text('{"event": "done"}\n')
    assert events.read() == [ProgressEvent("done")]
