"""Code that comes with a model is never run; a model that can do without is taken."""

import json
import shutil
from pathlib import Path

import pytest

from checkpoints.base.prepare import import_base
from checkpoints.errors import UnsafeModel, UnusableModel
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_model, load_tokenizer
from tests.models import make_classifier


@pytest.fixture
def armed(causal: Path, tmp_path: Path) -> Path:
    """A Llama whose every configuration names a file of code, which leaves a trace when it runs."""
    model = Path(shutil.copytree(causal, tmp_path / "armed"))
    arm(model)
    return model


def arm(model: Path) -> None:
    """Name code for everything that transformers would run code for."""
    code = f"open({str(model.parent / 'ran')!r}, 'w')\n"
    for name in ("evil.py", "custom_generate/generate.py", "pipe.py"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text(code)
    classes = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification")
    edit(
        model / "config.json",
        auto_map=dict.fromkeys(classes, "evil.Thing"),
        custom_pipelines={"x": {"impl": "p.P"}},
    )
    edit(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Thing", "evil.Thing"]})
    if (model / "generation_config.json").exists():
        edit(model / "generation_config.json", custom_generate="custom_generate")


def edit(path: Path, **values: object) -> None:
    """Set values in a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def ran(model: Path) -> bool:
    """Whether the code has left its trace."""
    return (model.parent / "ran").exists()


def test_a_known_model_is_taken_without_its_code(store: GenerationStore, armed: Path) -> None:
    """Transformers' own class has its weights; what is kept names no code, so that nobody runs it later."""
    published = import_base(store, armed)
    assert type(load_model(published.path, "causal-lm")).__module__.startswith("transformers.models.llama")
    load_tokenizer(published.path)
    kept = "".join(path.read_text() for path in published.path.glob("*config.json"))
    assert "auto_map" not in kept
    assert "custom_" not in kept
    assert not list(published.path.rglob("*.py"))
    assert not ran(armed)


def test_a_known_classifier_is_taken_without_its_code(store: GenerationStore, tmp_path: Path) -> None:
    """The same of its head."""
    model = make_classifier(tmp_path / "model")
    arm(model)
    load_model(import_base(store, model, kind="classifier").path, "classifier")
    assert not ran(model)


def test_a_class_of_another_spelling_is_the_known_one(store: GenerationStore, armed: Path) -> None:
    """The first MPT models name MPTForCausalLM, transformers MptForCausalLM."""
    edit(armed / "config.json", architectures=["LLAMAForCausalLM"])
    import_base(store, armed)
    assert not ran(armed)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "riverlm"}, "no architecture `riverlm`"),
        ({"architectures": ["RiverForCausalLM"]}, "weights are of RiverForCausalLM"),
    ],
)
def test_a_model_that_needs_its_code_is_refused(
    store: GenerationStore, armed: Path, changes: dict[str, object], why: str
) -> None:
    """With the true reason: transformers has nothing that could stand in."""
    edit(armed / "config.json", **changes)
    with pytest.raises(UnsafeModel, match="never run") as caught:
        import_base(store, armed)
    assert why in str(caught.value)
    assert not ran(armed)


@pytest.mark.parametrize("wrong", [5, True, "LlamaForCausalLM", {"a": "b"}, [["LlamaForCausalLM"]], [None]])
def test_classes_that_are_no_names_are_no_matter_of_code(store: GenerationStore, armed: Path, wrong: object) -> None:
    """A text is not one class per letter, which transformers has not."""
    edit(armed / "config.json", architectures=wrong)
    with pytest.raises(UnusableModel, match=r"config.json: architectures is .* list of texts"):
        import_base(store, armed)


@pytest.mark.parametrize("wrong", [[], {}, 5, True, ["llama"]])
def test_a_type_that_is_no_name_is_no_matter_of_code(store: GenerationStore, armed: Path, wrong: object) -> None:
    """Nor can it be looked up."""
    edit(armed / "config.json", model_type=wrong)
    with pytest.raises(UnusableModel, match=r"config.json: model_type is .* a text"):
        import_base(store, armed)


def test_a_tokenizer_that_needs_its_code_is_refused(store: GenerationStore, armed: Path) -> None:
    """It is not saved whole, and its class is not transformers' own."""
    (armed / "tokenizer.json").unlink()
    edit(armed / "tokenizer_config.json", tokenizer_class="RiverTokenizer")
    with pytest.raises(UnsafeModel, match="RiverTokenizer"):
        import_base(store, armed)
    assert not ran(armed)
