"""`python -m serving.comparison`: answers what one line on standard input asks, with lines on standard output.

It ends with whoever started it: when standard input is closed, it is gone.
"""

import os
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO, Final

from checkpoints.errors import CheckpointsError
from checkpoints.quick_imports import quick_imports
from serving.comparison.exchange import AnswerEvent, ComparisonPrompt
from serving.errors import RequestError, ServingError

if TYPE_CHECKING:
    from serving.comparison.answering import Tell

FAILED: Final = 1


def main() -> int:
    """Answer; what a generation cannot is told in a line as well, and is no traceback."""
    told = _own_output()
    asked = ComparisonPrompt.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    about = asked.generations[0]

    def tell(event: AnswerEvent) -> None:
        nonlocal about
        about = event.generation
        told.write(event.model_dump_json().encode() + b"\n")

    # Before torch is there, which takes seconds.
    tell(AnswerEvent(event="loading", generation=about))
    try:
        _answer(asked, tell)
    except (CheckpointsError, ServingError) as error:
        tell(AnswerEvent(event="failed", generation=about, reason=_sentence(about, error)))
        return FAILED
    return 0


def _answer(asked: ComparisonPrompt, tell: "Tell") -> None:
    with quick_imports():
        import torch  # noqa: PLC0415 - seconds, in which the asker may already go away

        from learner.devices.cores import usable_cores  # noqa: PLC0415 - the same
        from serving.comparison.answering import answer_all, loads  # noqa: PLC0415 - the same

    # Half of the cores: what serves reads weights from the same memory, which no niceness shares out.
    torch.set_num_threads(max(1, usable_cores() // 2))
    answer_all(asked, loads(asked), tell)


def _own_output() -> BinaryIO:
    """Standard output for the events alone: what libraries print goes where errors go."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _end_with_the_asker() -> None:
    # Past Python's buffer, whose lock the interpreter's own end would want.
    while os.read(0, 1024):
        pass
    # At once, whatever a forward pass does: nobody wants the answer any more.
    os._exit(FAILED)


def _sentence(number: int, error: Exception) -> str:
    # A request's error is about the prompt, which has no other place here.
    why = str(error).removeprefix("prompt: ") if isinstance(error, RequestError) else str(error)
    return f"Generation {number} cannot answer: {why}"


if __name__ == "__main__":
    sys.exit(main())
