"""What of each architecture of transformers is served, trained and scored, and how.

    python -m benchmarks.architectures [--json FILE] [--document docs/models.md] [--jobs N] [--only NAME …]

Of every causal language model and every text classifier that transformers knows the smallest random model goes the
whole way (`benchmarks.one_architecture`): imported, loaded, asked through the engine alone and together, trained and
scored in a round, each in a process with a limit of time and of memory. What comes out is held against whole passes
over one text.
"""

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from transformers.models.auto import modeling_auto
from transformers.utils import logging as transformers_logging

from benchmarks.architectures_document import document
from benchmarks.one_architecture import Row, try_architecture
from benchmarks.report import Bar, arguments, report
from checkpoints.card import ModelKind

LIMIT_SECONDS: Final = 300
LIMIT_BYTES: Final = 8 * 2**30
"""Of address space: torch alone reserves half of it."""
# Encoders that write when they are told to.
DECODERS: Final = (
    "bert",
    "bert-generation",
    "big_bird",
    "camembert",
    "data2vec-text",
    "electra",
    "ernie",
    "megatron-bert",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "roc_bert",
    "roformer",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
AS_DECODER: Final = {"is_decoder": True}


def everything() -> Iterator[tuple[str, ModelKind, dict[str, Any]]]:
    """Each architecture, for what, and what is set of its configuration."""
    for name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        yield name, "causal-lm", {}
    for name in DECODERS:
        yield name, "causal-lm", AS_DECODER
    for name in modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        yield name, "classifier", {}


@dataclass(frozen=True, slots=True)
class Trial:
    """One architecture in a process of its own: what it takes, or breaks, goes with it."""

    name: str
    kind: ModelKind
    own: Mapping[str, Any]
    home: Path

    def start(self) -> int:
        """Begin; returns the process."""
        # Forked, not started anew: importing torch and transformers takes longer than most trials.
        child = os.fork()
        if not child:
            _try_and_end(self)
        return child

    def end(self, status: int) -> Row:
        """What became of it, once its process ended with that status."""
        shown = f"{self.name}, is_decoder" if self.own else self.name
        file = self.home / "row.json"
        if file.exists():
            row = Row(**json.loads(file.read_text(encoding="utf-8")))
        else:
            code = os.waitstatus_to_exitcode(status)
            why = f"not within {LIMIT_SECONDS} s" if code == -signal.SIGALRM else f"its process ended with {code}"
            row = Row(self.name, self.kind, wrong=why)
        # At once: hundreds of small models together fill a small disk.
        shutil.rmtree(self.home)
        return replace(row, name=shown)


def rows_of(trials: Sequence[Trial], jobs: int) -> Iterator[Row]:
    """Try so many at a time; rows come as they end."""
    waiting = deque(trials)
    running: dict[int, Trial] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            trial = waiting.popleft()
            trial.home.mkdir(parents=True)
            running[trial.start()] = trial
        # Whichever ends first: trials take from a second to minutes.
        child, status = os.wait()
        yield running.pop(child).end(status)


def _try_and_end(trial: Trial) -> None:
    """In the child: never returns."""
    code = 1
    try:
        # The kernel ends it, also where a loop in C never comes back to Python.
        signal.alarm(LIMIT_SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
        # As many processes run as there are cores.
        torch.set_num_threads(1)
        # By descriptor: libraries in C write there too, in the midst of the parent's table.
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        row = _row(trial)
        (trial.home / "row.json").write_text(json.dumps(asdict(row)), encoding="utf-8")
        code = 0
    finally:
        # Not sys.exit: the parent's buffers and exit handlers are in this process as well.
        os._exit(code)


def _row(trial: Trial) -> Row:
    try:
        return try_architecture(trial.name, trial.kind, trial.home / "files", own=dict(trial.own))
    except Exception as error:  # noqa: BLE001 - what nobody foresaw is what is looked for
        return Row(trial.name, trial.kind, wrong=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def bars(rows: Sequence[Row]) -> list[Bar]:
    """What has to hold, and how many there are of each."""
    made = [row for row in rows if not row.not_made]
    served = [row for row in made if row.served]
    return [
        Bar(
            name="architectures that answer or learn otherwise than by whole passes",
            value=_count(rows, "wrong"),
            at_most=0,
        ),
        Bar(name="architectures served", value=len(served), at_least=1),
        Bar(name="architectures refused", value=_count(rows, "refused")),
        Bar(name="architectures of which no small model could be made", value=len(rows) - len(made)),
    ]


def _count(rows: Sequence[Row], field: str) -> int:
    return sum(bool(getattr(row, field)) for row in rows)


def main() -> int:
    """Try all, print the table, write the files."""
    parser = arguments(__doc__)
    parser.add_argument("--document", type=Path, metavar="FILE", help="write the table there, in Markdown")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="so many at a time")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone")
    chosen = parser.parse_args()
    transformers_logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    console, done = Console(stderr=True, soft_wrap=True), []
    with tempfile.TemporaryDirectory() as folder:
        trials = [
            Trial(name, kind, own, Path(folder) / str(number))
            for number, (name, kind, own) in enumerate(everything())
            if not chosen.only or name in chosen.only
        ]
        for row in rows_of(trials, chosen.jobs):
            done.append(row)
            outcome = row.wrong or row.served or row.refused or row.not_made
            console.print(
                f"{len(done)}/{len(trials)} {row.name} ({row.kind}): {outcome}", highlight=False, markup=False
            )
    rows = sorted(done, key=lambda row: (row.kind, row.name))
    details = {"transformers": version("transformers"), "rows": [asdict(row) for row in rows]}
    if chosen.document:
        chosen.document.write_text(document(details), encoding="utf-8")
    return report("architectures", bars(rows), chosen.json, details)


if __name__ == "__main__":
    sys.exit(main())
