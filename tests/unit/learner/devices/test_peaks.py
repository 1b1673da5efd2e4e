"""The peak of memory that a phase is told by."""

import json
import subprocess
import sys

from learner.devices.peaks import CLEAR_REFS

MIB = 2**20
HELD = 300 * MIB
PEAKS = f"""
import json
import numpy as np
from learner.devices.peaks import forget_peak, peak_bytes

forget_peak()
peaks = [peak_bytes()]
held = np.ones({HELD}, dtype=np.uint8)
peaks.append(peak_bytes())
del held
peaks.append(peak_bytes())
forget_peak()
peaks.append(peak_bytes())
print(json.dumps(peaks))
"""


def test_a_peak_is_that_since_it_was_forgotten() -> None:
    """What an earlier phase held is not counted again, where the system can forget."""
    # In a process of its own: what other tests held and freed here may be taken again without a new page.
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    before, highest, freed, forgotten = json.loads(done.stdout)
    assert highest >= before + HELD // 2
    assert freed > highest - MIB, "it stays; the kernel counts in pages of several processors"
    if CLEAR_REFS.exists():
        assert forgotten <= highest - HELD // 2
