"""While much is imported the garbage collector rests, and afterwards it does its work again."""

import gc
import sys

import pytest

from checkpoints.quick_imports import quick_imports


def test_the_collector_rests_and_passes_over_what_came() -> None:
    """What was made meanwhile is never looked through again; what comes later is."""
    before = gc.get_freeze_count()
    try:
        with quick_imports():
            assert not gc.isenabled()
            kept = [[number] for number in range(1_000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.unfreeze()


def test_an_import_that_fails_leaves_the_collector_at_work() -> None:
    """The error goes on to whoever asked."""
    with pytest.raises(ModuleNotFoundError), quick_imports():
        __import__("no_such_module_as_this")
    assert gc.isenabled()
    assert "no_such_module_as_this" not in sys.modules
    gc.unfreeze()
