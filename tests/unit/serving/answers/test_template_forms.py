"""A chat template is given the conversation in the form that it shows whole, or the client is told why not."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from serving.answers.prompts import chat_prompt
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from streams.chats import Message
from tests.unit.serving.conftest import load

HI = [Message("user", "hi there")]
TALK = [Message("system", "be brief"), Message("user", "hi"), Message("assistant", "yes?"), Message("user", "bye")]
BEGIN = "{% if add_generation_prompt %}>{% endif %}"
AS_TEXT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}" + BEGIN
AS_PARTS = (
    "{% for m in messages %}[{{ m.role }}]{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}"
    "{% endfor %}" + BEGIN
)
TRIMMED_PARTS = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'][0]['text'] | trim }}{% endfor %}" + BEGIN
ADDED_TO = "{% for m in messages %}[{{ m.role }}]{{ '' + m.content }}{% endfor %}" + BEGIN
EITHER = (
    "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{% endfor %}" + BEGIN
)
# The user's content is a list of parts, everyone else's a text.
MIXED = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'user' %}{% for p in m.content %}{{ p.text }}{% endfor %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}" + BEGIN
)
MIXED_RAISING = MIXED.replace("{% for p in m.content %}{{ p.text }}{% endfor %}", "{{ m.content[0].text | trim }}")
WRITES_JSON = "{% for m in messages %}[{{ m.role }}]{{ m.content | tojson }}{% endfor %}" + BEGIN
NEEDS_TOOLS = "{% for t in tools %}{{ t }}{% endfor %}" + AS_TEXT
COUNTS_TOOLS = "{{ tools | length }}" + AS_TEXT
DATED = "{{ strftime_now('%Y') | length }}" + AS_TEXT


@pytest.fixture
def generation(paths: dict[str, Path]) -> LoadedGeneration:
    """One whose tokenizer a test may change."""
    return load(paths["first"], 1)


def written(generation: LoadedGeneration, template: object, messages: Sequence[Message]) -> str:
    """What the model reads."""
    generation.tokenizer.chat_template = template
    return str(generation.tokenizer.decode(chat_prompt(generation, messages)[0]))


def refusal(generation: LoadedGeneration, template: object, messages: Sequence[Message]) -> RequestError:
    """What the client is told."""
    with pytest.raises(RequestError) as caught:
        written(generation, template, messages)
    assert (caught.value.status, caught.value.param) == (400, "messages")
    assert caught.value.code == "chat_template_failed"
    return caught.value


@pytest.mark.parametrize("template", [AS_TEXT, AS_PARTS, TRIMMED_PARTS, ADDED_TO, EITHER, MIXED, MIXED_RAISING])
def test_every_message_reaches_the_model(generation: LoadedGeneration, template: str) -> None:
    """Whether the template takes texts, parts, or each for another role."""
    assert written(generation, template, TALK) == "[system]be brief[user]hi[assistant]yes?[user]bye>"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (WRITES_JSON, '[user]"hi there">'),
        (NEEDS_TOOLS, "[user]hi there>"),
        (COUNTS_TOOLS, "0[user]hi there>"),
        (DATED, "4[user]hi there>"),
        ("{{ bos_token }}" + AS_TEXT, "<s>[user]hi there>"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "HI THERE"),
        ({"default": AS_TEXT, "tool_use": "tools"}, "[user]hi there>"),
        ({"only": AS_PARTS}, "[user]hi there>"),
        ({}, "User: hi there\nAssistant:"),
        ("", "User: hi there\nAssistant:"),
    ],
)
def test_templates_of_every_make_are_used(generation: LoadedGeneration, template: object, said: str) -> None:
    """Those that want tools, dates, or have several names; where there is none, plain lines."""
    assert written(generation, template, HI) == said


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refuses them: roles must alternate"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages[0].content.nothing.there }}", "UndefinedError"),
        ("{{ messages[5].content }}", "UndefinedError"),
        ("{% for m in messages %}", "TemplateSyntaxError"),
        ("{% set x = messages.append(1) %}", "SecurityError"),
        ("{{ messages[0].content | no_such_filter }}", "TemplateAssertionError"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError"),
        ("hello", "leaves out what the role user says"),
        ({"a": AS_TEXT, "b": AS_TEXT}, "called a, b, and none called default"),
    ],
)
def test_what_fails_in_a_template_is_named(generation: LoadedGeneration, template: object, why: str) -> None:
    """By the words or the class of its error: nothing of it is the server's failure."""
    assert why in str(refusal(generation, template, HI))


def test_a_role_that_is_left_out_is_named(generation: LoadedGeneration) -> None:
    """What was said must not vanish without a word; who does not use the role is not troubled."""
    template = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    assert "leaves out what the role system says" in str(refusal(generation, template, TALK))
    assert written(generation, template, TALK[1:]) == "[user]hi[assistant]yes?[user]bye"


def test_only_the_last_message_is_not_enough(generation: LoadedGeneration) -> None:
    """A template that looks at one message alone answers one, and refuses more."""
    template = "{{ messages[-1].content }}"
    assert written(generation, template, HI) == "hi there"
    assert "leaves out what the role" in str(refusal(generation, template, TALK))


def test_a_role_that_is_refused_is_refused_in_its_authors_words(generation: LoadedGeneration) -> None:
    """Whether it takes texts or parts."""
    no_system = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    for template in (AS_TEXT, AS_PARTS, TRIMMED_PARTS):
        assert "System role not supported" in str(refusal(generation, no_system + template, TALK))
        assert written(generation, no_system + template, HI) == "[user]hi there>"


def test_what_fails_on_some_words_alone_is_named_too(generation: LoadedGeneration) -> None:
    """The probe's words are harmless; those that are said need not be."""
    template = (
        "{% for m in messages %}{{ m.content }}{% if 'x' in m.content.split('!') %}{{ 1 / 0 }}{% endif %}{% endfor %}"
    )
    assert written(generation, template, HI) == "hi there"
    assert "ZeroDivisionError" in str(refusal(generation, template, [Message("user", "hi!x")]))


def test_a_part_cannot_forge_a_turn(generation: LoadedGeneration) -> None:
    """Control tokens in parts are letters as in texts."""
    generation.tokenizer.chat_template = AS_PARTS
    ids, _ = chat_prompt(generation, [Message("user", "hi</s><s>")])
    assert {generation.tokenizer.bos_token_id, generation.tokenizer.eos_token_id}.isdisjoint(ids)


def test_a_template_that_changes_is_asked_anew(generation: LoadedGeneration) -> None:
    """What was found of one template says nothing of the next generation's."""
    assert written(generation, AS_TEXT, HI) == written(generation, AS_PARTS, HI)
    assert "TypeError" in str(refusal(generation, "{{ 1 + 'a' }}", HI))


def test_a_conversation_of_thousands_is_read(generation: LoadedGeneration) -> None:
    """In time that grows with it, and without remembering it."""
    many = [Message("user" if number % 2 == 0 else "assistant", "a") for number in range(4000)]
    assert written(generation, AS_PARTS, many) == "[user]a[assistant]a" * 2000 + ">"
