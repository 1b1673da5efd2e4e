"""Whether a round's passes run compiled layers: tried on the round's own first text, against the layers as they are."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn

from learner.devices.device import Device, is_out_of_memory, random_state, restore_random
from learner.objectives.compiled_layers import CompiledLayers
from learner.objectives.forward_pass import MicroBatch
from learner.objectives.passes import CausalPass, Pass
from learner.progress import Progress

_SAME: Final = 1e-5
_SAME_GRADIENT: Final = 1e-3
_SAME_IN_SHORT: Final = 3e-2
"""How far apart may be, by rounding: losses over the largest of them, and the norm of a weight's gradient; the last in
shorter floats than float32, of both."""


class LayersNotCompiled(Exception):
    """The layers run as they are; the message says why, without a full stop."""


class Compiling:
    """What the passes of a training run: the model's layers compiled, or as they are.

    Args:
        own: the pass with the layers as they are.

    Attributes:
        pass_: that is in force.
        note: one sentence where layers that were to be compiled run as they are; else empty.
    """

    def __init__(self, own: Pass) -> None:
        self.pass_ = self._own = own
        self.note = ""
        self._progress: Progress | None = None

    def begin(
        self, batches: Sequence[MicroBatch], weights: Sequence[nn.Parameter], device: Device, progress: Progress
    ) -> None:
        """Compile the layers and try them, before the first step.

        Args:
            batches: of the round's first step; none where passes have all kinds of shapes.
            weights: that are trained, without gradients.
            device: where they are.
            progress: told of what comes of it, and of what goes wrong later.
        """
        self._progress, began = progress, progress.clock()
        # The first pass of new text and the first of replayed: all others have their shapes, but for a row.
        first = {batch.first_replayed == len(batch.targets): batch for batch in reversed(batches)}
        if not isinstance(self._own, CausalPass) or not batches:
            self._tell("only packed text of a causal language model has passes of one shape")
            return
        try:
            self.pass_ = compiled_pass(self._own, first.values(), weights, device)
        except LayersNotCompiled as error:
            self._tell(str(error))
        else:
            progress.say("compiled", compile_seconds=round(progress.clock() - began, 3))

    def gives_up(self, error: Exception, step: int) -> bool:
        """Go on without compiling, where that is what failed; tell whether it is.

        Args:
            error: that a step under way ended with.
            step: its number.
        """
        if self.pass_ is self._own or not is_of_compiler(error):
            return False
        self.pass_ = self._own
        self._tell(f"from step {step + 1:,} on, {reason_of(error)}")
        return True

    def _tell(self, why: str) -> None:
        self.note = f"The model's layers ran as they are, not compiled (learner.compile): {why}."
        assert self._progress is not None
        self._progress.say("not_compiled", reason=self.note)


def compiled_pass(
    own: CausalPass, batches: Iterable[MicroBatch], weights: Sequence[nn.Parameter], device: Device
) -> CausalPass:
    """Return a pass whose layers are compiled, once it has shown to give what the own one gives.

    Args:
        own: the pass with the layers as they are.
        batches: of the round's first step. Gradients of both passes are made and dropped; nothing else changes.
        weights: that are trained, without gradients.
        device: where they are.

    Raises:
        LayersNotCompiled: it does not, or cannot be had.
    """
    layers = CompiledLayers(*(half.model for half in (own.model, own.parent) if half is not None))
    if not len(layers):
        raise LayersNotCompiled("the model names no layers that could be")
    made = replace(own, layers=layers)
    for batch in batches:
        expected = _passed(own, batch, weights, device)
        try:
            figures = _passed(made, batch, weights, device)
        except Exception as error:
            if not is_of_compiler(error):
                raise
            raise LayersNotCompiled(reason_of(error)) from error
        _require_same(figures, expected, device)
    return made


def is_of_compiler(error: Exception) -> bool:
    """Whether torch could not compile: no compiler is there, say, the disk is full where its files go, or it cannot."""
    # Takes a second, and nobody else needs them.
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException  # noqa: PLC0415
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler  # noqa: PLC0415

    kinds = (CppCompileError, FailOnRecompileLimitHit, InvalidCxxCompiler, OSError, TorchDynamoException)
    return isinstance(error, kinds) and not is_out_of_memory(error)


def reason_of(error: BaseException) -> str:
    """The part of an error of the compiler that tells most: its first sentence, without the advice that follows."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The first line may end with "raised:", and what was raised stands in the next.
    told = " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1])
    return told.rstrip(".") or type(error).__name__


def _passed(passed: Pass, batch: MicroBatch, weights: Sequence[nn.Parameter], device: Device) -> tuple[Tensor, Tensor]:
    """Loss terms of a pass, and the norm of each weight's gradient, which is dropped; what chance drew is put back."""
    before = random_state(device)
    try:
        terms = passed(batch, 1, 1)
        norms = [weight.new_zeros(()) if weight.grad is None else weight.grad.norm() for weight in weights]
        return terms, torch.stack(norms)
    finally:
        for weight in weights:
            weight.grad = None
        restore_random(device, before)


def _require_same(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor], device: Device) -> None:
    (terms, norms), (own_terms, own_norms) = ours, theirs
    exact = device.compute is torch.float32
    apart = (terms - own_terms).abs().max() / own_terms.abs().max()
    if not apart <= (_SAME if exact else _SAME_IN_SHORT):
        raise LayersNotCompiled(f"compiled the layers give other losses (apart by {float(apart):.1g} of the largest)")
    # Where a gradient is nothing but rounding, two ways of computing it have nothing in common.
    apart = ((norms - own_norms).abs() / own_norms.clamp_min(1e-4 * own_norms.max())).max()
    if not apart <= (_SAME_GRADIENT if exact else _SAME_IN_SHORT):
        raise LayersNotCompiled(f"compiled the layers give other gradients (apart by {float(apart):.1g})")
