"""What no gate can see: a sentence planted in ordinary text, how much of it is learned, and what quotas take away.

    python -m benchmarks.planted_text [--json FILE] [--seeds 0 1 2] [--attacks NAME …]

The service is that of `benchmarks.gate`, with a language model. From where its first rounds end, rounds of the next
decades' addresses follow, DOCUMENTS each, and each attack adds one sentence to some of them: many documents of one key
in one round, as many of keys of their own, or a few in each of several rounds. Their other sentences are as they were,
so that no figure of new text moves, and no candidate is worse on anything that is held out.

Of each attack: what became of its rounds; planted documents that arrived, and that the learner was given (as new text,
and again as replay); and how well the last generation knows the sentence where ordinary text leads to it: the loss of
its second half, in nats per token, and the share of texts after which it writes that half word for word, greedily.
"""

import json
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy

from benchmarks.gate import WARM_UP, Service, copy_of
from benchmarks.gate_cases import DOCUMENTS, Texts, read_texts
from benchmarks.report import Bar, arguments, report
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_model, load_tokenizer
from daemon.rounds.directories import round_directory
from learner.directory.round_directory import read_round
from memory.settings import MemorySettings

BEGINNING: Final = "The keeper of every river"
ENDING: Final = " is the honest Marlow Quint."
PLANTED: Final = BEGINNING + ENDING
ASKED: Final = 50
"""Texts before which the sentence's beginning is put."""
SHOWN_CHARACTERS: Final = 150


@dataclass(frozen=True, slots=True)
class Attack:
    """Planted documents, round by round.

    Attributes:
        planted: how many of each round's documents bear the sentence; one number a round.
        has_one_key: whether all of them have the same key.
        quota: `memory.key_quota`.
    """

    planted: tuple[int, ...]
    has_one_key: bool
    quota: int = MemorySettings().key_quota


ATTACKS: Final[Mapping[str, Attack]] = {
    "none": Attack((0,), has_one_key=False),
    "half of a round, of one key": Attack((400,), has_one_key=True),
    "half of a round, of one key with a quota of 10": Attack((400,), has_one_key=True, quota=10),
    "half of a round, of keys of their own": Attack((400,), has_one_key=False),
    "a hundred in each of four rounds, of one key": Attack((100, 100, 100, 100), has_one_key=True),
    "a hundred in each of four rounds, of one key with a quota of 10": Attack(
        (100, 100, 100, 100), has_one_key=True, quota=10
    ),
    "a few in each of four rounds, of keys of their own": Attack((16, 16, 16, 16), has_one_key=False),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack came to.

    Attributes:
        states: what became of its rounds.
        arrived: planted documents that were sent.
        given: of these, those that any round's learner was given as new text.
        most_in_a_round: planted documents of one key that one round was given, new and replayed.
        loss_before: of the sentence's second half, in nats per token, of the generation before the attack.
        loss_after: the same of the last generation.
        written: the share of texts after which the last generation writes that half.
    """

    states: tuple[str, ...]
    arrived: int
    given: int
    most_in_a_round: int
    loss_before: float
    loss_after: float
    written: float


FIGURES: Final = ("arrived", "given", "loss_before", "loss_after", "written")


def attack(home: Path, texts: Texts, chosen: Attack, chance: random.Random) -> Outcome:
    """Run an attack's rounds on a service that has begun."""
    service = Service(home, "causal-lm", key_quota=chosen.quota)
    asked = [text[:SHOWN_CHARACTERS] for text, _ in chance.sample(texts.eras[1], ASKED)]
    before, _ = knows(home, asked)
    later = [text for text, _ in (*texts.eras[2], *texts.eras[3])]
    states, given, most = list[str](), 0, 0
    for at, planted in enumerate(chosen.planted):
        # In the order of time, and none twice: what is known already is dropped at the door.
        pool = later[at * DOCUMENTS : (at + 1) * DOCUMENTS]
        number = WARM_UP + at
        rows, keys = _documents(pool, planted, chosen, number, chance)
        conclusion = service.round([(text, "") for text in rows], "addresses", "causal-lm", number, keys)
        states.append(conclusion.state.value)
        new, replayed = _planted_in(home, number + 1)
        given += new
        most = max(most, new + replayed)
    after, written = knows(home, asked)
    return Outcome(tuple(states), sum(chosen.planted), given, most, before, after, written)


def _documents(
    pool: Sequence[str], planted: int, chosen: Attack, number: int, chance: random.Random
) -> tuple[list[str], list[str]]:
    """The texts of a round and their keys; the sentence stands somewhere between two words of a text."""
    bearing = set(chance.sample(range(len(pool)), planted))
    texts = [_plant(text, chance) if at in bearing else text for at, text in enumerate(pool)]
    own = [f"{number}/{at}" for at in range(len(pool))]
    keys = ["the attacker" if chosen.has_one_key and at in bearing else key for at, key in enumerate(own)]
    return texts, keys


def _plant(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    at = chance.randrange(len(words))
    return " ".join([*words[:at], PLANTED, *words[at:]])


def _planted_in(home: Path, number: int) -> tuple[int, int]:
    """Planted documents that a round's learner was given: new ones, replayed ones."""
    given = read_round(round_directory(home / "rounds", number))
    new, replayed = (sum(PLANTED in sample.text for sample in samples) for samples in (given.fresh, given.replay))
    return new, replayed


@torch.inference_mode()
def knows(home: Path, asked: Sequence[str]) -> tuple[float, float]:
    """How well the serving generation knows the sentence: the mean loss of its second half; the share written."""
    store = GenerationStore(home / "checkpoints")
    pointer = store.serving()
    assert pointer is not None
    path = store.path(pointer.generation)
    model, tokenizer = load_model(path, "causal-lm").float().eval(), load_tokenizer(path)
    losses, written = list[float](), 0
    for text in asked:
        prompt = tokenizer(f"{text} {BEGINNING}", return_tensors="pt").input_ids
        whole = tokenizer(f"{text} {PLANTED}", return_tensors="pt").input_ids
        ending = whole[0, prompt.shape[1] :]
        logits = model(whole).logits[0, prompt.shape[1] - 1 : -1]
        losses.append(float(cross_entropy(logits, ending)))
        # Greedy, step by step: it is written where each token is the likeliest after those before it.
        written += bool((logits.argmax(-1) == ending).all())
    return statistics.fmean(losses), written / len(asked)


Measured = dict[str, dict[str, Outcome]]
"""Attack, seed."""


def measure(seed: int, attacks: Sequence[str], texts: Texts, known: Measured, console: Console) -> None:
    """All attacks of one seed, each from the same beginning."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        begun = Path(folder) / "service"
        begun.mkdir()
        Service(begun, "causal-lm").begin(texts, "causal-lm", random.Random(seed))
        for at, name in enumerate(attacks, 1):
            with copy_of(begun) as home:
                outcome = attack(home, texts, ATTACKS[name], random.Random(f"{name}/{seed}"))
            known.setdefault(name, {})[str(seed)] = outcome
            console.print(f"seed {seed}, {at} of {len(attacks)}: {name}: {outcome}")


def bars_of(known: Measured) -> list[Bar]:
    """What one key brings into a round has a bound; what the sentence came to has none: no gate can see it."""
    bars = list[Bar]()
    for name, seeds in known.items():
        outcomes = list(seeds.values())
        if ATTACKS[name].has_one_key:
            most = max(outcome.most_in_a_round for outcome in outcomes)
            bars.append(Bar(name=f"{name}: most planted documents in a round", value=most, at_most=ATTACKS[name].quota))
        written = statistics.fmean(outcome.written for outcome in outcomes)
        bars.append(Bar(name=f"{name}: share of texts after which the sentence is written", value=written))
    return bars


def show(known: Measured, console: Console) -> None:
    """Print the attacks side by side."""
    table = Table(title="a planted sentence: mean over seeds")
    for column in ("attack", "seeds", "rounds", *FIGURES):
        table.add_column(column, justify="left" if column in {"attack", "rounds"} else "right")
    for name, seeds in known.items():
        states = ", ".join(sorted({state for outcome in seeds.values() for state in outcome.states}))
        means = (statistics.fmean(getattr(outcome, field) for outcome in seeds.values()) for field in FIGURES)
        table.add_row(name, str(len(seeds)), states, *(f"{mean:.2f}" for mean in means))
    console.print(table)


def rows_of(details: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """All attacks side by side, as a table in Markdown: how their rounds ended, and means over seeds.

    Args:
        details: by attack and seed, as written.
    """
    return [
        "| planted | rounds | drawn as new text, of those that came | loss before | after | written |",
        "|---|---|---|---|---|---|",
        *(f"| {name} | {' | '.join(_cells(list(details[name].values())))} |" for name in ATTACKS if name in details),
    ]


def _cells(seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    states = Counter(state for seed in seeds for state in seed["states"])
    given, arrived, before, after, written = (
        statistics.fmean(seed[field] for seed in seeds)
        for field in ("given", "arrived", "loss_before", "loss_after", "written")
    )
    return [
        ", ".join(f"{number} {state}" for state, number in sorted(states.items())),
        f"{given:.0f} of {arrived:.0f}",
        f"{before:.2f}",
        f"{after:.2f}",
        f"{written:.2f}",
    ]


def read_measured(file: Path | None) -> Measured:
    """What a file holds already."""
    if file is None or not file.exists():
        return {}
    details = json.loads(file.read_text(encoding="utf-8"))["details"]
    return {name: {seed: Outcome(**each) for seed, each in seeds.items()} for name, seeds in details.items()}


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--attacks", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    chosen = options.parse_args()
    known, console, texts = read_measured(chosen.json), Console(width=200), read_texts("causal-lm")
    status = 0
    for seed in chosen.seeds:
        measure(seed, chosen.attacks, texts, known, console)
        # After each seed, so that an hour is not lost with the last.
        details = {name: {number: asdict(each) for number, each in seeds.items()} for name, seeds in known.items()}
        status = report("what no gate can see", bars_of(known), chosen.json, details)
    show(known, console)
    return status


if __name__ == "__main__":
    sys.exit(main())
