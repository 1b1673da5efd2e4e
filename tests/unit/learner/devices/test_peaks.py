"""The peak of memory that a phase is told by."""

import numpy as np

from learner.devices.peaks import CLEAR_REFS, forget_peak, peak_bytes

MIB = 2**20
HELD = 300 * MIB


def test_a_peak_is_that_since_it_was_forgotten() -> None:
    """What an earlier phase held is not counted again, where the system can forget."""
    forget_peak()  # of the tests before
    before = peak_bytes()
    held = np.ones(HELD, dtype=np.uint8)
    assert peak_bytes() >= before + HELD // 2
    highest = peak_bytes()
    del held
    assert peak_bytes() > highest - MIB, "it stays; the kernel counts in pages of several processors"
    forget_peak()
    if CLEAR_REFS.exists():
        assert peak_bytes() <= highest - HELD // 2
