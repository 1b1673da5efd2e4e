"""What is counted of a generation is shown while it is in memory."""

import gc
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from serving.engine.loaded import LoadedGeneration
from serving.generations.held import HeldGenerations
from serving.metrics import ServingMetrics
from tests.unit.serving.conftest import load


def numbers(registry: CollectorRegistry) -> set[str]:
    """The generations that have series."""
    return {
        sample.labels["generation"]
        for family in registry.collect()
        for sample in family.samples
        if "generation" in sample.labels
    }


@pytest.fixture
def registry(metrics: ServingMetrics) -> CollectorRegistry:
    """Where they are counted."""
    return metrics.registry


def test_series_begin_and_go_with_a_generation(
    paths: dict[str, Path], metrics: ServingMetrics, registry: CollectorRegistry
) -> None:
    """From 0 on, not from the first event; and however many come, those that are gone take no room."""
    held = HeldGenerations(metrics)
    generation: LoadedGeneration | None = load(paths["first"], 4)
    assert generation is not None
    held.add(generation)
    assert numbers(registry) == {"4"}
    assert registry.get_sample_value("riverkeep_serving_queue_seconds_count", {"generation": "4"}) == 0
    assert registry.get_sample_value("riverkeep_serving_tokens_total", {"direction": "read", "generation": "4"}) == 0
    generation = None
    gc.collect()
    assert held.engines() == []
    assert numbers(registry) == set()


def test_a_number_that_was_brought_in_again_keeps_its_series(
    paths: dict[str, Path], metrics: ServingMetrics, registry: CollectorRegistry
) -> None:
    """As it is where an engine was lost: the old one lets go after the new one began."""
    held = HeldGenerations(metrics)
    both = [load(paths["first"], 4), load(paths["first"], 4)]
    for each in both:
        held.add(each)
        del each
    both.pop(0)
    gc.collect()
    assert held.engines() == []
    assert numbers(registry) == {"4"}
