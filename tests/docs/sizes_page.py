"""The page of settings by a model's size, worked out by what `riverkeep doctor` foretells with.

python -m tests.docs.sizes_page > docs/sizes.md
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from daemon.sizes.estimate import GIB, TRAIN, round_parts, serving_bytes
from daemon.sizes.sequence_length import WANTED
from daemon.sizes.shape import ModelShape
from learner.learning_rates import usual_rate
from learner.settings import RecipeSettings

BFLOAT_BYTES: Final = 2
DEVICES: Final = 4


@dataclass(frozen=True, slots=True)
class Example:
    """A model whose shape is published.

    Attributes:
        size: what the page calls it.
        like: whose shape it is.
        tied: whether embedding and head are one.
    """

    size: str
    like: str
    vocabulary: int
    hidden: int
    inner: int
    heads: int
    key_value_heads: int
    layers: int
    tied: bool

    @property
    def parameters(self) -> int:
        """All weights of a Llama of this shape."""
        attention = 2 * self.hidden**2 + 2 * self.hidden**2 * self.key_value_heads // self.heads
        layer = attention + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.layers * layer + self.hidden + self.vocabulary * self.hidden * (1 if self.tied else 2)

    def shape(self, device_type: str) -> ModelShape:
        """As the estimate takes it: stored in bfloat16, as such models are published."""
        return ModelShape(
            parameters=self.parameters,
            stored_bytes=BFLOAT_BYTES * self.parameters,
            outputs=self.vocabulary,
            by_token=True,
            hidden=self.hidden,
            inner=self.inner,
            heads=self.heads,
            layers=self.layers,
            positions=WANTED[device_type],
            compute_bytes=BFLOAT_BYTES if device_type == "cuda" else 4,
            device_type=device_type,
            largest_bytes=4 * self.vocabulary * self.hidden,
            is_bfloat16=True,
        )


EXAMPLES: Final = (
    Example("0.1 billion", "SmolLM2-135M", 49_152, 576, 1_536, 9, 3, 30, tied=True),
    Example("1 billion", "Llama-3.2-1B", 128_256, 2_048, 8_192, 32, 8, 16, tied=True),
    Example("8 billion", "Llama-3.1-8B", 128_256, 4_096, 14_336, 32, 8, 32, tied=False),
)
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "full": {},
    "8-bit AdamW": {"optimizer": "adamw-8bit"},
    "LoRA": {"adapter": "lora"},
    "QLoRA": {"adapter": "lora", "adapter_base": "4bit"},
    f"full, sharded over {DEVICES}": {},
}
"""What each changes in `[learner.recipe]`; the last one divides what training holds."""
SAVING: Final = {"micro_batch": 1, "gradient_checkpointing": True}
HEAD: Final = f"""# Which settings for which size

By default a round trains all weights in float32 with AdamW, at a rate and in sequences that follow from the
model. That is right as long as it fits. What follows is what the estimate of `riverkeep doctor` says of three
published shapes, stored in bfloat16: so that you know what to ask for before you have the machine. On the
machine ask `riverkeep doctor` itself, which rehearses a round of your model and names the largest `micro_batch`
that fits.

**None of this was measured on a GPU.** On CPUs the estimate was held against what rounds took ([what was
measured](measured.md), `benchmarks/rehearsal.py`); `python -m benchmarks.gpu` measures whole rounds at shapes of
0.5, 1 and 8 billion weights where there is a GPU. No times stand here for that reason: how fast a device is,
`riverkeep doctor` finds out.

This page is made by `python -m tests.docs.sizes_page`.

## What a round takes

GiB at the least: one sequence in a pass (`micro_batch = 1`), with gradient checkpointing, {WANTED["cuda"]:,}
tokens on a GPU and {WANTED["cpu"]:,} on a CPU, as are chosen where nothing else is known. *Highest* is the
phase of the round that takes most. For an adapter that is the scoring of held-out text (`score`): model and
base are loaded whole in float32, one beside the other; of divided weights each device scores with the model
alone. Answering takes its part besides where it runs on the same device.

"""
AFTER: Final = f"""
## Which to take

- **Full**, where it fits: what Riverkeep's own figures were measured with, at sizes that a CPU can train.
- **8-bit AdamW**, where full does not fit by a factor of two: weights, gradients and moments in 6 bytes a
  weight for 16, rounded by chance so that nothing is lost in the mean ([how](memory.md#8-bit-adamw)).
- **LoRA**, where training does not fit but scoring does: it learns less in a round ([adapters](adapters.md)),
  at ten times the rate.
- **QLoRA** takes less than LoRA in training alone. As the highest phase is `score` for both, it saves nothing
  but for what else is on the device while it trains.
- **Sharded**, where there are several devices and training does not fit one of them; the highest phase must
  still fit each.
- What fits none of them: a smaller model. A model that does not fit one device whole in float32 cannot be
  scored.

With several rows in a pass each step takes less time, until the device is busy; `riverkeep doctor` says how many fit.
`gradient_checkpointing` need not be set: a round begins with it where it would not fit without, on a CPU after fewer
rows in a pass.

## The settings

Full, by itself: nothing to set. A larger device is used by more rows:

```toml
[learner.recipe]
micro_batch = 4
```

8-bit AdamW:

```toml
[learner.recipe]
optimizer = "adamw-8bit"
```

LoRA (`pip install '.[adapters]'`):

```toml
[learner.recipe]
adapter = "lora"
```

QLoRA (`pip install '.[adapters,four-bits]'`):

```toml
[learner.recipe]
adapter = "lora"
adapter_base = "4bit"
```

Several GPUs, each with a share of the weights:

```toml
[learner]
devices = {DEVICES}
sharded = true
```

Answers beside rounds on one GPU take their memory from it. On a machine with two, give each its own:

```toml
[learner]
device = "cuda:0"

[serving]
device = "cuda:1"
```

Models of a billion weights and more are better answered from by vLLM ([engines](engines.md)).

## Rates and lengths

The peak learning rate of a causal model, where `learner.recipe.learning_rate` names none
(`learner/learning_rates.py` has the sources):

"""


def recipe_of(name: str, shape: ModelShape) -> RecipeSettings:
    """The least of a recipe: a row in a pass, with checkpointing."""
    return RecipeSettings.model_validate({**SAVING, **RECIPES[name]}).of_length(shape.positions)


def highest(name: str, shape: ModelShape) -> tuple[float, str, float]:
    """GiB of the phase that takes most, its name, and GiB of training."""
    if "sharded" in name:
        shape = replace(shape, divided_by=DEVICES)
    phases = {phase: sum(parts.values()) / GIB for phase, parts in round_parts(shape, recipe_of(name, shape)).items()}
    most = max(phases, key=lambda phase: phases[phase])
    return phases[most], most, phases[TRAIN]


def memory_rows() -> Iterator[str]:
    """A row for each size and recipe."""
    yield "| size | recipe | GPU: training | GPU: highest | CPU: highest |"
    yield "|---|---|---|---|---|"
    for example in EXAMPLES:
        for name in RECIPES:
            most, phase, training = highest(name, example.shape("cuda"))
            on_cpu = "" if "sharded" in name else "{:.1f} ({})".format(*highest(name, example.shape("cpu"))[:2])
            each = ", each" if "sharded" in name else ""
            yield f"| {example.size} | {name}{each} | {training:.1f} | {most:.1f} ({phase}) | {on_cpu} |"


def answering() -> str:
    """What serving takes at a swap."""
    told = [f"{serving_bytes(each.shape('cuda')) / GIB:.1f} of {each.size}" for each in EXAMPLES]
    return f"Answering takes, in GiB, at the moment of a swap, two generations and no cache: {', '.join(told)}."


def rate_rows() -> Iterator[str]:
    """A row for each size."""
    yield "| size | as | weights | all weights | with an adapter | why |"
    yield "|---|---|---|---|---|---|"
    for each in EXAMPLES:
        rates = [
            RecipeSettings.model_validate(RECIPES[name]).peak_rate("causal-lm", each.parameters)
            for name in ("full", "LoRA")
        ]
        why = usual_rate("causal-lm", each.parameters).why
        weights = f"{each.parameters / 1e9:.2f} billion"
        yield f"| {each.size} | {each.like} | {weights} | {rates[0]:.2g} | {rates[1]:.2g} | {why} |"


def page() -> str:
    """All of it."""
    tail = (
        f"\nSequences: {WANTED['cuda']:,} tokens on a GPU and {WANTED['cpu']:,} on a CPU where nothing is known of\n"
        "the documents, less where they are short, memory is little or the model has fewer positions; chosen once,\n"
        "when the base is imported.\n"
    )
    return HEAD + "\n".join(memory_rows()) + "\n\n" + answering() + "\n" + AFTER + "\n".join(rate_rows()) + "\n" + tail


if __name__ == "__main__":
    print(page(), end="")
