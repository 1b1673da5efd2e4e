"""How many prompts a bound asks for."""

import pytest

from gate.skills.prompts_needed import confidence_of_each, prompts_needed


@pytest.mark.parametrize(("bound", "candidates", "prompts"), [(0.1, 1, 29), (0.1, 4, 42), (0.05, 4, 86)])
def test_the_usual_bounds(bound: float, candidates: int, prompts: int) -> None:
    """As settings and documentation tell them, at a confidence of 0.95."""
    assert prompts_needed(bound, confidence_of_each(0.95, candidates)) == prompts
