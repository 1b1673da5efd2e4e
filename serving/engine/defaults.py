"""What holds where a request is silent: the model's own `generation_config`, else OpenAI's defaults."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import structlog

_log = structlog.get_logger(__name__)

# The least and the most of each that is taken over; None: any size.
RANGES: Final[Mapping[str, tuple[float, float | None]]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (-1, None),
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 100),
    "max_new_tokens": (1, None),
}
WHOLE: Final = frozenset({"top_k", "max_new_tokens"})
# What would change answers and is not followed, and the values of it that ask for nothing.
NOT_FOLLOWED: Final[Mapping[str, tuple[Any, ...]]] = {
    "num_beams": (1,),
    "min_new_tokens": (0,),
    "min_length": (0,),
    "typical_p": (1.0,),
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "penalty_alpha": (0.0,),
    "no_repeat_ngram_size": (0,),
    "bad_words_ids": ([],),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "sequence_bias": ({},),
    "guidance_scale": (1.0,),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "stop_strings": (),
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a model's `generation_config` says of answers.

    Attributes:
        temperature: 0 where it says that nothing is to be drawn (`do_sample` is false).
        top_p: as in `Sampling`; so are `top_k`, `min_p` and `repetition_penalty`.
        top_k: see above.
        min_p: see above.
        repetition_penalty: see above.
        max_new_tokens: most tokens of an answer; None where it says nothing.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int | None = None

    @classmethod
    def of(cls, config: object, followed: Collection[str] = ()) -> Self:
        """Read them off a model's `generation_config`; what is out of range, or not followed here, is warned of.

        Args:
            config: the model's.
            followed: what of `NOT_FOLLOWED` is, for this model.
        """
        configured = {name: getattr(config, name, None) for name in RANGES}
        usable = {name: value for name, value in configured.items() if value is not None and _usable(name, value)}
        unusable = [name for name, value in configured.items() if value is not None and name not in usable]
        others = {name: getattr(config, name, None) for name in NOT_FOLLOWED if name not in followed}
        ignored = [name for name, value in others.items() if value is not None and value not in NOT_FOLLOWED[name]]
        if unusable or ignored:
            _log.warning("generation_config_not_followed", out_of_range=unusable, not_supported=ignored)
        if getattr(config, "do_sample", None) is False:
            usable["temperature"] = 0.0
        return cls(**usable)


USUAL: Final = Defaults()


def _usable(name: str, value: Any) -> bool:
    # A generation_config is JSON of its author's, which transformers checks in part only; `True` would pass for 1.
    if isinstance(value, bool) or not isinstance(value, int if name in WHOLE else int | float):
        return False
    least, most = RANGES[name]
    return math.isfinite(value) and least <= value and (most is None or value <= most)
