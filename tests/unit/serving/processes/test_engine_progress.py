"""An engine that owes whole answers is heard of by what it counts; here it is a text that the test sets."""

import anyio
import pytest

from serving.engine.running import RunningEngine
from serving.processes.engine_progress import EngineProgress, tokens_in
from tests.unit.serving.processes.test_asking import NoProcess

COUNTED = """# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="m"} %s
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e9
vllm:prompt_tokens_total{engine="0",model_name="m"} 900.0
"""


class Watched:
    """An engine that owes an answer, a clock, and what the engine says of itself; an exception: it fails to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.says: str | Exception | None = COUNTED % "5.0"
        self.engine = RunningEngine(
            "http://engine", "m@g0001", "key", NoProcess(), 40.0, tells_progress=True, clock=lambda: self.now
        )
        self.progress = EngineProgress(self._read, lambda: self.now)

    async def _read(self, engine: RunningEngine) -> str | None:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def pass_by(self, seconds: float) -> bool:
        """Let time go, look where it is due, and say whether it was."""
        self.now += seconds
        due = self.progress.is_due(self.engine)
        if due:
            anyio.run(self.progress.look, self.engine)
        return due


def test_one_that_counts_on_is_never_lost() -> None:
    """However long an answer takes."""
    watched = Watched()
    with watched.engine.answering():
        for at in range(30):
            watched.says = COUNTED % f"{at + 1}.0"
            watched.pass_by(11.0)
            assert not watched.engine.lost


@pytest.mark.parametrize("says", [COUNTED % "5.0", "", None, "vllm:generation_tokens_total many", OSError("gone")])
def test_one_that_counts_nothing_further_is_lost(says: str | Exception | None) -> None:
    """It hangs, does not answer, or says nothing of the kind."""
    watched = Watched()
    with watched.engine.answering():
        watched.pass_by(11.0)
        watched.says = says
        heard = watched.engine.silent_s < 40
        for _ in range(4):
            assert watched.pass_by(10.5)
        assert heard
        assert "given nothing" in watched.engine.lost


def test_it_is_looked_at_only_while_it_is_quiet_and_now_and_then() -> None:
    """A look costs the engine a page of metrics."""
    watched = Watched()
    assert not watched.pass_by(100.0)
    with watched.engine.answering():
        assert not watched.pass_by(9.0)
        assert watched.pass_by(2.0)
        watched.engine.heard()
        assert not watched.pass_by(9.0)
        watched.says = None
        assert watched.pass_by(2.0)
        assert not watched.pass_by(9.0)


def test_counts_of_several_models_are_added() -> None:
    """One engine may know several adapters by name."""
    assert tokens_in((COUNTED % "5.0") + (COUNTED % "2.5e3")) == 2505.0
    assert tokens_in("") == 0.0
