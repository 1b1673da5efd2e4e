"""Whatever is wrong with a model's files, one sentence names the file and the true remedy; nothing is left behind."""

import json
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from checkpoints import reasons
from checkpoints.base.prepare import import_base
from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_model
from tests.models import make_classifier

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 134515008\n"
PIECES = b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02" * 5
RANKS = b"IQ== 0\nIg== 1\n"
"""What tiktoken reads, under the name that sentencepiece's files have too."""
PIP_TIKTOKEN = ("tokenizer.model", f"{sys.executable} -m pip install tiktoken")
Damage = Callable[[Path], Any]


@pytest.fixture
def copied(causal: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return Path(shutil.copytree(causal, tmp_path / "copied"))


def refusal(store: GenerationStore, model: Path) -> str:
    """What an import says of a model that it refuses: one line, that names no file of the import's own."""
    with pytest.raises(CheckpointsError) as caught:
        import_base(store, model)
    said = str(caught.value)
    assert str(model) in said
    assert "\n" not in said
    assert ".import-" not in said
    assert store.numbers() == []
    assert not list(store.root.glob(".import-*"))
    return said


def edit(file: str, **values: object) -> Damage:
    """Set values in a JSON file."""

    def damage(model: Path) -> None:
        path = model / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return damage


def config(**values: object) -> Damage:
    """Set values in config.json."""
    return edit("config.json", **values)


def write(file: str, content: str | bytes) -> Damage:
    """Give a file another content."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda model: (model / file).write_bytes(data)


def cut(file: str, share: float) -> Damage:
    """Leave the first part of a file."""
    return lambda model: (model / file).write_bytes(
        (model / file).read_bytes()[: int((model / file).stat().st_size * share)]
    )


def renamed(file: str) -> Damage:
    """Give the weights another name."""
    return lambda model: (model / "model.safetensors").rename(model / file)


def only(file: str, content: bytes) -> Damage:
    """Put a file in place of the tokenizer."""

    def damage(model: Path) -> None:
        for path in model.glob("tokenizer*"):
            path.unlink()
        (model / file).write_bytes(content)

    return damage


def shards(model: Path) -> list[Path]:
    """Save the weights in several files; returns them."""
    loaded = load_model(model, "causal-lm")
    (model / "model.safetensors").unlink()
    loaded.save_pretrained(model, max_shard_size="40KB")
    return sorted(model.glob("model-*.safetensors"))


def astray(model: Path) -> None:
    """An index that says that everything is in the first file."""
    first = shards(model)[0].name
    path = model / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {"weight_map": dict.fromkeys(index["weight_map"], first)}))


def without_index(model: Path) -> None:
    """Several files, and nothing that says what is where."""
    shards(model)
    (model / "model.safetensors.index.json").unlink()


def placed(files: object) -> Damage:
    """Several files, with an index whose map is this."""

    def damage(model: Path) -> None:
        shards(model)
        (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))

    return damage


def spans(offsets: object) -> Damage:
    """Weights whose header says that of where a tensor lies."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}).encode()
    return write("model.safetensors", len(header).to_bytes(8, "little") + header + b"\0" * 4)


def adapter(model: Path) -> None:
    """What PEFT saves."""
    (model / "config.json").unlink()
    (model / "model.safetensors").rename(model / "adapter_model.safetensors")
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')


def other_weights(model: Path) -> None:
    """Those of a BERT."""
    shutil.copy(make_classifier(model.parent / "other") / "model.safetensors", model)


def tokenizer_part(part: str, value: object) -> Damage:
    """A part of tokenizer.json of a kind that nobody knows yet."""
    return edit("tokenizer.json", **{part: value})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (write("model.safetensors", POINTER), ("model.safetensors", "git lfs pull")),
        (write("config.json", POINTER), ("config.json", "git lfs pull")),
        (write("tokenizer.json", POINTER), ("tokenizer.json", "git lfs pull")),
        (cut("model.safetensors", 0.5), ("model.safetensors", "not copied whole")),
        (cut("model.safetensors", 0.001), ("model.safetensors", "cut off")),
        (write("model.safetensors", b""), ("model.safetensors", "cut off")),
        (write("model.safetensors", "<!DOCTYPE html>" * 9), ("model.safetensors", "no safetensors file")),
        (write("model.safetensors", b"\x02\0\0\0\0\0\0\0[]"), ("model.safetensors", "no safetensors file")),
        (lambda model: shards(model)[1].unlink(), ("index.json", "model-00002-of-0000", "Copy what is missing")),
        (without_index, ("model-00001-of-", "model.safetensors.index.json", "copy that too")),
        (astray, ("model-00001-of-", "which has it not", "one source")),
        (
            lambda model: (shards(model), write("model.safetensors.index.json", "{")(model)),
            ("index.json", "weight_map"),
        ),
        (placed({}), ("index.json", "names no weights")),
        (placed([]), ("index.json", "weight_map")),
        (placed("model.safetensors"), ("index.json", "weight_map")),
        (placed({"a": 5}), ("index.json", "weight_map")),
        (placed({"a": ["model-00001-of-00002.safetensors"]}), ("index.json", "weight_map")),
        *(
            (placed({"a": file}), ("index.json", "no *.safetensors file of this directory"))
            for file in ("", ".", "..", "../copied/config.json", "../m/x.safetensors", "/x.safetensors", "config.json")
        ),
        (placed({"a": "a\0.safetensors"}), ("index.json", "no *.safetensors file")),
        (placed({"a": "\ud800.safetensors"}), ("index.json", "no *.safetensors file")),
        (placed({"a": "x" * 300 + ".safetensors"}), ("index.json", "no *.safetensors file")),
        *(
            (spans(offsets), ("model.safetensors", "no safetensors file"))
            for offsets in ([0, "x"], "ab", [0, None], [0, 4.5], [0, True], [0, [4]], {"0": 0, "1": 4}, [-4, 4], None)
        ),
        (renamed("model.fp16.safetensors"), ("model.fp16.safetensors", "rename it")),
        (other_weights, ("lacks weights",)),
        (config(hidden_size=64), ("config.json", "320×32 in the weights", "320×64")),
        (config(num_hidden_layers=3), ("model.layers.2",)),
        (config(num_hidden_layers=1), ("model.layers.1", "more layers")),
        (write("config.json", "{nope"), ("config.json", "cannot be read")),
        (write("config.json", ""), ("config.json", "cannot be read")),
        (write("config.json", "[]"), ("config.json", "not a JSON object")),
        (write("config.json", "{}"), ("config.json", "model_type")),
        (write("generation_config.json", "{"), ("generation_config.json", "cannot be read")),
        *(
            (edit("generation_config.json", **{field: value}), ("generation_config.json", "leave that field out"))
            for field, value in (("max_new_tokens", "many"), ("cache_implementation", "nope"), ("compile_config", 5))
        ),
        *(
            (edit("tokenizer_config.json", model_max_length=length), ("tokenizer_config.json", "model_max_length is"))
            for length in ("x", [5], True, float("inf"), float("nan"), {"a": 1})
        ),
        (config(vocab_size=2**31, hidden_size=2**12), ("config.json", "million parameters", "one source")),
        (config(model_type="llama9"), ("config.json", "llama9", "newer transformers")),
        (config(model_type=3), ("config.json", "model_type")),
        (config(model_type="t5"), ("t5", "no causal language model")),
        (config(architectures="LlamaForCausalLM"), ("config.json", "architectures is 'LlamaForCausalLM'", "list")),
        (config(num_labels=[2]), ("config.json", "num_labels is [2]", "whole number")),
        (config(id2label=["calm"]), ("config.json", "id2label is ['calm']", "by number")),
        (config(text_config="x"), ("config.json", "text_config is 'x'")),
        (config(hidden_act="zzz"), ("config.json", "hidden_act is 'zzz'")),
        (config(num_attention_heads="many"), ("config.json", "num_attention_heads")),
        (config(num_attention_heads=0), ("config.json",)),
        (config(num_attention_heads=5), ("config.json", "not a multiple")),
        (config(vocab_size=0), ("copied",)),
        (config(dtype="float99"), ("config.json", "float99")),
        (config(quantization_config={"quant_method": "gptq", "bits": 4}), ("gptq", "quantized weights", ".gguf")),
        (config(quantization_config={"quant_method": "new"}), ("new", "quantized weights")),
        (adapter, ("adapter", "merge_and_unload")),
        (lambda model: (model / "model.safetensors").rename(model / "m.gguf"), ("m.gguf", "name that file itself")),
        (tokenizer_part("model", {"type": "Newer"}), ("tokenizer.json", "newer format")),
        (tokenizer_part("decoder", {"type": "Newer"}), ("tokenizer.json", "newer format")),
        (write("tokenizer.json", "{nope"), ("tokenizer.json", "cannot be read")),
        (write("tokenizer.json", "[]"), ("tokenizer.json", "not a JSON object")),
        (write("tokenizer_config.json", ""), ("tokenizer_config.json", "cannot be read")),
        (edit("tokenizer_config.json", tokenizer_class="T5Tokenizer"), ("tokenizer_config.json", "T5Tokenizer")),
        (
            only("tokenizer.model", PIECES),
            ("tokenizer.model", f"{sys.executable} -m pip install sentencepiece"),
        ),
        (only("spiece.model", PIECES), ("spiece.model", "pip install sentencepiece")),
        (only("tokenizer.model", RANKS), ("do not belong together",) if find_spec("tiktoken") else PIP_TIKTOKEN),
        (only("tekken.json", b'{"config": {}, "vocab": []}'), ("tekken.json", "tokenizer.json")),
        (lambda model: (model / "tokenizer.json").unlink(), ("no tokenizer", "tokenizer.json")),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    store: GenerationStore, copied: Path, damage: Damage, said: tuple[str, ...]
) -> None:
    """Half a download, another model's file, a newer format, a package that is missing: never a stack of errors."""
    damage(copied)
    sentence = refusal(store, copied)
    assert [words for words in said if words not in sentence] == [], sentence


def test_a_package_that_reads_a_tokenizer_and_is_missing_is_named(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the tests have it: another one's dependency."""
    only("tokenizer.model", RANKS)(copied)
    monkeypatch.setattr(reasons, "find_spec", lambda _: None)
    sentence = reasons.explain_tokenizer(copied, ValueError("no such tokenizer"))
    assert [words for words in PIP_TIKTOKEN if words not in sentence] == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.gguf", POINTER.encode(), "git lfs pull"),
        ("model.gguf", b"", "source again"),
        ("MODEL.GGUF", b"", "cannot be converted"),
        ("model.gguf", b"\xff" * 99, "not a GGUF file"),
        ("model.gguf", b"GGUF\x03" + b"\0" * 19, "source again"),
        ("model-00001-of-00003.gguf", b"GGUF", "--merge"),
    ],
)
def test_a_gguf_file_that_is_none_is_named(
    store: GenerationStore, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    """With what to do about it."""
    (tmp_path / name).write_bytes(content)
    assert said in refusal(store, tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_in_another_encoding_is_read(store: GenerationStore, copied: Path, encoding: str) -> None:
    """An editor's byte order mark is no fault of a model's; what is kept is plain."""
    path = copied / "config.json"
    path.write_bytes(path.read_text().encode(encoding))
    published = import_base(store, copied)
    assert json.loads((published.path / "config.json").read_bytes().decode("utf-8"))["model_type"] == "llama"
    load_model(published.path, "causal-lm")


def test_weights_in_several_files_are_taken(store: GenerationStore, copied: Path) -> None:
    """As they are."""
    files = shards(copied)
    assert len(files) > 2
    load_model(import_base(store, copied).path, "causal-lm")


def test_a_single_file_beside_whole_parts_is_looked_at_too(store: GenerationStore, copied: Path) -> None:
    """It is what transformers loads, though the parts that the index names are whole."""
    single = (copied / "model.safetensors").read_bytes()
    shards(copied)
    (copied / "model.safetensors").write_bytes(single[: len(single) // 2])
    assert "model.safetensors" in refusal(store, copied)


def test_kernels_of_another_machine_are_not_asked_for(store: GenerationStore, copied: Path) -> None:
    """How attention was computed where a model was made changes none of its answers."""
    config(attn_implementation="flash_attention_2")(copied)
    load_model(import_base(store, copied).path, "causal-lm")
