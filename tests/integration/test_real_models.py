"""A real model the whole way: SmolLM2 from a GGUF file is served, learns a round through LoRA, is judged, and answers.

Takes a minute on a core; `make test-models` does the same with Gemma 3 270M.
"""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.real_models import SHORT, take_whole_way
from learner.directory.links import link_tree


# The import of the model may count to it, and a busy machine takes several times as long.
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_smollm2_learns_is_judged_and_still_answers(smollm2: Path, tmp_path: Path) -> None:
    """With replay, KL and chats; whatever the gate says it says why, and the answers come by the chat template."""
    link_tree(smollm2, tmp_path / "checkpoints")
    way = take_whole_way(tmp_path / "checkpoints", tmp_path, replace(SHORT, threads=1), print)
    assert way.chats
    assert way.is_judged, way
    assert all(math.isfinite(loss) for losses in way.losses.values() for loss in losses)
    assert all(parent != candidate for parent, candidate in way.losses.values()), "nothing was learned"
    assert (way.before.generation, way.after.generation) == (0, 1)
    assert way.answers_as_asked, way
