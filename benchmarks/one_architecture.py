"""One tiny random model by the way that every model goes: imported, loaded, asked alone and together, trained a step.

    python -m benchmarks.one_architecture NAME KIND

prints one JSON object. What is served and scored is held against whole passes over one text at a time.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import torch
from prometheus_client import CollectorRegistry
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from benchmarks.tiny_architectures import POSITIONS, TOKENS, VOCABULARY, CannotShrink, tiny_model
from checkpoints.base.prepare import import_base
from checkpoints.card import ModelKind
from checkpoints.errors import CheckpointsError, MismatchedTokenizer
from checkpoints.generation_store import GenerationStore
from learner.directory.report import Outcome
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, read_round, write_round
from learner.job import run_round
from learner.progress import Progress
from learner.settings import RecipeSettings
from learner.workbench import set_up
from serving.engine.classify import Classification, Classifier
from serving.engine.completion import Completion, Delta, Event
from serving.engine.completions import Engine
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.generations.loading import Loader
from serving.metrics import ServingMetrics

NEW_TOKENS: Final = 12
PROMPTS: Final = ("the river", "what was known before the flood came over the", "one two three")
LABELS: Final = ("calm", "rising", "flood")
NOUNS: Final = ("river", "boat", "stone", "bridge", "water", "mill", "trader", "letter", "night")
# Greedy answers of random weights may turn on a tie: a step this close to the next best, in spreads of the logits.
TIE: Final = 1e-3
SAME_LOSS: Final = 1e-4
RECIPE: Final = RecipeSettings(
    batch_sequences=8,
    micro_batch=4,
    sequence_length=48,
    max_steps=2,
    learning_rate=1e-4,
    early_stop_checks=0,
    interpolation=(0.0,),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one architecture.

    Attributes:
        name: transformers' model type.
        kind: `causal-lm` or `classifier`.
        model: the class.
        served: how it is served; empty where it is not.
        refused: why it is refused; empty where it is not.
        not_made: why no small model could be made; empty where one was.
        longest: most tokens of a sequence that were found; None: no limit.
        wrong: what came out otherwise than by whole passes over one text; empty is how it has to be.
        rows: how it is trained and scored: `packed`, `rows together` or `row by row`.
    """

    name: str
    kind: ModelKind
    model: str = ""
    served: str = ""
    refused: str = ""
    not_made: str = ""
    longest: int | None = None
    wrong: str = ""
    rows: str = ""


def make_tokenizer(*, framed: bool) -> PreTrainedTokenizerFast:
    """Bytes and a few pairs of them; a classifier's texts are framed."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        # Every byte has a token, so that no prompt can hold one that is unknown.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([*PROMPTS, " ".join(NOUNS)] * 8, trainer)
    if framed:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", TOKENS["bos_token_id"]), ("</s>", TOKENS["eos_token_id"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=POSITIONS
    )


def try_architecture(name: str, kind: ModelKind, folder: Path, *, own: dict[str, Any] | None = None) -> Row:
    """Make a model, and take it the whole way.

    Args:
        name: transformers' model type.
        kind: what it is for.
        folder: where files may be written.
        own: of the configuration, beside what makes it small.
    """
    try:
        model = tiny_model(name, kind, labels=len(LABELS), own=own)
    except CannotShrink as error:
        return Row(name, kind, not_made=str(error))
    return take_whole_way(Row(name, kind, type(model).__name__), model, folder)


def take_whole_way(row: Row, model: PreTrainedModel, folder: Path) -> Row:
    """Take a model the whole way from its directory to a round."""
    classifies = row.kind == "classifier"
    try:
        if classifies:
            model.config.id2label = dict(enumerate(LABELS))
            model.config.label2id = {label: at for at, label in enumerate(LABELS)}
        model.save_pretrained(folder / "made")
        make_tokenizer(framed=classifies).save_pretrained(folder / "made")
    except Exception as error:  # noqa: BLE001 - transformers cannot write what it made: nothing of ours was asked
        return replace(row, not_made=f"it cannot be saved: {_describe(error)}")
    store = GenerationStore(folder / "store")
    try:
        base = import_base(store, folder / "made", kind=row.kind, labels=LABELS if classifies else ())
        generation = Loader(store, row.kind, "cpu", ServingMetrics(CollectorRegistry())).load(0, None, None)
    except MismatchedTokenizer:
        return replace(row, not_made="it takes a tokenizer of its own")
    except CheckpointsError as error:
        return replace(row, refused=str(error).replace(str(folder / "made"), "the model"))
    conduct = generation.conduct
    rows = "packed" if conduct.packed else "rows together" if conduct.rows_together else "row by row"
    row = replace(row, served=conduct.description(row.kind), longest=conduct.longest, rows=rows)
    wrong = _check_classifying(generation) if classifies else _check_writing(generation)
    # A model that is served wrongly is found out by that; what it learns says no more.
    wrong = wrong or _check_learning(row.kind, GenerationRef(0, base.digest), base.path, folder / "round")
    return replace(row, wrong=wrong)


def _check_writing(generation: LoadedGeneration) -> str:
    """What an engine says otherwise than whole passes do; alone, and together with others."""
    engine = Engine(at_once=4, queue=8, metrics=ServingMetrics(CollectorRegistry()))
    engine.start()
    try:
        prompts = [list(generation.tokenizer(prompt)["input_ids"]) for prompt in PROMPTS]
        expected = [_answer_by_whole_passes(generation, prompt) for prompt in prompts]
        alone = [_write(engine, generation, [prompt])[0] for prompt in prompts]
        together = _write(engine, generation, prompts)
    finally:
        engine.close()
    for how, answers in (("alone", alone), ("together", together)):
        for prompt, answer, expected_text in zip(PROMPTS, answers, expected, strict=True):
            # Where the answer turns on a tie, rounding alone decides, and any is right.
            if expected_text is not None and _plain(answer) != _plain(expected_text):
                return f"{how}, {prompt!r} is answered with {answer!r}, by whole passes with {expected_text!r}"
    return ""


def _plain(text: str) -> str:
    """What of a text is told alike as it comes and at its end: halves of characters are not."""
    return "".join(letter for letter in text if letter.isascii()).strip()


def _answer_by_whole_passes(generation: LoadedGeneration, prompt: Sequence[int]) -> str | None:
    """The greedy answer by whole passes; None where it turns on a tie."""
    tokens = list(prompt)
    for _ in range(NEW_TOKENS):
        with torch.inference_mode():
            # Without a cache, each time from the beginning: what training saw, and slow.
            logits = generation.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].float()
        best, second = logits.topk(2).values.tolist()
        if best - second < TIE * float(logits.std()):
            return None
        token = int(logits.argmax())
        if token in generation.stop_ids:
            break
        tokens.append(token)
    return str(generation.tokenizer.decode(tokens[len(prompt) :], skip_special_tokens=True))


def _write(engine: Engine, generation: LoadedGeneration, prompts: Sequence[list[int]]) -> list[str]:
    queues: list[SimpleQueue[Event]] = [SimpleQueue() for _ in prompts]
    jobs = [
        Completion(generation, prompt, NEW_TOKENS, Sampling(temperature=0), (), queue.put)
        for prompt, queue in zip(prompts, queues, strict=True)
    ]
    engine.submit(*jobs)
    return [_collect(queue) for queue in queues]


def _collect(queue: "SimpleQueue[Event]") -> str:
    text = ""
    while True:
        # Bounded: an engine that hangs is one of the faults that are looked for.
        event = queue.get(timeout=120)
        if isinstance(event, Exception):
            return f"{type(event).__name__}: {event}"
        if not isinstance(event, Delta):
            return text
        text += event.text


def _check_classifying(generation: LoadedGeneration) -> str:
    """What a classifier says otherwise when texts share a pass, or requests come together."""
    worker = Classifier(at_once=4, queue=8, batch=4, metrics=ServingMetrics(CollectorRegistry()))
    worker.start()
    try:
        texts = [list(generation.tokenizer(text)["input_ids"]) for text in PROMPTS]
        together = _classify(worker, generation, texts)
    finally:
        worker.close()
    for text, ids, row in zip(PROMPTS, texts, together, strict=True):
        input_ids = torch.tensor([ids])
        with torch.inference_mode():
            logits = generation.model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids)).logits[0]
        if not torch.allclose(torch.tensor(row), torch.softmax(logits.float(), -1), atol=1e-4):
            return f"{text!r} is classified as {row}, alone as {torch.softmax(logits, -1).tolist()}"
    return ""


def _classify(worker: Classifier, generation: LoadedGeneration, texts: list[list[int]]) -> list[list[float]]:
    queue: SimpleQueue[list[list[float]] | Exception] = SimpleQueue()
    worker.submit(Classification(generation, texts, queue.put))
    outcome = queue.get(timeout=120)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _check_learning(kind: ModelKind, ref: GenerationRef, path: Path, folder: Path) -> str:
    """What is wrong with a round: it does not train, or scores otherwise when documents share a pass."""
    spec = RoundSpec(round=1, kind=kind, seed=7, parent=ref, base=ref, recipe=RECIPE, device="cpu", threads=1)
    holdout = _samples(6, first=100)
    write_round(
        folder,
        spec,
        parent_dir=path,
        base_dir=path,
        fresh=_samples(10, first=1),
        replay=_samples(10, first=50),
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(holdout))],
    )
    if wrong := _check_scoring(folder, holdout):
        return wrong
    report = run_round(folder)
    return "" if report.outcome is Outcome.TRAINED else f"the round ends as {report.outcome}: {report.detail}"


def _check_scoring(folder: Path, holdout: Sequence[RoundSample]) -> str:
    with Progress(folder / "progress.jsonl", None) as progress:
        bench = set_up(read_round(folder), progress)
        text = bench.encode(holdout)
        for at, score in enumerate(bench.evaluate(bench.model, text)):
            # Against a tolerance, as the sums of a batch are rounded in another order.
            (alone,) = bench.evaluate(bench.model, text.take([at]))
            if abs(alone.nll - score.nll) > SAME_LOSS * max(1.0, abs(alone.nll)):
                return f"a document scores {score.nll} among others, {alone.nll} alone"
    return ""


def _samples(count: int, *, first: int) -> list[RoundSample]:
    texts = [" ".join(NOUNS[(first + at * step) % len(NOUNS)] for step in range(1, 3 + at % 5)) for at in range(count)]
    return [RoundSample(first + at, text, "river", LABELS[at % len(LABELS)]) for at, text in enumerate(texts)]


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def main() -> None:
    """Try one, and print what became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("kind", choices=["causal-lm", "classifier"])
    parser.add_argument("--own", type=json.loads, default=None, help="of its configuration, as JSON")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        row = try_architecture(chosen.name, chosen.kind, Path(folder), own=chosen.own)
    sys.stdout.write(json.dumps(asdict(row)) + "\n")


if __name__ == "__main__":
    main()
