"""Learning rates by the size of a model: what a recipe gets that names none. Torch-free.

What was learned over trillions of tokens is moved by rates well below those at which it was learned, and larger models
were pre-trained at lower ones. So a causal language model gets a tenth of the peak at which models of its size were
pre-trained:

    up to     peak of pre-training, and where it is published
    0.25e9    6e-4 (GPT-3 125M, OPT-125M, Pythia-160M), 1e-3 (Pythia-70M), 3e-3 (SmolLM-135M); 1e-3 is taken
    1.1e9     3e-4 (GPT-3 350M, OPT-350M, Pythia-410M, Pythia-1B), 2.5e-4 (GPT-3 760M)
    2e9       2e-4 (GPT-3 1.3B, OPT-1.3B, Pythia-1.4B)
    4.5e9     1.6e-4 (GPT-3 2.7B, OPT-2.7B, Pythia-2.8B)
    10e9      1.2e-4 (GPT-3 6.7B, OPT-6.7B, Pythia-6.9B)
    more      1e-4 (GPT-3 13B, OPT-13B, OPT-30B)

GPT-3: Brown et al. 2020, table 2.1. OPT: Zhang et al. 2022, table 1, and metaseq's opt_job_constants.py. Pythia:
Biderman et al. 2023, and the table of its repository. SmolLM: its configuration in huggingface/smollm. Recipes for
fine-tuning all weights lie near: torchtune's have 2e-5 for models of 0.5 to 8 billion parameters.

A masked language model gets 1e-4, at which RoBERTa-base was trained on a task's own text, a sixth of its peak in
pre-training (Gururangan et al. 2020, "Don't Stop Pretraining", table 13), a larger one a tenth of RoBERTa-large's 4e-4
(Liu et al. 2019). A classifier gets what its encoder's authors fine-tuned with: BERT of 110 and 340 million 2e-5 to
5e-5 (Devlin et al. 2019, appendix A.3), RoBERTa-large of 355 million 1e-5 to 3e-5 (Liu et al. 2019).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from checkpoints.kinds import ModelKind


@dataclass(frozen=True, slots=True)
class RateOfSize:
    """The peak learning rate of models of a size, all weights trained.

    Attributes:
        most: parameters of the largest.
        rate: at the peak.
        why: half a sentence, for people.
    """

    most: float
    rate: float
    why: str


def _tenth(most: float, peak: float, models: str) -> RateOfSize:
    return RateOfSize(most, peak / 10, f"a tenth of {peak:g}, near which the peak of {models} lay in pre-training")


RATES: Final[Mapping[ModelKind, tuple[RateOfSize, ...]]] = {
    "causal-lm": (
        _tenth(0.25e9, 1e-3, "Pythia-160M, OPT-125M (both below) and SmolLM-135M (above)"),
        _tenth(1.1e9, 3e-4, "OPT-350M, Pythia-410M and Pythia-1B"),
        _tenth(2e9, 2e-4, "OPT-1.3B and Pythia-1.4B"),
        _tenth(4.5e9, 1.6e-4, "OPT-2.7B and Pythia-2.8B"),
        _tenth(10e9, 1.2e-4, "OPT-6.7B and Pythia-6.9B"),
        _tenth(float("inf"), 1e-4, "OPT-13B and OPT-30B"),
    ),
    "seq2seq": (
        RateOfSize(float("inf"), 1e-4, "between the 3e-5 at which BART and the 1e-3 at which T5 are fine-tuned"),
    ),
    "masked-lm": (
        RateOfSize(0.25e9, 1e-4, "as RoBERTa-base was trained on a task's own text"),
        _tenth(float("inf"), 4e-4, "RoBERTa-large"),
    ),
    "classifier": (
        RateOfSize(0.25e9, 2e-5, "as BERT of 110 million parameters is fine-tuned"),
        RateOfSize(float("inf"), 1e-5, "as RoBERTa-large of 355 million parameters is fine-tuned"),
    ),
}


def usual_rate(kind: ModelKind, parameters: int) -> RateOfSize:
    """Return the rate of a model's size.

    Args:
        kind: of the model.
        parameters: how many it has, tied ones once.
    """
    return next(row for row in RATES[kind] if parameters <= row.most)
