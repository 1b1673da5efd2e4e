"""What a model is found to be when it is asked itself."""

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedModel,
)

from benchmarks.tiny_architectures import POSITIONS, tiny_model
from checkpoints.base.prepare import import_base
from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import KINDS, ModelKind
from checkpoints.load import load_model
from checkpoints.probe.ask import conduct_of, reading_of
from checkpoints.probe.causal import CausalProbe
from checkpoints.probe.compare import Yardstick
from checkpoints.probe.conduct import ANEW, Conduct, UnfitModel, Way
from checkpoints.probe.padded import PaddedProbe
from tests.models import (
    embedding_of,
    framing_tokenizer,
    make_causal,
    make_classifier,
    make_masked,
    make_paired,
    make_tokenizer,
)
from tests.unit.learner import tiny


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def causal(name: str, **own: Any) -> PreTrainedModel:
    """A tiny causal model."""
    return tiny_model(name, "causal-lm", own=own)


def in_precision(name: str, dtype: torch.dtype) -> PreTrainedModel:
    """A tiny causal model in another precision."""
    model = causal(name)
    torch.nn.Module.to(model, dtype)
    return model


def asked(model: PreTrainedModel) -> Conduct:
    """What the whole probe says of a causal model."""
    return conduct_of(model, "causal-lm", make_tokenizer())


@pytest.mark.parametrize(
    ("name", "own", "way", "longest"),
    [
        ("llama", {}, Way("shared", 0), POSITIONS),
        ("gpt2", {}, Way("shared", 0), POSITIONS),
        ("mixtral", {}, Way("shared", 0), POSITIONS),
        ("gemma3_text", {}, Way("shared", 0), POSITIONS),
        ("mpt", {}, Way("shared", 0), POSITIONS),
        ("bloom", {}, Way("shared", 0), None),
        ("opt", {}, Way("shared", 0), POSITIONS),
        # It counts from behind its padding token's place, and loses as many positions.
        ("roberta", {"is_decoder": True}, Way("shared", 3), POSITIONS - 3),
        ("bert", {"is_decoder": True}, Way("shared", 0), POSITIONS),
        ("openai-gpt", {}, ANEW, POSITIONS),
        ("mamba", {}, Way("given", None, stretches=False), None),
        ("falcon_mamba", {}, Way("given", None, stretches=False), None),
        ("mamba2", {}, Way("given", None), None),
    ],
)
def test_a_causal_model_is_written_with_as_its_own_passes_say(
    name: str, own: dict[str, Any], way: Way, longest: int | None
) -> None:
    """Together where its cache can be shared, alone where not, without one where none is right."""
    conduct = asked(causal(name, **own))
    assert (conduct.way, conduct.longest) == (way, longest)


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "xlnet", "bert-generation", "prophetnet", "cpmant"])
def test_a_model_that_sees_later_tokens_is_refused(name: str) -> None:
    """Its loss would fall in training, and mean nothing."""
    with pytest.raises(UnfitModel, match="sees later tokens"):
        asked(causal(name))


def test_a_masked_language_model_cannot_be_the_base_of_a_causal_one(tmp_path: Path) -> None:
    """As transformers loads it without a word; nothing of it is kept."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=320, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, pad_token_id=2
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "made")
    make_tokenizer().save_pretrained(tmp_path / "made")
    store = GenerationStore(tmp_path / "store")
    with pytest.raises(CheckpointsError, match="sees later tokens"):
        import_base(store, tmp_path / "made")
    assert store.numbers() == []


@pytest.mark.parametrize("name", ["falcon_h1", "jamba", "bamba", "qwen3_next", "rwkv", "minimax", "bart", "lfm2"])
def test_a_cache_that_cannot_be_padded_is_not_shared(name: str) -> None:
    """Its sequences take turns, each with its cache."""
    conduct = asked(causal(name))
    assert not conduct.way.together
    assert conduct.way.cache in ("given", "own")
    assert "take turns" in conduct.cost("causal-lm")


def test_a_choice_of_what_is_attended_to_is_made_beyond_a_small_window() -> None:
    """Doge chooses among all tokens of a row, padding too, but not before they are more than its window holds."""
    model = causal("doge")
    assert not asked(model).rows_together
    windows = {module.keep_window_size for module in model.modules() if hasattr(module, "keep_window_size")}
    assert windows == {model.config.keep_window_size}


def test_windows_are_as_they_were_after_the_probe() -> None:
    """They are made small only while it asks."""
    model = causal("gemma3_text", sliding_window=64)
    assert asked(model).way == Way("shared", 0)
    assert model.config.sliding_window == 64


def test_a_longer_rope_is_cached_up_to_the_length_that_it_was_first_trained_on() -> None:
    """Beyond it all keys turn, those that were cached too."""
    factors = [1.0] * 4
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": factors, "long_factor": [4.0] * 4}
    model = causal("phi3", rope_parameters=rope, original_max_position_embeddings=48)
    conduct = asked(model)
    assert (conduct.cached_up_to, conduct.longest) == (48, POSITIONS)


class OneCapacity(LlamaForCausalLM):
    """As a mixture of experts with a capacity: the more rows, the less of each."""

    @wraps(LlamaForCausalLM.forward)
    def forward(self, input_ids: Tensor, **arguments: Any) -> Any:  # type: ignore[override]  # as the model's own
        """Weaken each row by the number of those beside it."""
        output = super().forward(input_ids=input_ids, **arguments)
        output.logits = output.logits + torch.sin(output.logits * len(input_ids))
        return output


def test_answers_that_depend_on_what_shares_the_batch_are_given_one_by_one() -> None:
    """In serving, and in training and scores too."""
    model = causal("llama")
    model.__class__ = OneCapacity
    conduct = asked(model)
    assert conduct.way == Way("given", None)
    assert not conduct.rows_together


class Dice(GPT2LMHeadModel):
    """Draws lots."""

    def forward(self, **arguments: Any) -> Any:
        """Another answer each time."""
        output = super().forward(**arguments)
        output.logits = output.logits + torch.rand_like(output.logits)
        return output


def test_a_model_that_draws_lots_is_refused() -> None:
    """Nothing about it could be measured."""
    torch.manual_seed(0)
    model = Dice(GPT2Config(vocab_size=320, n_embd=32, n_layer=1, n_head=2, n_positions=64))
    model.train(mode=False)
    with pytest.raises(UnfitModel, match="gives other logits each time"):
        asked(model)


def test_weights_that_are_no_numbers_are_no_matter_of_the_probe() -> None:
    """The warm-up says that they are not."""
    model = causal("llama")
    with torch.no_grad():
        embedding_of(model).fill_(torch.nan)
    assert asked(model).way == Way("shared", 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "gemma3_text", "mixtral", "gpt2"])
def test_half_precision_is_rounding_and_no_fault(name: str, dtype: torch.dtype) -> None:
    """As weights are stored when a base is imported."""
    assert asked(in_precision(name, dtype)).way == Way("shared", 0)


@pytest.mark.parametrize("name", ["mamba", "openai-gpt", "roberta"])
def test_half_precision_hides_no_fault(name: str) -> None:
    """What is refused, or asked otherwise, in full is so in half."""
    model = causal(name)
    assert _outcome(asked, in_precision(name, torch.bfloat16)) == _outcome(asked, model)


def _outcome(ask: Callable[[PreTrainedModel], Conduct], model: PreTrainedModel) -> Way | str:
    try:
        return ask(model).way
    except UnfitModel as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "side"), [("bert", "right"), ("llama", "right"), ("xlnet", "left"), ("fnet", None), ("convbert", None)]
)
def test_a_classifier_is_padded_where_it_bears_it(name: str, side: str | None) -> None:
    """On the right, on the left, or nowhere: then its texts take turns."""
    conduct = PaddedProbe(tiny_model(name, "classifier"), KINDS["classifier"], [0], [1]).conduct()
    assert conduct.padding == side
    assert conduct.rows_together is (side is not None)
    assert bool(conduct.cost("classifier")) is (side is None)


class Unmasked(BertForSequenceClassification):
    """Pays no attention to the mask."""

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        """Leave it out."""
        return super().forward(input_ids=input_ids)


def test_a_classifier_without_a_mask_is_asked_one_by_one() -> None:
    """Padding on either side changes its answer."""
    model = tiny_model("bert", "classifier")
    model.__class__ = Unmasked
    assert PaddedProbe(model, KINDS["classifier"]).conduct().padding is None


def test_the_probe_knows_how_a_tokenizer_frames_a_text() -> None:
    """Encoder-decoders classify by the end of text, and fail without one."""
    model = tiny_model("bart", "classifier")
    with pytest.raises(UnfitModel, match="fails on a plain text"):
        PaddedProbe(model, KINDS["classifier"]).conduct()
    assert PaddedProbe(model, KINDS["classifier"], [0], [1]).conduct().padding == "right"


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("bert", "right"),
        ("roberta", "right"),
        ("modernbert", "right"),
        ("deberta-v2", "right"),
        ("distilbert", "right"),
        ("electra", "right"),
        ("fnet", None),
    ],
)
def test_a_masked_model_is_padded_where_it_bears_it(name: str, side: str | None) -> None:
    """By the logits at each of a text's own tokens; where padding changes them rows are read alone."""
    conduct = PaddedProbe(tiny_model(name, "masked-lm"), KINDS["masked-lm"], [0], [1]).conduct()
    assert (conduct.padding, conduct.rows_together) == (side, side is not None)
    assert bool(conduct.cost("masked-lm")) is (side is None)


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        ("t5", "shared"),
        ("mt5", "shared"),
        ("bart", "abreast"),
        ("marian", "abreast"),
        ("pegasus", "abreast"),
        ("blenderbot", "abreast"),
    ],
)
def test_an_encoder_and_its_decoder_are_asked_together(name: str, cache: str) -> None:
    """Pairs share a pass, and so do answers, where a decoder counts its places those that have come as far."""
    conduct = conduct_of(tiny_model(name, "seq2seq"), "seq2seq", framing_tokenizer())
    assert (conduct.rows_together, conduct.way.cache) == (True, cache)
    assert conduct.longest is None or conduct.longest <= POSITIONS
    expected = {"shared": "requests together, with a cache", "abreast": "requests that begin together share passes"}
    assert conduct.description("seq2seq").startswith(expected[cache])
    assert ("come one after another take turns" in conduct.cost("seq2seq")) is (cache == "abreast")


def test_a_decoder_without_a_beginning_is_refused() -> None:
    """Nobody could tell what its answers begin with."""
    model = tiny_model("t5", "seq2seq")
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = None
    with pytest.raises(UnfitModel, match="decoder_start_token_id"):
        conduct_of(model, "seq2seq", framing_tokenizer())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_sees_nothing_later_fills_no_gaps(dtype: torch.dtype) -> None:
    """A decoder saved with the class of a masked model, in whichever precision; its like that sees later is taken."""
    decoder = tiny_model("bert", "masked-lm", own={"is_decoder": True})
    torch.nn.Module.to(decoder, dtype)
    with pytest.raises(UnfitModel, match=r'sees no later tokens.*model\.kind = "causal-lm"'):
        PaddedProbe(decoder, KINDS["masked-lm"], [0], [1]).conduct()
    seeing = tiny_model("bert", "masked-lm")
    torch.nn.Module.to(seeing, dtype)
    assert PaddedProbe(seeing, KINDS["masked-lm"], [0], [1]).conduct().padding == "right"


@pytest.mark.parametrize(
    ("make", "kind"),
    [(make_causal, "causal-lm"), (make_classifier, "classifier"), (make_masked, "masked-lm"), (make_paired, "seq2seq")],
)
def test_a_model_is_left_as_it_was(make: Callable[[Path], Path], kind: ModelKind, tmp_path: Path) -> None:
    """Weights, buffers and configuration."""
    model = load_model(make(tmp_path), kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}, model.config.to_dict()
    conduct_of(model, kind, make_tokenizer())
    assert model.config.to_dict() == before[1]
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert not model.training


@pytest.mark.parametrize(
    ("name", "packed"), [("llama", True), ("gpt2", True), ("mamba", False), ("bloom", False), ("jamba", False)]
)
def test_documents_are_packed_where_the_model_keeps_them_apart(name: str, packed: bool) -> None:
    """By positions that restart; not where a state is carried along, nor where positions are counted inside."""
    assert reading_of(causal(name), "causal-lm", make_tokenizer()).packed is packed


def test_a_model_that_counts_from_elsewhere_is_not_packed() -> None:
    """With positions from 0 both documents would agree with each other, and neither with the model."""
    assert not CausalProbe(causal("roberta", is_decoder=True)).reading().packed


@pytest.mark.parametrize(
    ("found", "expected", "dtype", "alike"),
    [
        ([1.0, 2.0], [1.0, 2.0], torch.float32, True),
        ([1.0, 2.0], [1.0, 2.1], torch.float32, False),
        ([1.0, 2.0], [1.0, 2.01], torch.bfloat16, True),
        ([1.0, 2.0], [2.0, 1.0], torch.bfloat16, False),
        ([1.0, -torch.inf], [1.0, -torch.inf], torch.float32, True),
        ([1.0, -torch.inf], [1.0, 2.0], torch.float32, False),
        ([torch.nan, torch.nan], [torch.nan, torch.nan], torch.float32, True),
        ([0.0, 0.0], [0.0, 0.0], torch.float32, True),
        ([0.5], [0.5], torch.float32, True),
        ([0.5], [0.7], torch.float32, False),
    ],
)
def test_what_is_the_same_answer(found: list[float], expected: list[float], dtype: torch.dtype, alike: bool) -> None:
    """But for rounding, by the weights' precision, against the spread of the outputs."""
    assert Yardstick.of(dtype, 1.0).same(torch.tensor([found]), torch.tensor([expected])) is alike


def test_a_frame_is_found_where_every_letter_is_unknown() -> None:
    """A tokenizer of words knows no letter, and its unknown token is a special one."""
    words = tiny.tokenizer(bert=True)
    model = tiny_model("bart", "classifier", own={"eos_token_id": words.sep_token_id})
    assert reading_of(model, "classifier", words).padding == "right"
