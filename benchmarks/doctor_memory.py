"""How well `riverkeep doctor` foretells by a model's shape what memory a round takes, part by part.

    python -m benchmarks.doctor_memory [--json FILE] [--model GPT-2] [--missing]        # some 20 minutes on 2 cores

Five random models of 20 to 45 million parameters, three settings each. The doctor loads the model in a process of its
own, as `riverkeep doctor` does, and says what each part of a round takes; then a whole round runs in the learner's
process, which notes the peak of its resident memory in each phase. Figures are foretold / measured, of the phase that
is the highest and of each by itself.

With `--model` only that one's figures are measured, with `--missing` only those that FILE lacks; what FILE tells of the
others stays there. It is written after each setting.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from benchmarks.random_models import (
    LABELS,
    Imported,
    farthest_off,
    imported,
    kept_details,
    label_names,
    options_for,
    run_round,
)
from benchmarks.report import Bar, report
from checkpoints.card import ModelKind
from checkpoints.generation_store import BASE
from daemon.doctor.rehearsal import filler
from daemon.sizes.estimate import round_parts
from daemon.sizes.shape import ModelShape
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, write_round
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings

STEPS = 2
"""Each with a look at what may stop it early: in the second the best weights so far are held."""
LIMIT_S = 1200.0
WITHIN = 1.15
TITLE = "a round's memory: foretold by the model's shape / measured"
GIB = 2**30

BASE_RECIPE: Mapping[str, Any] = {
    "max_steps": STEPS,
    "early_stop_checks": STEPS,
    "importance_sequences": 4,
    "interpolation": (0.0,),
}
WHOLE = {"micro_batch": 4, "sequence_length": 128}
LORA = WHOLE | {"adapter": "lora"}
CHECKPOINTING = {"micro_batch": 16, "sequence_length": 128, "gradient_checkpointing": True}
EWC = WHOLE | {"ewc": 1.0}
EIGHT_BIT = WHOLE | {"optimizer": "adamw-8bit"}
LARGER = {"micro_batch": 16, "sequence_length": 128}
BOTH_PARTS = LORA | {"adapter_modules": ("mlp", "attention"), "adapter_rank": 64}


def llama() -> Any:
    """As SmolLM2 is, with a fifth of its layers."""
    sizes: dict[str, Any] = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    }
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=8192, max_position_embeddings=2048, tie_word_embeddings=True, **sizes)
    ).bfloat16()


def large_vocabulary() -> Any:
    """As small models of Qwen are: more than half of it is the embedding."""
    sizes: dict[str, Any] = {
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
    }
    return Qwen3ForCausalLM(
        Qwen3Config(vocab_size=150_000, max_position_embeddings=2048, tie_word_embeddings=True, **sizes)
    ).bfloat16()


def gpt2() -> Any:
    """With dropout, whose masks are kept, and learned positions."""
    return GPT2LMHeadModel(GPT2Config(vocab_size=8192, n_positions=1024, n_embd=512, n_layer=6, n_head=8))


def experts() -> Any:
    """Eight experts a layer, stored in half precision as mixtures are.

    Of one that is stored in float32 the pages of its file that were merged into experts count as the process's, as long
    as another weight is read from it: as much again as the experts, which the system takes back when it needs them.
    """
    sizes: dict[str, Any] = {
        "hidden_size": 256,
        "intermediate_size": 896,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    }
    return MixtralForCausalLM(MixtralConfig(vocab_size=8192, max_position_embeddings=2048, **sizes)).bfloat16()


def bert() -> Any:
    """A classifier."""
    sizes: dict[str, Any] = {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
    }
    return BertForSequenceClassification(
        BertConfig(vocab_size=30_000, max_position_embeddings=512, **label_names(), **sizes)
    )


MODELS: Mapping[str, tuple[ModelKind, Callable[[], Any], Mapping[str, Mapping[str, Any]]]] = {
    "Llama": ("causal-lm", llama, {"all weights": WHOLE, "LoRA": LORA, "EWC": EWC, "8-bit AdamW": EIGHT_BIT}),
    "Qwen3, vocabulary 150,000": (
        "causal-lm",
        large_vocabulary,
        {"all weights": WHOLE, "LoRA, all maps": BOTH_PARTS, "EWC": EWC, "8-bit AdamW": EIGHT_BIT},
    ),
    "GPT-2": ("causal-lm", gpt2, {"all weights": WHOLE, "16 rows": LARGER, "16 rows, checkpointing": CHECKPOINTING}),
    "Mixtral": (
        "causal-lm",
        experts,
        {"all weights": WHOLE, "16 rows": LARGER, "16 rows, checkpointing": CHECKPOINTING},
    ),
    "BERT": ("classifier", bert, {"all weights": WHOLE, "LoRA": LORA, "16 rows": LARGER}),
}


@dataclass(frozen=True, slots=True)
class Compared:
    """What was foretold of a round, and what it took.

    Attributes:
        name: of model and setting.
        parameters: of the model.
        foretold: bytes by phase and part.
        measured: bytes at the highest, by phase.
    """

    name: str
    parameters: int
    foretold: Mapping[str, Mapping[str, int]]
    measured: Mapping[str, int]

    @property
    def ratio(self) -> float:
        """Of the whole round; of phases that it did not have, as it merged no adapters, nothing can be said."""
        return max(sum(self.foretold[phase].values()) for phase in self.by_phase) / max(self.measured.values())

    @property
    def by_phase(self) -> dict[str, float]:
        """Of each phase that was foretold."""
        return {
            phase: sum(parts.values()) / self.measured[phase]
            for phase, parts in self.foretold.items()
            if phase in self.measured
        }


def shape_of(kind: ModelKind, model: Imported, recipe: RecipeSettings) -> ModelShape:
    """What the doctor finds out by loading the model; of a recipe no more than its adapter matters to it."""
    learner = LearnerSettings(device="cpu", recipe=recipe).model_dump(mode="json")
    question = json.dumps([str(model.store), str(model.directory), kind, [], learner])
    command = [sys.executable, "-m", "daemon.doctor.load_model", question]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    answer = json.loads(completed.stdout.rpartition("\n")[2])
    return ModelShape.of({name: answer[name] for name in ModelShape.__dataclass_fields__})


def measure(kind: ModelKind, model: Imported, recipe: RecipeSettings, folder: Path) -> Mapping[str, int]:
    """The peaks of a round's phases."""
    directory, ref = folder / "round", GenerationRef(BASE, model.digest)
    shutil.rmtree(directory, ignore_errors=True)
    numbers = iter(range(1, 1_000_000))
    characters = int(recipe.length * model.characters_per_token)

    def samples(count: int) -> list[RoundSample]:
        chosen = [next(numbers) for _ in range(count)]
        # Two to a row, so that rows are packed.
        length = characters // 2 if kind == "causal-lm" else characters
        label = {number: LABELS[number % 2] if kind == "classifier" else None for number in chosen}
        return [RoundSample(number, filler(length, number), "filler", label[number]) for number in chosen]

    rows = (STEPS + 1) * recipe.batch_sequences * (2 if kind == "causal-lm" else 1)
    spec = RoundSpec(round=1, kind=kind, seed=1, parent=ref, base=ref, recipe=recipe, device="cpu")
    write_round(
        directory,
        replace(spec, plausibility_documents=1),
        parent_dir=model.directory,
        base_dir=model.directory,
        fresh=samples(rows // 2),
        replay=samples(rows),
        early_stop=samples(1),
        slices=[RoundSlice("anchor", "anchor", "filler", tuple(samples(recipe.micro_batch)))],
    )
    return run_round(directory, limit_s=LIMIT_S).phase_peak_bytes


def compare(name: str, settings: Sequence[str]) -> Iterator[Compared]:
    """Foretell and measure a model's rounds."""
    with tempfile.TemporaryDirectory() as folder:
        kind, make, known = MODELS[name]
        model, shapes = imported(kind, make, Path(folder), positions=2048), dict[Any, ModelShape]()
        for setting in settings:
            chosen = {**BASE_RECIPE, **known[setting]}
            recipe = RecipeSettings(batch_sequences=2 * chosen["micro_batch"], **chosen)
            adapter = (recipe.adapter, recipe.adapter_rank, recipe.adapter_modules)
            if adapter not in shapes:
                shapes[adapter] = shape_of(kind, model, recipe)
            foretold = round_parts(shapes[adapter], recipe, is_first=True)
            measured = measure(kind, model, recipe, Path(folder))
            yield Compared(f"{name}, {setting}", shapes[adapter].parameters, foretold, measured)


def bars(compared: Sequence[Compared]) -> list[Bar]:
    """How far off the farthest is, of rounds and of phases, as a factor of at least 1; and of each round."""
    return [
        Bar(name="farthest off", value=farthest_off(each.ratio for each in compared), at_most=WITHIN),
        Bar(
            name="any phase, farthest off",
            value=farthest_off(ratio for each in compared for ratio in each.by_phase.values()),
            at_most=WITHIN,
        ),
        *(Bar(name=each.name, value=each.ratio) for each in compared),
    ]


def details(compared: Sequence[Compared]) -> dict[str, Any]:
    """All figures."""
    return {
        "rounds": {
            each.name: {
                "parameters": each.parameters,
                "ratio": each.ratio,
                "by_phase": each.by_phase,
                "foretold": each.foretold,
                "measured": each.measured,
            }
            for each in compared
        }
    }


def show(each: Compared, console: Console) -> None:
    """The parts of a round as a table."""
    table = Table("phase", "foretold, GiB", "measured", "", title=f"{each.name}: {each.ratio:.2f}")
    for phase in each.by_phase:
        parts = each.foretold[phase]
        told = ", ".join(f"{part} {size / GIB:.2f}" for part, size in parts.items() if size)
        table.add_row(phase, told, f"{each.measured[phase] / GIB:.2f}", f"{each.by_phase[phase]:.2f}")
    console.print(table)


def main() -> int:
    """Run the benchmark."""
    options = options_for(__doc__, list(MODELS))
    known = {
        name: Compared(name, facts["parameters"], facts["foretold"], facts["measured"])
        for name, facts in kept_details(options).get("rounds", {}).items()
    }
    models = list(MODELS) if options.model is None else [options.model]
    console = Console(stderr=True)
    for model in models:
        settings = [name for name in MODELS[model][2] if not (options.missing and f"{model}, {name}" in known)]
        for compared in compare(model, settings) if settings else ():
            known[compared.name] = compared
            show(compared, console)
            report(TITLE, bars(list(known.values())), options.json, details(list(known.values())))
    return report(TITLE, bars(list(known.values())), options.json, details(list(known.values())))


if __name__ == "__main__":
    sys.exit(main())
