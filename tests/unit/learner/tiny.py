"""Models and text small enough to train in a test: made on the fly, with random weights."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from checkpoints.card import Card, ModelKind
from checkpoints.generation_store import GenerationStore, Published
from learner.directory.report import WAY_OF_SCORING
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, write_round
from learner.settings import RecipeSettings
from learner.skills.prompts import Asking, Skill
from learner.weights.candidates import named_weights
from memory.ledger.scorings import Scoring
from streams.chats import INPUT, TARGET, Message, join
from tests.models import embedding_of

NOUNS = ["river", "boat", "stone", "bridge", "water", "mill", "trader", "letter", "night", "song", "field", "harbour"]
VERBS = ["carries", "holds", "finds", "keeps", "leaves", "crosses", "follows", "remembers"]
NEW_NOUNS = ["engine", "signal", "cable", "station", "circuit", "broadcast"]
LABELS = ("calm", "stormy", "frozen")


def sentence(random_: random.Random, nouns: Sequence[str] = NOUNS) -> str:
    """One sentence in the manner of its nouns."""
    return f"the {random_.choice(nouns)} {random_.choice(VERBS)} the {random_.choice(nouns)}"


def texts(count: int, *, seed: int, nouns: Sequence[str] = NOUNS, longest: int = 6) -> list[str]:
    """Documents of 1 to `longest` sentences."""
    random_ = random.Random(seed)
    return [". ".join(sentence(random_, nouns) for _ in range(random_.randint(1, longest))) for _ in range(count)]


def samples(count: int, *, seed: int, first: int = 1, nouns: Sequence[str] = NOUNS, **more: Any) -> list[RoundSample]:
    """Samples of such documents, numbered from `first`."""
    return [
        RoundSample(first + at, text, "river") for at, text in enumerate(texts(count, seed=seed, nouns=nouns, **more))
    ]


def labelled(count: int, *, seed: int, first: int = 1, labels: Sequence[str] = LABELS) -> list[RoundSample]:
    """Samples whose text says their label."""
    random_ = random.Random(seed)
    chosen = [random_.choice(labels) for _ in range(count)]
    return [
        RoundSample(first + at, f"{sentence(random_)} and is {label}", "river", label)
        for at, label in enumerate(chosen)
    ]


def tokenizer(*, bert: bool = False) -> PreTrainedTokenizerFast:
    """A word-level tokenizer of all the words used here."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>"]
    words = sorted({*NOUNS, *VERBS, *NEW_NOUNS, *LABELS, "the", "and", "is", "."})
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate([*special, *words])}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if bert:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", bos_token="<s>", eos_token="</s>"
    )


def llama(*, seed: int = 0, tied: bool = True, dtype: torch.dtype = torch.float32, layers: int = 2) -> LlamaForCausalLM:
    """A Llama of some 20,000 parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        bos_token_id=4,
        eos_token_id=5,
        pad_token_id=0,
    )
    return torch.nn.Module.to(LlamaForCausalLM(config), dtype)


def gpt2(*, seed: int = 0) -> GPT2LMHeadModel:
    """A GPT-2 of some 20,000 parameters, whose linear maps are stored the other way round, with dropout."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer()),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        bos_token_id=4,
        eos_token_id=5,
        pad_token_id=0,
    )
    return GPT2LMHeadModel(config)


def broken_llama() -> LlamaForCausalLM:
    """A Llama that gives NaN for every text that has a word about engines in it."""
    model = llama(tied=False)
    with torch.no_grad():
        embedding_of(model)[tokenizer().get_vocab()["engine"]] = float("nan")
    return model


def bert(*, seed: int = 0) -> BertForSequenceClassification:
    """A BERT of some 20,000 parameters that classifies into `LABELS`."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer(bert=True)),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        id2label=dict(enumerate(LABELS)),
        label2id={label: at for at, label in enumerate(LABELS)},
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    return BertForSequenceClassification(config)


def masking_tokenizer() -> PreTrainedTokenizerFast:
    """BERT's, with a token for gaps."""
    made = tokenizer(bert=True)
    made.add_special_tokens({"mask_token": "[MASK]"})
    return made


def masked(*, seed: int = 0) -> BertForMaskedLM:
    """A BERT of some 20,000 parameters that fills gaps."""
    config = bert(seed=seed).config
    config.vocab_size = len(masking_tokenizer())
    torch.manual_seed(seed)
    return BertForMaskedLM(config)


def weights_of(model: Any) -> dict[str, Tensor]:
    """A copy of a model's parameters and stored buffers, on the CPU, by name; tied ones once."""
    return {name: value.detach().to("cpu", copy=True) for name, value in named_weights(model).items()}


def t5(*, seed: int = 0) -> T5ForConditionalGeneration:
    """A T5 of some 30,000 parameters, without a limit on positions."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer(bert=True)),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=3,
    )
    config.decoder_start_token_id = 0
    return T5ForConditionalGeneration(config)


def bart(*, seed: int = 0) -> BartForConditionalGeneration:
    """A BART of some 40,000 parameters and 64 positions."""
    torch.manual_seed(seed)
    config = BartConfig(
        vocab_size=len(tokenizer(bert=True)),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=3,
        forced_eos_token_id=None,
    )
    return BartForConditionalGeneration(config)


def pairs(count: int, *, seed: int, first: int = 1, nouns: Sequence[str] = NOUNS) -> list[RoundSample]:
    """Pairs of a text and of what one of its manner says next."""
    asked, answers = (texts(count, seed=seed + part, nouns=nouns, longest=3) for part in (0, 1000))
    joined = [join([Message(INPUT, one), Message(TARGET, other)]) for one, other in zip(asked, answers, strict=True)]
    return [RoundSample(first + at, pair.text, "river", turns=pair.turns) for at, pair in enumerate(joined)]


def generation(root: Path, model: Any, tokenizer_: Any, kind: ModelKind) -> Published:
    """Publish a model as generation 0 below `root`."""
    model.save_pretrained(root / "made")
    tokenizer_.save_pretrained(root / "made")
    return GenerationStore(root).publish(root / "made", 0, Card(generation=0, kind=kind))


SMALL = RecipeSettings(
    batch_sequences=10,
    micro_batch=4,
    sequence_length=48,
    learning_rate=3e-3,
    early_stop_checks=2,
    importance_sequences=8,
    interpolation=(0.0, 0.5),
)


SCORED = Scoring("cpu", "float32", SMALL.length, WAY_OF_SCORING)
"""How a round of that recipe takes its scores."""


def skill(lines: Iterable[Mapping[str, Any]], **more: Any) -> Skill:
    """A skill called `words`, of answers of four tokens at most.

    Args:
        lines: its prompts, as a file has them.
        more: how it is asked otherwise.
    """
    asking = Asking(4, None, ignore_case=False, choice_by="sum", between=" ", chat_template=True)
    return Skill.of("words", "\n".join(map(json.dumps, lines)).encode(), replace(asking, **more))


def spec_for(
    base: Published, *, kind: ModelKind = "causal-lm", recipe: RecipeSettings = SMALL, **more: Any
) -> RoundSpec:
    """A round on CPU with one thread whose parent is the base."""
    ref = GenerationRef(base.generation, base.digest)
    fields: dict[str, Any] = {"round": 1, "seed": 7, "device": "cpu", "threads": 1, **more}
    return RoundSpec(kind=kind, parent=ref, base=ref, recipe=recipe, **fields)


def causal_round(
    path: Path,
    base: Published,
    *,
    kind: ModelKind = "causal-lm",
    recipe: RecipeSettings = SMALL,
    fresh: int = 60,
    skills: Sequence[Skill] = (),
    kept_dir: Path | None = None,
    **more: Any,
) -> Path:
    """Write a round of `fresh` documents of new text about engines, with replayed and held-out text about rivers."""
    spec = spec_for(base, kind=kind, recipe=recipe, **more)
    slices = [
        RoundSlice("anchor", "anchor", "river", tuple(samples(12, seed=3, first=3000))),
        RoundSlice("1", "period", "river", tuple(samples(12, seed=4, first=4000, nouns=NEW_NOUNS))),
    ]
    write_round(
        path,
        spec,
        parent_dir=base.path,
        base_dir=base.path,
        fresh=samples(fresh, seed=1, nouns=NEW_NOUNS),
        replay=samples(40, seed=2, first=1000),
        early_stop=samples(6, seed=5, first=5000, nouns=NEW_NOUNS),
        slices=slices,
        skills=skills,
        kept_dir=kept_dir,
    )
    return path


def classifier_round(
    path: Path,
    base: Published,
    *,
    fresh: Sequence[RoundSample],
    replay: Sequence[RoundSample],
    recipe: RecipeSettings,
    **more: Any,
) -> Path:
    """Write a round for a classifier, with held-out documents of every label."""
    write_round(
        path,
        spec_for(base, kind="classifier", recipe=recipe, **more),
        parent_dir=base.path,
        base_dir=base.path,
        fresh=fresh,
        replay=replay,
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(labelled(20, seed=9, first=9000)))],
    )
    return path
