"""Whether an answer is right. Pure."""

import math
import unicodedata
from collections.abc import Sequence

from learner.skills.prompts import Asking, Prompt


def cut_at_stop(answer: str, stops: Sequence[str]) -> str:
    """What stands before the first of several texts, but for white space at the answer's beginning."""
    begun = answer.lstrip()
    return begun[: min((at for stop in stops if (at := begun.find(stop)) >= 0), default=len(begun))]


def is_right(prompt: Prompt, answer: str, asking: Asking) -> bool:
    """Whether a written answer is what `exact` or `contains` expects.

    Compared is what is read: runs of white space as one, none at the ends, and characters in Unicode's form NFC.
    """
    given = _read(answer, asking)
    expected = [_read(text, asking) for text in prompt.expected]
    return given in expected if prompt.kind == "exact" else any(text in given for text in expected)


def likeliest(prompt: Prompt, log_likelihoods: Sequence[float], asking: Asking) -> int | None:
    """The place of the choice that is more likely than every other; None where there is no such.

    As in EleutherAI's lm-evaluation-harness (`ConfigurableTask.process_results`): `acc` takes the largest of the
    choices' log-likelihoods, each summed over its tokens; `acc_norm` divides each by the choice's characters first, as
    longer texts are less likely for their length alone. Equals are no answer here, where the harness takes the first.

    Args:
        prompt: with the choices.
        log_likelihoods: of each choice after the prompt, in nats, <= 0, summed over its tokens.
        asking: by which of the two.
    """
    lengths = [len(choice) if asking.choice_by == "length" else 1 for choice in prompt.expected]
    weighed = [each / length for each, length in zip(log_likelihoods, lengths, strict=True)]
    best = max(weighed)
    # NaN is equal to nothing, itself neither.
    if not all(map(math.isfinite, weighed)) or weighed.count(best) > 1:
        return None
    return weighed.index(best)


def _read(text: str, asking: Asking) -> str:
    read = " ".join(unicodedata.normalize("NFC", text).split())
    return read.casefold() if asking.ignore_case else read
