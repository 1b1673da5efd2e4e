"""Learning rates over a round: warm-up, cosine, floor. Pure."""

import math
from typing import Final

# However few steps there are, half of a round is trained at full rate and below it as the cosine falls.
MOST_WARMUP: Final = 0.5


def rate_factor(done: float, *, warmup: float, floor: float) -> float:
    """Return the learning rate as a share of its peak.

    It rises linearly through the warm-up, then follows half a cosine down to the floor. The floor is not zero:
    a schedule that only ever decays loses plasticity on an endless stream.

    Args:
        done: share of the round that is done when the step ends, in (0, 1], so that no step has a rate of zero.
        warmup: share of the round in which the rate rises, in [0, 1).
        floor: where the cosine ends, in [0, 1].
    """
    if done < warmup:
        return done / warmup
    falling = min((done - warmup) / (1 - warmup), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * falling))


def warmup_share(step: int, done: float, *, share: float, least_steps: int) -> float:
    """Return the share of a round in which its rate rises: as set, but no fewer steps than the optimizer needs.

    Its moments are empty when a round begins, or of the text before. Until some gradients have come the update of a
    weight is little more than the sign of its last ones, at the full rate, and 3 % of a round of 16 steps is no step.
    How many steps the whole round will have is told from those so far, as time may end it before the steps do.

    Args:
        step: the step's index, from 0.
        done: share of the round that is done with it, in (0, 1].
        share: what is asked for, in [0, 1).
        least_steps: steps that it lasts at least, but for `MOST_WARMUP` of a round.
    """
    by_steps = least_steps * done / (step + 1)
    return max(share, min(by_steps, MOST_WARMUP))


def share_done(step: int, steps: int, *, seconds: float, max_seconds: float | None) -> float:
    """Return the share of a round, in (0, 1], that is done after a step.

    Where time is limited and runs out before the steps do, time decides: the rate still reaches its floor.

    Args:
        step: the step's index, from 0.
        steps: how many are planned.
        seconds: how long the round has trained.
        max_seconds: how long it may.
    """
    by_steps = (step + 1) / steps
    by_time = seconds / max_seconds if max_seconds else 0.0
    return min(max(by_steps, by_time), 1.0)
