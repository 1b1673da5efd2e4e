"""What stands around documents: what the model learned to expect there, which its tokenizer need not name."""

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from checkpoints.base.prepare import import_base
from checkpoints.document_frame import FRAME_FILE, DocumentFrame, read_frame, usual_frame
from checkpoints.errors import UnusableModel
from checkpoints.generation_store import BASE, GenerationStore
from checkpoints.load import load_model, load_tokenizer
from checkpoints.probe import separators
from checkpoints.probe.separators import ends_turns, frame_of
from learner.directory.round_directory import read_round
from learner.job import run_round
from tests.models import make_causal, make_tokenizer
from tests.unit.learner import tiny

BEGIN, END, OTHER = 0, 1, 2
CHAT = "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
WIDTH = 24
STEPS = 50
SENTENCES = (
    "The old mill by the river was sold to a family from the north.",
    "In autumn the harbour fills with boats that wait for the wind to turn.",
    "A letter arrived on Monday, and nobody in the house dared to open it.",
    "She counted the stones on the bridge and wrote their number down.",
    "This chapter shows how the engine is started and how it is stopped.",
    "Le vent du nord a fermé la route pendant deux longues journées.",
    "Die Brücke wird im Winter gesperrt, weil der Fluss zu hoch steht.",
    "Water flows down from the hills and carries sand into the bay.",
    "Local traders said that the market would open again in the spring.",
)

pytestmark = pytest.mark.usefixtures("torch_settings_kept")


def parted(opening: int, closing: int | None) -> Iterator[int]:
    """Pre-training: documents between tokens. Now and then a turn ends, and a line follows."""
    tokenizer, random_ = make_tokenizer(), random.Random(1)
    texts, line = [tokenizer(text)["input_ids"] for text in SENTENCES], tokenizer("\n")["input_ids"]
    while True:
        yield from [opening, *random_.choice(texts)]
        if closing is not None:
            yield closing
        if closing != END:
            yield from [END, *line, END, *line]


@cache
def taught(opening: int, closing: int | None, rows: int | None = None) -> LlamaForCausalLM:
    """A tiny Llama that has read such documents, with `rows` tokens; None: as many as the tokenizer has."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=rows or len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=BEGIN,
        eos_token_id=END,
    )
    model = LlamaForCausalLM(config)
    read = parted(opening, closing)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(STEPS):
        ids = torch.tensor([[next(read) for _ in range(WIDTH)] for _ in range(16)])
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    return model


def named(*, begin: bool, chat: bool) -> PreTrainedTokenizerFast:
    """A tokenizer that ends sequences with `</s>`, and may begin them with `<s>`."""
    tokenizer = make_tokenizer()
    if not begin:
        tokenizer.bos_token = None
    if chat:
        tokenizer.chat_template = CHAT
    return tokenizer


def test_documents_are_parted_by_what_parted_them_in_pre_training() -> None:
    """A chat model's tokenizer names the end of a turn, and no beginning (Qwen): the model knows another token."""
    model = taught(OTHER, None)
    assert usual_frame(named(begin=False, chat=True)) == DocumentFrame(END, END)
    assert frame_of(model, named(begin=False, chat=True)) == DocumentFrame(OTHER, OTHER)


def test_the_beginning_of_a_turn_is_no_beginning_of_a_document() -> None:
    """A chat model's tokenizer names the beginning and the end of a turn (SmolLM2)."""
    frame = frame_of(taught(OTHER, None), named(begin=True, chat=True), together=False)
    assert (frame.opening, frame.closing) == (OTHER, OTHER)


def test_the_end_of_a_document_is_asked_for_where_the_named_one_ends_turns() -> None:
    """The model begins as its tokenizer says and ends documents with a token of its own (Llama 3)."""
    model = taught(BEGIN, OTHER)
    assert frame_of(model, named(begin=True, chat=True)) == DocumentFrame(BEGIN, OTHER, leads=True)


def test_an_end_that_serves_for_both_stays() -> None:
    """One token ends documents and turns (Mistral)."""
    model = taught(BEGIN, END)
    assert frame_of(model, named(begin=True, chat=True)) == DocumentFrame(BEGIN, END, leads=True)


@pytest.mark.parametrize("begin", [True, False])
def test_a_model_that_knows_nothing_of_it_leaves_it_to_the_tokenizer(begin: bool, tmp_path: Path) -> None:
    """Random weights prefer nothing clearly."""
    model = load_model(make_causal(tmp_path / "model"), "causal-lm")
    tokenizer = named(begin=begin, chat=True)
    assert frame_of(model, tokenizer) == usual_frame(tokenizer)


def test_a_template_says_what_ends_turns() -> None:
    """By name, or by the token itself; without one nothing does."""
    tokenizer = named(begin=True, chat=False)
    assert not ends_turns(tokenizer)
    for template, ends in ((CHAT, True), ("{{ messages[0].content }}</s>", True), ("{{ messages }}", False)):
        tokenizer.chat_template = template
        assert ends_turns(tokenizer) is ends


def test_it_is_asked_once_and_goes_with_every_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At import; a round reads what was found then, trains and scores by it, and hands it to its candidates."""
    frame = DocumentFrame(OTHER, END)
    monkeypatch.setattr("checkpoints.base.prepare.frame_of", lambda *_, **__: frame)
    base = import_base(GenerationStore(tmp_path / "store"), make_causal(tmp_path / "model"))
    assert read_frame(base.path) == frame
    path = tiny.causal_round(tmp_path / "round", base, fresh=20)
    monkeypatch.setattr("learner.workbench.frame_of", lambda *_, **__: pytest.fail("asked again"))
    report = run_round(path)
    for candidate in report.candidates:
        assert read_frame(path / "candidates" / candidate) == frame
    sample = read_round(path).slices[0].samples[0]
    tokens = len(load_tokenizer(base.path)(sample.text)["input_ids"]) + 1
    assert report.slices["anchor"].parent[0].tokens == tokens


def test_a_generation_of_an_earlier_version_is_asked_by_its_round(tmp_path: Path) -> None:
    """It has no such file: its candidates have one."""
    base = tiny.generation(tmp_path / "store", tiny.llama(), tiny.tokenizer(), "causal-lm")
    assert read_frame(base.path) is None
    path = tiny.causal_round(tmp_path / "round", base, fresh=20)
    run_round(path)
    assert read_frame(path / "candidates" / "0.00") == usual_frame(tiny.tokenizer())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """It is not taken for none: scores would change without a word."""
    (tmp_path / FRAME_FILE).write_text('{"opening": "<s>", "closing": 1, "leads": true}')
    with pytest.raises(UnusableModel, match=r"document_frame\.json cannot be read: frame\.opening"):
        read_frame(tmp_path)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            DocumentFrame(BEGIN, END, leads=True),
            "<s> stands before each document, </s> behind it, and at the beginning",
        ),
        (DocumentFrame(OTHER, OTHER), "<pad> stands before and behind each document"),
        (DocumentFrame(BEGIN, None), "<s> stands before each document"),
        (DocumentFrame(None, None), "documents follow each other with nothing between"),
    ],
)
def test_a_person_is_told_of_it(frame: DocumentFrame, said: str) -> None:
    """By the tokens' own words."""
    assert frame.describe(make_tokenizer()).startswith(said)


@pytest.mark.slow
def test_smollm2_parts_documents_by_the_end_of_text(smollm2: Path) -> None:
    """Not by the turns' marks, which its tokenizer names; found in some hundred short passes."""
    base = GenerationStore(smollm2).path(BASE)
    frame, tokenizer = read_frame(base), load_tokenizer(base)
    assert tokenizer.eos_token == "<|im_end|>"
    assert frame is not None
    assert frame.opening is not None
    assert tokenizer.convert_ids_to_tokens(frame.opening) == "<|endoftext|>"
    assert frame.closing == frame.opening


def test_only_so_many_marks_are_asked() -> None:
    """Vocabularies hold hundreds in reserve."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<reserved_{at}>" for at in range(100)]})
    model = taught(OTHER, None, len(tokenizer))
    passes: list[int] = []
    model.register_forward_hook(lambda *_: passes.append(1))
    tokenizer.bos_token = None
    assert frame_of(model, tokenizer).opening == OTHER
    assert len(passes) <= 2 * separators.MOST_MARKS + 2


def test_no_logits_are_computed_but_those_that_are_used() -> None:
    """Of a document's end one place is asked, whatever the text before it."""
    model = taught(BEGIN, OTHER)
    places = set[int]()
    handle = model.lm_head.register_forward_hook(lambda _, read, __: places.add(read[0].shape[1]))
    assert frame_of(model, named(begin=True, chat=True)).closing == OTHER
    handle.remove()
    # What predicts a beginning, an end, or the middle of a text, and a place whose prediction nobody reads.
    assert places == {separators.BEGINNING + 1, 1 + 1, separators.MIDDLE.stop - separators.MIDDLE.start}
