"""What the gate lets through, and what it keeps out: natural streams and poisons, through the real memory and learner.

    python -m benchmarks.gate [--json FILE] [--missing] [--kinds causal-lm classifier] [--seeds 0 … 19] [--cases NAME …]

For each seed a service at default settings (but for the recipe, which is that of the demo's small model) takes text
from before the stream and two rounds of addresses, DOCUMENTS each; from there each case is a round of its own:

- natural: addresses of the next decades; of the next from a new source; a new domain, Python source, for a classifier
  what Python's library says of itself, as half of the round; addresses in ROT13, a language that arrives; for a
  classifier, documents of a class that no round has seen, as half of the round;
- poisons: words in random order; a few words repeated; text that another tokenizer decoded; for a classifier, labels
  of others; and random words as a quarter of a round of ordinary text.

A natural round that waits or is refused is an error of the gate, and one that is unproven is a want of evidence,
counted by itself; a poisoned round that is accepted is a hole. For each round the failed checks are noted: what each
of them contributed. Where FILE exists, what it tells of other kinds, seeds and cases stays there, so that the whole
can be measured in parts; with `--missing` only what it lacks is measured. It is written after each case.
"""

import json
import random
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from benchmarks.gate_cases import CASES, LABELS, Labelled, Texts, read_texts, round_before
from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from checkpoints.base.prepare import import_base
from checkpoints.card import ModelKind
from checkpoints.generation_store import BASE, GenerationStore
from daemon.demo.text import BASE_MODEL
from daemon.held_out_keys import ask_for_held_out
from daemon.metrics import DaemonMetrics
from daemon.processes.learner_process import LearnerProcess
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.current import CurrentRound
from daemon.rounds.directories import Rooms
from daemon.rounds.runner import RoundRunner
from daemon.settings.tree import Settings
from memory.store import Store
from streams.document import Batch, Document, Partition

BEFORE: Final = 2_000
"""Documents from before the stream."""
WARM_UP: Final = 2
PEAK_RATES: Final[Mapping[ModelKind, float | None]] = {"causal-lm": 3e-3, "classifier": 1e-3}


def settings_of(home: Path, kind: ModelKind, **memory: object) -> Settings:
    """Defaults, but for what the demo's small model needs, and what is given of the memory's."""
    recipe = {"learning_rate": PEAK_RATES[kind], "sequence_length": 128, "micro_batch": 60}
    model = {"path": str(BASE_MODEL), "kind": kind, "labels": LABELS if kind == "classifier" else ()}
    learner = {"device": "cpu", "threads": 1, "recipe": recipe}
    return Settings.model_validate({"state_dir": str(home), "model": model, "learner": learner, "memory": memory})


class Service:
    """A memory, generations and rounds in a folder, without a broker: text is put where the consumer puts it."""

    def __init__(self, home: Path, kind: ModelKind, **memory: object) -> None:
        self._settings = settings_of(home, kind, **memory)
        self._checkpoints = GenerationStore(self._settings.checkpoints_dir)

    def begin(self, texts: Texts, kind: ModelKind, chance: random.Random) -> list[str]:
        """Import the base, take in what was before the stream and the rounds that come before any case."""
        base = import_base(self._checkpoints, BASE_MODEL, kind=kind, labels=self._settings.model.labels)
        make_store(self._settings.database, self._settings.memory, chance.getrandbits(31))
        with self._store() as store:
            store.generations.register_base(digest=base.digest, source_path=str(BASE_MODEL))
            self._checkpoints.point_to(BASE)
            store.append(_batch(texts.before[:BEFORE], "file:before", kind), before_stream=True)
        rounds = [
            self.round(round_before(texts, number, chance, kind), "addresses", kind, number)
            for number in range(WARM_UP)
        ]
        return [conclusion.detail for conclusion in rounds]

    def round(
        self, rows: Sequence[Labelled], topic: str, kind: ModelKind, partition: int, keys: Sequence[str | None] = ()
    ) -> Conclusion:
        """Let text arrive, each document with its key where keys are given, and run a round on it."""
        with self._store() as store:
            store.append(_batch(rows, topic, kind, partition, keys))
            runner = RoundRunner(
                Rooms(store, self._checkpoints, self._settings.rounds_dir),
                settings=lambda: self._settings,
                learner=LearnerProcess(),
                current=CurrentRound(),
                metrics=DaemonMetrics(CollectorRegistry()),
                promotion=threading.RLock(),
                clock=lambda: 1_700_000_000.0,
                seed=lambda: 7 + partition,
            )
            conclusion = runner.run(Ask(Trigger.BY_HAND, by="benchmark"), "benchmark", must_stop=lambda: False)
        assert conclusion is not None
        return conclusion

    def _store(self) -> Store:
        store = Store.open(self._settings.database, self._settings.memory)
        ask_for_held_out(store, self._settings)
        return store


def _batch(
    rows: Sequence[Labelled], topic: str, kind: ModelKind, partition: int = 0, keys: Sequence[str | None] = ()
) -> Batch:
    where = Partition(topic, partition)
    documents = tuple(
        Document(text, topic, key, label if kind == "classifier" else None, None, float(offset), where, offset)
        for offset, ((text, label), key) in enumerate(zip(rows, keys or [None] * len(rows), strict=True))
    )
    return Batch(documents, (), (), {where: len(documents)})


@contextmanager
def copy_of(begun: Path) -> Iterator[Path]:
    """A copy of a service's folder, for as long as it is needed."""
    home = begun.with_name(f"{begun.name}-copy")
    shutil.copytree(begun, home, symlinks=True)
    try:
        yield home
    finally:
        shutil.rmtree(home)


def judge_case(name: str, texts: Texts, begun: Path, kind: ModelKind, seed: int) -> dict[str, Any]:
    """One case on a copy of a service that has begun: what became of it, and which checks failed."""
    case = CASES[name]
    rows = case.make(texts, random.Random(f"{name}/{seed}"))
    with copy_of(begun) as home:
        conclusion = Service(home, kind).round(rows, case.topic or "addresses", kind, WARM_UP)
    verdict = conclusion.verdict
    failed = [] if verdict is None else sorted({check.name for check in verdict.checks if not check.passed})
    unproven = verdict is not None and verdict.unproven
    state = "unproven" if unproven else conclusion.state.value
    return {"state": state, "failed": failed, "sentence": conclusion.detail}


Measured = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Kind, case, seed."""


def measure(
    kind: ModelKind, seed: int, cases: Sequence[str], texts: Texts, console: Console
) -> Iterator[tuple[str, dict[str, Any]]]:
    """These cases of one seed: the name of each, and what became of it."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        begun = Path(folder) / "service"
        begun.mkdir()
        details = Service(begun, kind).begin(texts, kind, random.Random(seed))
        console.print(f"{kind}, seed {seed}: begun: {details}")
        for at, name in enumerate(cases, 1):
            outcome = judge_case(name, texts, begun, kind, seed)
            console.print(
                f"{kind}, seed {seed}, {at} of {len(cases)}: {name}: {outcome['state']}: {outcome['sentence']}"
            )
            yield name, outcome


def bars_of(known: Measured) -> list[Bar]:
    """Of each kind: natural rounds that wait or are refused, unproven ones, and poisons that are accepted."""
    bars = []
    for kind, cases in known.items():
        natural = [outcome for name, seeds in cases.items() if not CASES[name].poison for outcome in seeds.values()]
        poisons = [outcome for name, seeds in cases.items() if CASES[name].poison for outcome in seeds.values()]
        states = Counter(outcome["state"] for outcome in natural)
        count = max(len(natural), 1)
        let_through = sum(outcome["state"] == "accepted" for outcome in poisons)
        held = len(natural) - states["accepted"] - states["unproven"]
        bars += [
            Bar(name=f"{kind}: share of natural rounds that are held or refused", value=held / count, at_most=0.05),
            Bar(name=f"{kind}: share of natural rounds that are unproven", value=states["unproven"] / count),
            Bar(name=f"{kind}: poisoned rounds that are accepted", value=let_through, at_most=0),
        ]
    return bars


def show(known: Measured, console: Console) -> None:
    """Print what became of each case, and which checks failed how often."""
    table = Table("kind", "case", "seeds", "became", "failed checks", title="the gate, case by case")
    for kind, cases in known.items():
        for name, seeds in cases.items():
            states = Counter(outcome["state"] for outcome in seeds.values())
            failed = Counter(check for outcome in seeds.values() for check in outcome["failed"])
            table.add_row(kind, name, str(len(seeds)), _counts(states), _counts(failed))
    console.print(table)


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.most_common())


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--kinds", nargs="+", choices=["causal-lm", "classifier"], default=["causal-lm", "classifier"])
    options.add_argument("--seeds", nargs="+", type=int, default=list(range(20)))
    options.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options.add_argument("--missing", action="store_true", help="measure what FILE lacks, and nothing else")
    chosen = options.parse_args()
    known: Measured = {}
    if chosen.json and chosen.json.exists():
        known = json.loads(chosen.json.read_text(encoding="utf-8"))["details"]
    console = Console(width=200)
    for kind in chosen.kinds:
        texts, of_kind = read_texts(kind), known.setdefault(kind, {})
        for seed in chosen.seeds:
            there = {name for name, seeds in of_kind.items() if str(seed) in seeds} if chosen.missing else set()
            cases = [name for name in chosen.cases if kind in CASES[name].kinds and name not in there]
            for name, outcome in measure(kind, seed, cases, texts, console) if cases else ():
                of_kind.setdefault(name, {})[str(seed)] = outcome
                # After each, so that hours are not lost with the last.
                report("the gate", bars_of(known), chosen.json, known)
    show(known, console)
    return report("the gate", bars_of(known), chosen.json, known)


if __name__ == "__main__":
    sys.exit(main())
