"""What docs/measured.md says was measured, read out of its text and held against what the benchmarks wrote."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Results = Mapping[str, Mapping[str, Any]]
"""What each benchmark wrote with `--json`, by its name."""
Value = Callable[[Results], float]

NUMBER: Final = re.compile(r"[−-]?(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?: %)?(?!\w)")
ASIDE: Final = re.compile(r"\([^)]*\)")
MISSED: Final = ", missed"
"""What follows a bound in the table that was not kept."""
WRONG_SHAPE: Final = (KeyError, StopIteration, ValueError)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        script: the benchmark, that of the row above where the row names none.
    """

    what: str
    figures: tuple[str, ...]
    bounds: tuple[str, ...]
    script: str


ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "forgetting removed": (
        "demo: share of naive forgetting that is removed",
        "sharp: share of naive forgetting that is removed",
    ),
    "plasticity cost": ("demo: plasticity cost", "sharp: plasticity cost"),
    "mean of all slices at the end": (
        "demo: mean at the end over all at once",
        "sharp: mean at the end over all at once",
    ),
    "training time": ("demo: training time / naive training time", "sharp: training time / naive training time"),
    "a step with L2-SP and EWC": ("step with penalties / plain step", "distilled step / same without KL"),
    "a step at a vocabulary of 152,000": (
        "peak of a step / the model's own and one part",
        "losses and gradients, farthest off, in millionths",
        "peak of importance / the model's own, three of its weights and one part",
    ),
    "what eight rounds at 1e-5 gain": ("gain stored in bfloat16 / in float32",),
    "the learner's tokens/s": ("learner's tokens/s / bare loop's", "learner's tokens/s / Trainer's"),
    "the same of a model of SmolLM2-135M's shape": (
        "135M: learner's tokens/s / Trainer's",
        "135M: learner's tokens/s / SFTTrainer's",
        "135M: learner's memory / Trainer's",
        "135M: learner's memory / SFTTrainer's",
        "135M: LoRA with KL / LoRA",
    ),
    "Kafka to durable store": ("ingestion, share of a bare poll loop's records/s",),
    "growth of resident memory": ("growth of resident memory over 1,000,000 records", "resident memory of the daemon"),
    "p99 latency during swaps": (
        "p99 latency during swaps / without",
        "failed requests",
        "answers that are not wholly their generation's",
    ),
    "the same of a vLLM that shares two cores": (
        "vLLM, adapters: p99 latency during swaps / without",
        "vLLM, adapters: failed requests",
        "vLLM, adapters: answers that are not wholly their generation's",
    ),
    "tokens/s through the door": tuple(
        f"smollm2: tokens/s through the door / directly, {manner}, {clients} clients"
        for manner in ("whole answers", "streams")
        for clients in (1, 8, 32)
    ),
    "the same of the demo's model": tuple(
        f"demo: tokens/s through the door / directly, {manner}, {clients} clients"
        for manner in ("whole answers", "streams")
        for clients in (1, 8, 32)
    ),
    "what the door adds": ("demo: p99 that the door adds to one token",),
    "the builtin engine's tokens/s": tuple(
        f"{model}: builtin / vLLM, {clients} clients" for model in ("smollm2", "demo") for clients in (1, 8, 32)
    ),
    "a language model's rounds": (
        "causal-lm: share of natural rounds that are held or refused",
        "causal-lm: poisoned rounds that are accepted",
    ),
    "the same of a classifier": (
        "classifier: share of natural rounds that are held or refused",
        "classifier: poisoned rounds that are accepted",
    ),
    "planted documents of one key": (
        "half of a round, of one key: most planted documents",
        "a hundred in each of four rounds, of one key: most planted documents",
        "half of a round, of one key with a quota of 10: most planted documents",
        "a hundred in each of four rounds, of one key with a quota of 10: most planted documents",
    ),
    "`riverkeep --help`": ("riverkeep --help",),
    "the slowest of the page's pages": ("the slowest page",),
    "accuracy after the first round": (
        "accuracy at rate default, 256 new documents, seed 1",
        "accuracy at rate default, 256 new documents, seed 2",
        "accuracy at rate default, 900 new documents, seed 1",
    ),
    "what `riverkeep doctor` foretells": (
        "memory, farthest off",
        "memory from 1 and 4 rows, farthest off",
        "seconds, farthest off",
    ),
    "a round's memory as `riverkeep doctor` foretells it": ("farthest off", "any phase, farthest off"),
    "what estimating importance takes": (
        "importance, share of round 1",
        "importance, share of round 2",
        "kept with the fewest sequences",
    ),
    "real models taken the whole way": (
        "real models that are judged for a stated reason",
        "real models that answer rightly before and after",
    ),
    "architectures of transformers": ("architectures that answer or learn otherwise",),
    "gained by a round through LoRA": (
        "gained through an adapter / with all weights",
        "forgotten through an adapter / with all weights",
        "architectures whose adapter is not what is merged",
    ),
    "insert rate at": ("insert rate at the large size", "drawing 1,000 of"),
}
"""What a row's words and those of its bars begin with, in the order in which the row prints their figures."""


def bar(results: Results, script: str, beginning: str) -> Mapping[str, Any]:
    """The bar of a benchmark whose name begins so."""
    found: Mapping[str, Any] = next(each for each in results[script]["bars"] if each["name"].startswith(beginning))
    return found


def detail(script: str, *path: str) -> Value:
    """A figure among a benchmark's details."""

    def value(results: Results) -> float:
        found: Any = results[script]["details"]
        for name in path:
            found = found[name]
        return float(len(found) if isinstance(found, list | dict) else found)

    return value


def counted(script: str, beginning: str) -> Value:
    """The value of a bar."""
    return lambda results: float(bar(results, script, beginning)["value"])


def sizes(script: str, name: str, to: int = 0) -> Value:
    """The last number in the name of the bar that begins so, rounded `to` that many zeros."""
    return lambda results: round(number(NUMBER.findall(bar(results, script, name)["name"])[-1]), -to)


def only(values: Collection[float]) -> float:
    """The one value that all of them are."""
    (value,) = values
    return value


def mean_of(stream: str, way: str, figure: str) -> Value:
    """The mean over seeds of what a way to learn came to on a stream."""
    return detail("forgetting", stream, "means", way, figure)


def end_of(stream: str, way: str) -> Value:
    """The mean over all slices at a stream's end."""
    return mean_of(stream, way, "mean_at_the_end")


def times_naive(figure: str) -> Value:
    """What the default recipe takes on the demo's stream, as a multiple of what naive fine-tuning takes."""
    kept, naive = mean_of("demo", "kept", figure), mean_of("demo", "naive", figure)
    return lambda results: kept(results) / naive(results)


TOLD: Final[Mapping[str, tuple[Value, ...]]] = {
    r"a step at a vocabulary of ([\d,]+)": (detail("logits_memory", "vocabulary"),),
    r"\(all logits at once: (\S+) GiB an array\)": (counted("logits_memory", "all logits at once, GiB each array"),),
    r"with a vocabulary of ([\d,]+), where": (detail("step", "135M", "vocabulary"),),
    r"what eight rounds at (\S+) gain": (detail("rounding", "rate"),),
    r"On (\d+) cores": (lambda results: only({each["machine"]["cores"] for each in results.values()}),),
    r"(\d+) seeds": (detail("forgetting", "demo", "outcomes", "kept"),),
    r"records of (\d+) bytes": (detail("ingest", "record_bytes"),),
    r"\(([\d,]+) records/s\)": (detail("ingest", "records_per_s", "end_to_end"),),
    r"\((\d+) swaps\)": (counted("swap", "swaps"),),
    r"\((\d+) swaps into one engine\)": (counted("swap", "vLLM, adapters: swaps"),),
    r"\(at a load of (\d+); a bare interpreter (\S+), `riverkeep status` (\S+), importing torch (\S+)\)": (
        detail("startup", "load", "before"),
        counted("startup", "a bare interpreter"),
        counted("startup", "riverkeep status"),
        counted("startup", "an interpreter that imports torch"),
    ),
    r"with ([\d,]+) rounds and (\d+) slices kept": (detail("page", "rounds"), detail("page", "slices")),
    r"\(the first look after a round (\S+)\)": (counted("page", "the first look after a round"),),
    r"insert rate at ([\d,]+) samples ÷ at ([\d,]+)": (
        sizes("memory", "documents/s at 1,"),
        sizes("memory", "insert rate"),
    ),
    r"SmolLM2-135M-Instruct and Gemma 3 270M, through a round that took (\d+) and (\d+) s": tuple(
        detail("real_models", name, "seconds", "round") for name in ("SmolLM2-135M-Instruct", "Gemma 3 270M")
    ),
    r"drawing 1,000 of ([\d,]+)": (sizes("memory", "drawing 1,000 of", to=3),),
    r"the default recipe (\S+), just below its pre-training's peak": (
        detail("forgetting", "demo", "recipes", "kept", "learning_rate"),
    ),
    r"naive fine-tuning (\S+), the best of": (detail("forgetting", "demo", "recipes", "naive", "learning_rate"),),
    r"sequences of (\d+) tokens": (detail("forgetting", "demo", "recipes", "kept", "sequence_length"),),
    r"trains (\S+) times the tokens of naive": (times_naive("tokens"),),
    r"took (\S+) times its training time \((\d+) s against (\d+) s for the demo stream": (
        times_naive("seconds"),
        mean_of("demo", "kept", "seconds"),
        mean_of("demo", "naive", "seconds"),
    ),
    r"at (\S+) nats per token over all slices, the kept model at (\S+), naive fine-tuning at (\S+);": (
        end_of("demo", "joint"),
        end_of("demo", "kept"),
        end_of("demo", "naive"),
    ),
    r"Replay alone, without the divergence, takes away (\S+ %) and (\S+ %) of": tuple(
        counted("forgetting", f"{stream}: share of naive forgetting that is removed by replay alone")
        for stream in ("demo", "sharp")
    ),
    r"learns that better, (\S+) and (\S+) nats per token after": tuple(
        mean_of(stream, "naive, equal tokens", "plasticity") for stream in ("demo", "sharp")
    ),
    r"where the kept model has (\S+) and (\S+),": tuple(
        mean_of(stream, "kept", "plasticity") for stream in ("demo", "sharp")
    ),
    r"forgets (\S+) and (\S+)\. Each": tuple(
        mean_of(stream, "naive, equal tokens", "forgetting") for stream in ("demo", "sharp")
    ),
    r"on the sharper stream at (\S+), (\S+) and (\S+)\.": (
        end_of("sharp", "joint"),
        end_of("sharp", "kept"),
        end_of("sharp", "naive"),
    ),
}
"""The figures that stand in sentences, in headings of rows and in brackets."""


def _gigabytes(model: str) -> Value:
    """Of memory that a real model's round took at its highest."""
    peak = detail("real_models", model, "peak_bytes")
    return lambda results: peak(results) / 10**9


TOLD_BY_README: Final[Mapping[str, tuple[Value, ...]]] = {
    rf"{intro} {model}{took} (\S+) s and (\S+) GB": (
        detail("real_models", model, "seconds", "round"),
        _gigabytes(model),
    )
    for intro, model, took in (
        ("a round of", "SmolLM2-135M-Instruct", " took"),
        ("one of", "Gemma 3 270M", ""),
    )
} | {
    r"Of (\d+) architectures of transformers, each as a small random model, (\d+) are served and (\d+) refused": (
        lambda results: sum(
            bar(results, "architectures", f"architectures {what}")["value"]
            for what in ("served", "refused", "of which no small model could be made")
        ),
        counted("architectures", "architectures served"),
        counted("architectures", "architectures refused"),
    ),
    r"of (\d+) no small model could be made": (
        counted("architectures", "architectures of which no small model could be made"),
    ),
    r"and (\d+) answer or learn otherwise than by whole passes": (
        counted("architectures", "architectures that answer or learn otherwise"),
    ),
}
"""Of the README's part on what was measured, what stands there in sentences of its own."""


def rows(text: str) -> Iterator[Row]:
    """The rows of the part's table."""
    script = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 4 or set(cells[0]) == {"-"} or cells[0] == "what":
            continue
        what, figures, bounds, named = cells
        script = named.strip("`").rpartition(".")[2] or script
        printed = NUMBER.findall(ASIDE.sub("", figures))
        yield Row(what, tuple(printed), tuple(bound.strip() for bound in bounds.split(";")), script)


def number(printed: str) -> float:
    """A printed number's value; a percentage is a share."""
    bare = printed.replace(",", "").replace("−", "-")
    return float(bare.removesuffix(" %")) / 100 if bare.endswith(" %") else float(bare)


def is_rounded(printed: str, value: float) -> bool:
    """Whether a value, rounded to the digits that are printed, is what is printed."""
    if "e" in printed:
        return f"{value:g}" == f"{number(printed):g}"
    if printed.endswith(" %"):
        value, printed = 100 * value, printed.removesuffix(" %")
    digits = len(printed.partition(".")[2])
    return f"{value:,.{digits}f}".replace(",", "") == printed.replace(",", "").replace("−", "-")


def bound_of(facts: Mapping[str, Any]) -> tuple[str, float]:
    """The direction and the limit of a bar."""
    return ("≥", facts["at_least"]) if "at_least" in facts else ("≤", facts["at_most"])


def is_reached(facts: Mapping[str, Any]) -> bool:
    """Whether what was measured is within its bar."""
    value: float = facts["value"]
    return bool(facts.get("at_least", value) <= value <= facts.get("at_most", value))


def is_bound(printed: str, facts: Mapping[str, Any]) -> bool:
    """Whether the "must be" column states a bar's limit; a bare 0 says that nothing may be counted."""
    direction, limit = bound_of(facts)
    printed = printed.removesuffix(MISSED)
    told = NUMBER.findall(printed)
    return (printed[0] if printed != "0" else "≤") == direction and [number(each) for each in told] == [limit]


def names_of(row: Row) -> list[tuple[str, ...]]:
    """What the names of the bars begin with that a row prints: a single tuple of them, where its words are known."""
    return [names for beginning, names in ROWS.items() if row.what.startswith(beginning)]


def wrong_in_row(row: Row, results: Results) -> list[str]:
    """What a row says and its bars do not."""
    known = names_of(row)
    if len(known) != 1:
        return [f"{row.what}: no bars are known that it could quote"]
    try:
        bars = [bar(results, row.script, name) for name in known[0]]
    except WRONG_SHAPE:
        return [f"{row.what}: {row.script} measured nothing that begins with one of {known[0]}"]
    bounds = row.bounds * len(bars) if len(row.bounds) == 1 else row.bounds
    if not len(row.figures) == len(bounds) == len(bars):
        return [f"{row.what}: {len(bars)} figures with a bound each are to be there"]
    said = zip(row.figures, bounds, bars, strict=True)
    return [wrong for figure, bound, facts in said for wrong in wrong_in_cells(figure, bound, facts)]


def wrong_in_cells(figure: str, bound: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """What a printed figure and a printed bound say and their bar does not."""
    if not is_rounded(figure, facts["value"]):
        yield f"{facts['name']}: {figure} is printed, {facts['value']} was measured"
    elif bound.endswith(MISSED) == is_reached(facts):
        yield f"{facts['name']}: {bound} is printed, but whether {facts['value']} is within the bar it says wrongly"
    if not is_bound(bound, facts):
        yield f"{facts['name']}: must be {bound} is printed, the bar is {' '.join(map(str, bound_of(facts)))}"


def quoted_bars(text: str, results: Results) -> set[tuple[str, str]]:
    """Script and name of the bars whose figures the table prints."""
    named = ((row.script, name) for row in rows(text) for names in names_of(row) for name in names)
    return {(script, bar(results, script, name)["name"]) for script, name in named}


def wrong_in_text(text: str, pattern: str, results: Results) -> list[str]:
    """What the sentences that fit a pattern say and the results do not."""
    found = list(re.finditer(pattern, " ".join(text.split())))
    if not found:
        return [f"nothing reads like {pattern!r} any more"]
    try:
        values = [value(results) for value in {**TOLD, **TOLD_BY_README}[pattern]]
    except WRONG_SHAPE as error:
        return [f"{pattern!r}: the results do not hold {error}; run that benchmark again with --json"]
    said = [(printed, value) for match in found for printed, value in zip(match.groups(), values, strict=True)]
    return [f"{pattern!r}: {printed} is printed, {v} was measured" for printed, v in said if not is_rounded(printed, v)]


def unheld(text: str) -> list[str]:
    """Numbers of the part, its figure and "must be" columns apart, that no pattern holds to a result."""
    told = [row.what for row in rows(text)]
    in_brackets = [aside for line in text.splitlines() if line.startswith("|") for aside in ASIDE.findall(line)]
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    words = " ".join(" ".join([*prose, *told, *in_brackets]).split())
    for pattern in TOLD:
        words = re.sub(pattern, "", words)
    return NUMBER.findall(words)
