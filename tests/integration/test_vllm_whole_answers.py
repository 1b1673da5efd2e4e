"""Answers that vLLM is asked for as a whole: what it counts says that it works, where pieces would have said it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import wait_until
from tests.integration.test_engines import HEAD_WIDTH, PATIENCE_S, complete, engines, served_by_vllm, text_of
from tests.integration.test_serving import LONG, make_store
from tests.unproven import VLLM, VLLM_PYTHON

pytestmark = pytest.mark.slow

SILENCE_S = 4.0
"""What an engine may keep; an answer of LONG's length takes longer."""


def test_one_that_works_is_waited_for_and_one_that_hangs_is_not(tmp_path: Path) -> None:
    """An answer that takes longer than an engine may be silent comes; of one that was stopped the loss is told."""
    if not VLLM_PYTHON.exists():
        VLLM.skip()
    store = make_store(tmp_path, 1, head_width=HEAD_WIDTH)
    store.point_to(0)
    with served_by_vllm(store, pass_timeout_s=SILENCE_S) as server, ThreadPoolExecutor(1) as pool:
        wait_until(server.answers, timeout_s=PATIENCE_S["vllm"], what="generation 0")
        answered = complete(server, max_tokens=LONG["max_tokens"], ignore_eos=True)
        assert text_of(answered)
        assert answered.elapsed.total_seconds() > SILENCE_S, "too short to say anything"
        (engine,) = engines(server)
        asked = pool.submit(complete, server, max_tokens=LONG["max_tokens"], ignore_eos=True)
        wait_until(lambda: server.metric("active") == 1, what="the answer's beginning")
        for each in (engine, *engine.children(recursive=True)):
            each.suspend()
        assert asked.result().json()["error"]["code"] == "engine_lost"
