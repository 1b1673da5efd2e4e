"""The naive twin learns beside the story, so that nothing waits for it but the comparison."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from daemon.demo.lineage import Lineage
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import Report


class Twin:
    """Follows one round after the other in a thread of its own; a context manager that ends what it began.

    Args:
        lineage: the twin's generations.
        on_progress: hears what its learner says, in that thread.
        on_report: gets each report, in that thread.
    """

    def __init__(
        self, lineage: Lineage, on_progress: Callable[[ProgressEvent], None], on_report: Callable[[Report], None]
    ) -> None:
        self._lineage = lineage
        self._on_progress = on_progress
        self._on_report = on_report
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="twin")
        self._under_way: list[Future[None]] = []
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Ready to follow."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End a learner that still runs: the story broke off."""
        self._ended.set()
        self._thread.shutdown(cancel_futures=True)

    def follow(self, round_directory: Path) -> None:
        """Learn the new text of a round of the kept model, after what is still under way."""
        self._under_way.append(self._thread.submit(self._follow, round_directory))

    def catch_up(self) -> None:
        """Await what is under way.

        Raises:
            DaemonError: its learner failed.
        """
        for following in self._under_way:
            following.result()

    def _follow(self, round_directory: Path) -> None:
        report = self._lineage.follow(round_directory, self._on_progress, must_stop=self._ended.is_set)
        self._on_report(report)
