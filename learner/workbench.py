"""What a round works with, once loaded: the model, its tokenizer, the device, and how to score."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from checkpoints.document_frame import BARE, DocumentFrame, read_frame
from checkpoints.files.label_names import SEVERAL
from checkpoints.files.weight_files import is_mostly_bfloat16
from checkpoints.kinds import ModelKind
from checkpoints.load import load_model, load_tokenizer, require_match
from checkpoints.matching import decoder_start
from checkpoints.probe.ask import reading_of
from checkpoints.probe.conduct import Conduct
from checkpoints.probe.separators import frame_of
from learner.devices.device import Device, choose, settle, threads_of_each
from learner.devices.ranks import ALONE, Ranks
from learner.directory.report import WAY_OF_SCORING
from learner.directory.round_directory import PARENT, RESIDUALS, RoundInput, RoundSpec
from learner.evaluation.document_scores import Evaluator
from learner.material.encoding import Encoder, longest_sequence
from learner.material.masks import masking_of
from learner.material.step_plan import InputShape
from learner.progress import Progress
from learner.weights.residual import Residuals, add_residuals, load_residuals
from memory.ledger.scorings import Scoring

CPU: Final = torch.device("cpu")
DOCUMENTS, TOKENS, SEQUENCES = "documents", "tokens", "sequences"
"""What the phases of a round are counted in: encoding, scoring, and training."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """A round's loaded parts.

    Attributes:
        given: what the round's directory holds.
        progress: told of everything.
        device: where it runs.
        threads: of the CPU; part of what makes results repeat.
        model: begins as the parent with float32 weights and is what is trained.
        encode: samples to tokens.
        evaluate: scores documents.
        shape: what the model says about its input.
        scored: how scores are taken here.
        parameters: how many the model has, without an adapter.
        trains_as_stored: whether the weights that are stored in bfloat16 are trained in it, from what is stored.
        ranks: the processes that run the round together.
    """

    given: RoundInput
    progress: Progress
    device: Device
    threads: int
    model: Any
    encode: Encoder
    evaluate: Evaluator
    shape: InputShape
    scored: Scoring
    parameters: int
    trains_as_stored: bool = False
    ranks: Ranks = ALONE

    def load(self, which: str, *, device: torch.device, dtype: torch.dtype | None, ground: Path | None = None) -> Any:
        """Load another copy of `parent`, `base` or the like; see `checkpoints.load.load_model`."""
        return load_model(self.given.path / which, self.given.spec.kind, device=device, dtype=dtype, ground=ground)

    @property
    def is_sharded(self) -> bool:
        """Whether the round divides its weights; a rank that is alone has nobody to divide them with."""
        return self.given.spec.sharded and not self.ranks.is_alone

    @contextmanager
    def lending_room(self) -> Iterator[Callable[[str], Any]]:
        """Yield what loads another generation in float32 on the device, for as long as the context lasts.

        A round that divides its weights has models of which a device holds no two: its own waits in main memory then.
        """
        is_moved = False

        def load(which: str) -> Any:
            nonlocal is_moved
            if self.is_sharded:
                self.model.to(CPU)
                is_moved = True
            return self.load(which, device=self.device.where, dtype=torch.float32)

        yield load
        if is_moved:
            # What was loaded goes first.
            gc.collect()
            self.model.to(self.device.where)

    def load_master(self, which: str, where: torch.device | None = None) -> Any:
        """Load another copy of `parent` or `base` in float32, as it was before it was rounded to be stored.

        Args:
            which: of the two.
            where: it is to lie; None: on the round's device.
        """
        model = self.load(which, device=where or self.device.where, dtype=torch.float32)
        add_residuals(model, self.residuals(which, model))
        return model

    def residuals(self, which: str, model: Any) -> Residuals:
        """What rounding cut off `parent` or `base`, whose weights `model` has; read anew by each call.

        Held through the training it would take a byte of memory a weight.
        """
        return load_residuals(self.given.path / which / RESIDUALS, model)

    @property
    def device_name(self) -> str:
        """The device for reports, with the CPU's threads where it is the CPU, and with how many such there are."""
        threads = f", {self.threads} threads" if self.device.where.type == "cpu" else ""
        others = "" if self.ranks.is_alone else f", {self.ranks.count} ranks"
        return f"{self.device.name}{threads}{others}"


def set_up(given: RoundInput, progress: Progress, ranks: Ranks = ALONE) -> Workbench:
    """Seed, choose the device, load the parent.

    Raises:
        checkpoints.errors.CheckpointsError: the parent cannot be loaded, or neither trained nor scored rightly.
        LearnerError: the device is not here.
    """
    spec, parent = given.spec, given.path / PARENT
    device = choose(spec.device, spec.recipe.precision, ranks)
    progress.watch(device)
    threads = settle(device, seed=spec.seed, threads=threads_of_each(spec.threads, ranks.count))
    tokenizer = load_tokenizer(parent)
    model = load_model(parent, spec.kind, device=device.where, dtype=torch.float32)
    require_match(model, spec.kind, tokenizer, parent)
    names = _labels(model.config, spec.new_labels) if spec.kind == "classifier" else None
    numbers = None if names is None else {name: number for number, name in names.items()}
    conduct = reading_of(model, spec.kind, tokenizer)
    frame = _frame(parent, spec.kind, model, tokenizer, conduct)
    shape = _shape(spec, model, tokenizer, conduct, names)
    scored = Scoring(device.where.type, str(device.compute).removeprefix("torch."), spec.recipe.length, WAY_OF_SCORING)
    return Workbench(
        given=given.known_as(scored),
        progress=progress,
        device=device,
        threads=threads,
        model=model,
        encode=Encoder(
            tokenizer,
            shape.longest,
            numbers,
            partial(progress.advance, DOCUMENTS),
            several=shape.several,
            frame=frame,
            pairs=shape.start is not None,
        ),
        evaluate=Evaluator(
            device,
            shape.longest,
            spec.recipe.micro_batch,
            shape.pad,
            names,
            ranks.for_all(partial(progress.advance, TOKENS)),
            rows_together=shape.rows_together,
            side=shape.side,
            several=shape.several,
            masking=shape.masking,
            start=shape.start,
            ranks=ranks,
        ),
        shape=shape,
        scored=scored,
        parameters=sum(weight.numel() for weight in model.parameters()),
        trains_as_stored=spec.recipe.trains_as_stored and is_mostly_bfloat16(parent),
        ranks=ranks,
    )


def _shape(spec: RoundSpec, model: Any, tokenizer: Any, conduct: Conduct, names: Sized | None) -> InputShape:
    """What the model says about its input; `names` are a classifier's labels."""
    wanted = min(spec.recipe.length, conduct.longest or spec.recipe.length)
    return InputShape(
        longest=longest_sequence(model.config, tokenizer, wanted),
        pad=model.config.pad_token_id,
        packed=conduct.packed and conduct.rows_together,
        classes=None if names is None else len(names),
        rows_together=conduct.rows_together,
        side=conduct.padding or "right",
        several=names is not None and model.config.problem_type == SEVERAL,
        masking=masking_of(tokenizer) if spec.kind == "masked-lm" else None,
        start=decoder_start(model) if spec.kind == "seq2seq" else None,
    )


def _frame(parent: Path, kind: ModelKind, model: Any, tokenizer: Any, conduct: Conduct) -> DocumentFrame | None:
    """What stands around a language model's documents; None for a classifier's and pairs, which a tokenizer frames."""
    if kind == "causal-lm":
        # Of a generation that was made before this was kept the model itself is asked.
        return read_frame(parent) or frame_of(model, tokenizer, together=conduct.rows_together)
    # The tokenizer's frame stands around each piece of a masked LM's document, not around the whole.
    return BARE if kind == "masked-lm" else None


def _labels(config: Any, new: Iterable[str]) -> dict[int, str]:
    """The labels of a classifier by number, and after them those that it is to learn."""
    names = {int(number): str(name) for number, name in config.id2label.items()}
    return names | dict(enumerate((name for name in new if name not in names.values()), len(names)))
