"""A round's candidates where they are adapters, each on the whole generation under their parent.

What the round learned is put beside what the parent's adapter holds, so that a candidate with the parent's share t is

    G + B A + (1 - t) b a

exactly: G the ground as it is stored, B A of the parent, b a of the round. Each is written first, then read back and
scored: what the gate judges is what serves. The adapter's rank grows with each round; after `adapter_rounds` of them,
or where B A is beyond `adapter_drift` of the size of G, a round's candidates are whole models once more, the next
ground.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from transformers.pytorch_utils import Conv1D

from checkpoints.adapters.ground import BELOW, Ground, is_adapter, read_ground, whole_dir
from checkpoints.adapters.low_rank import Adapted, AdapterWeights, LowRank, read_adapter, write_adapter
from checkpoints.document_frame import write_frame
from checkpoints.files.disk_errors import disk_errors
from checkpoints.files.durable_writes import built_directory
from checkpoints.files.model_files import GROUND_FILE
from checkpoints.json_files import read_json, write_sorted_json
from checkpoints.manifest import MANIFEST, Manifest, digest_of, files_of_model
from checkpoints.probe.reference import reference_of
from checkpoints.probe.reference_answer import write_reference
from learner.directory.links import link_or_copy
from learner.directory.round_directory import CANDIDATES, IMPORTANCE, PARENT, candidate_name
from learner.objectives.importance import Importance, save_importance
from learner.workbench import Workbench

KEPT: Final = "lora"
"""The kind of adapter that is kept as one. Of DoRA's change no engine but peft itself makes use: vLLM loads none."""


def stays_adapter(bench: Workbench) -> tuple[bool, str]:
    """Tell whether a round's candidates are adapters, or whole models, and in a sentence that drift made them so.

    Args:
        bench: of the round; its model still is the parent.

    Raises:
        checkpoints.errors.UnusableModel: what the parent says of its ground is damaged.
    """
    spec, parent = bench.given.spec, bench.given.path / PARENT
    recipe, ground = spec.recipe, read_ground(parent)
    # A head that grows has other labels in its configuration than the ground.
    if recipe.adapter != KEPT or spec.new_labels:
        return False, ""
    if ground is None:
        return recipe.adapter_rounds > 0, ""
    if ground.rounds >= recipe.adapter_rounds:
        return False, ""
    found = drift(bench.model, read_adapter(parent))
    if found <= recipe.adapter_drift:
        return True, ""
    return False, (
        f"The parent's adapter has moved the weights that it changes by {found:.2f} of their size, more than "
        f"{recipe.adapter_drift:g} (learner.recipe.adapter_drift): candidates are whole models, the next ground."
    )


@torch.no_grad()
def drift(model: Any, adapter: AdapterWeights) -> float:
    """How large an adapter's changes are over the weights of the ground that they change: Frobenius norms, |B A| / |G|.

    Args:
        model: with the changes, W = G + B A.
        adapter: of that model.
    """
    moved = size = 0.0
    for name, change in adapter.changes.items():
        module = model.get_submodule(name)
        weight = module.weight.T if isinstance(module, Conv1D) else module.weight
        a, b = (factor.to(weight.device, weight.dtype) for factor in (change.a, change.b))
        # By what is of the size of the rank: neither B A nor G is made.
        squared = float(((b.T @ b) * (a @ a.T)).sum())
        along = float(((weight @ a.T) * b).sum())
        moved += squared
        size += float(torch.linalg.vector_norm(weight)) ** 2 - 2 * along + squared
    return math.sqrt(max(moved, 0.0) / size) if size > 0 else 0.0


def adapter_candidates(
    bench: Workbench, learned: AdapterWeights, measured: Importance | None
) -> Iterator[tuple[str, Any]]:
    """Write the candidates, and yield each by its name, with the round's model in its place until the next one comes.

    Args:
        bench: of the round; its model has the trained weights, and is overwritten.
        learned: by the round's adapter.
        measured: importance, which goes with each.

    Raises:
        OSError: the disk refused.
    """
    # In the dtype that is stored, so that what is scored is what will serve.
    ground = bench.load(ground_of(bench.given.path / PARENT), device=torch.device("cpu"), dtype=None)
    directories = [bench.given.path / CANDIDATES / candidate_name(share) for share in _shares(bench)]
    if bench.ranks.is_first:
        _write_all(bench, ground, learned, measured)
    bench.ranks.wait()
    # Of the size of the model, and not needed any more.
    del measured
    parameters = dict(bench.model.named_parameters())
    for directory in directories:
        written = Adapted(ground, read_adapter(directory), directory)
        with torch.no_grad():
            for weight in written.names:
                parameters[weight].copy_(written[weight])
        if bench.ranks.is_first and bench.given.spec.kind == "causal-lm":
            with disk_errors(directory):
                write_reference(directory, reference_of(bench.model, bench.encode.tokenizer))
        yield directory.name, bench.model


def _shares(bench: Workbench) -> list[float]:
    """The parent's share in each candidate, the one with the least of it first."""
    return sorted(set(bench.given.spec.recipe.interpolation))


def _write_all(bench: Workbench, ground: Any, learned: AdapterWeights, measured: Importance | None) -> None:
    """Write the candidates."""
    path = bench.given.path
    earlier = read_adapter(path / PARENT) if is_adapter(path / PARENT) else AdapterWeights()
    before = Adapted(ground, earlier, path / PARENT)
    made: list[Path] = []
    for share in _shares(bench):
        directory = path / CANDIDATES / candidate_name(share)
        weights = earlier.beside(_toward_parent(learned, share, before, ground))
        with disk_errors(directory), built_directory(directory) as new:
            _write(bench, new, weights, Adapted(ground, weights, new))
            if measured is not None:
                _put_importance(new, made, measured)
        made.append(directory)


def ground_of(parent: Path) -> str:
    """Where a round's directory has the ground of its parent, below itself."""
    return f"{PARENT}/{BELOW}" if is_adapter(parent) else PARENT


def _toward_parent(learned: AdapterWeights, share: float, parent: Adapted, ground: Any) -> AdapterWeights:
    """What a round learned, drawn toward its parent."""
    changes = {name: LowRank(change.a, change.b * (1 - share)) for name, change in learned.changes.items()}
    whole = {}
    for name, result in learned.whole.items():
        before = parent[name] if name in parent else ground.get_parameter(name)
        whole[name] = torch.lerp(result.float(), before.detach().float(), share)
    return AdapterWeights(changes, whole, learned.heads)


def _write(bench: Workbench, directory: Path, weights: AdapterWeights, adapted: Adapted) -> None:
    spec, ground = bench.given.spec, _ground(bench)
    # As seen from where the generation will be.
    beside = Path("..") / f"{ground.generation:06d}"
    write_adapter(directory, weights, spec.kind, ground=beside, transposed=adapted.transposed)
    (directory / GROUND_FILE).write_bytes(write_sorted_json(ground))
    if spec.kind == "causal-lm" and bench.encode.frame is not None:
        write_frame(directory, bench.encode.frame)


def _ground(bench: Workbench) -> Ground:
    """What the candidates lie on: what their parent lies on, or the parent itself."""
    parent = bench.given.path / PARENT
    earlier = read_ground(parent)
    if earlier is not None:
        return Ground(earlier.generation, earlier.model, earlier.rounds + 1)
    manifest = read_json(Manifest, (parent / MANIFEST).read_bytes())
    return Ground(bench.given.spec.parent.generation, digest_of(files_of_model(manifest)), 1)


def _put_importance(directory: Path, others: Sequence[Path], measured: Importance) -> None:
    """Put importance beside a candidate; it is of the size of the model, so that all have one file."""
    if not others:
        save_importance(directory / IMPORTANCE, measured)
        return
    (directory / IMPORTANCE).parent.mkdir()
    link_or_copy(others[0] / IMPORTANCE, directory / IMPORTANCE)


def load_candidate(bench: Workbench, name: str) -> Any:
    """Load a candidate that an earlier round wrote, in float32."""
    return bench.load(
        f"{CANDIDATES}/{name}",
        device=bench.device.where,
        dtype=torch.float32,
        ground=whole_dir(bench.given.path / PARENT),
    )
