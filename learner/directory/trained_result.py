"""What a round's training made, from which each of its candidates can be written. Torch-free.

result/result.json             the candidates that it can be made into, and what they must be: written last
result/weights.safetensors     the trained weights, before they are rounded to be stored; of an adapter what it changed
result/rows.safetensors        rows that a classifier's head was given in this round; most rounds have none
result/importance.safetensors  how much each weight matters, where the recipe asks for that
result/moments.safetensors     the optimizer's moments, which the next round begins with; written first
result/document_frame.json     how documents are framed; of a causal LM

A candidate lies between it and the parent, both of which are there already: so none is written but the one that the
gate chooses, in `candidates/`, by a process of its own. Of a small model that process would take longer to start than
all candidates to write: they are written before the round ends. A round of a single candidate writes that one at once,
and has no result beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import pydantic.dataclasses
from pydantic import Field, PositiveInt, StringConstraints, ValidationError

from checkpoints.files.durable_writes import replace_file
from checkpoints.json_files import STRICT, explain_unreadable, read_json, write_json
from checkpoints.manifest import ListedFile
from learner.errors import BadRoundDirectory

RESULT: Final = "result"
WEIGHTS: Final = "weights.safetensors"
ROWS: Final = "rows.safetensors"
IMPORTANCE_OF_RESULT: Final = "importance.safetensors"
MOMENTS_OF_RESULT: Final = "moments.safetensors"
WRITTEN_AT_ONCE_BYTES: Final = 64 * 2**20
"""Of all candidates together."""
_NOTE: Final = "result.json"


def are_written_at_once(parent_bytes: int, candidates: int) -> bool:
    """Whether candidates are written before a round ends, each about as large as the parent."""
    return parent_bytes * candidates <= WRITTEN_AT_ONCE_BYTES


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class HeadRows:
    """What a classifier's head was given in a round: rows for these labels, after those that it had."""

    labels: tuple[str, ...]
    first: PositiveInt


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class ScoredCandidate:
    """A candidate that was scored and can be written.

    Attributes:
        parent_share: the parent's share in its weights.
        sha256: of its weights as they were scored, rounding included; see
            `learner.weights.candidates.DigestOfWeights`.
    """

    parent_share: Annotated[float, Field(ge=0, lt=1)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class TrainedResult:
    """What `result.json` says.

    Attributes:
        weights: what the file of the trained weights must be.
        candidates: by name.
        rows: what the head was given; None where it has not grown.
    """

    weights: ListedFile
    candidates: Mapping[str, ScoredCandidate]
    rows: HeadRows | None = None

    def write(self, directory: Path) -> None:
        """Note in a round's directory that its candidates are scored; durable on return.

        Raises:
            OSError: the disk refused.
        """
        replace_file(directory / RESULT / _NOTE, write_json(self, indent=2))


def read_result(directory: Path) -> TrainedResult | None:
    """Read what a round's candidates can be written from; None where none is: each is written whole, or none at all.

    Raises:
        BadRoundDirectory: it cannot be understood.
    """
    path = directory / RESULT / _NOTE
    try:
        return read_json(TrainedResult, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise BadRoundDirectory(f"{path} cannot be read: {explain_unreadable(error, 'result')}.") from error
