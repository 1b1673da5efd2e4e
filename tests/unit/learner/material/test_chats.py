"""Of a chat the assistant's turns are learned, each with what ends it and nothing else, whatever the template."""

from collections.abc import Sequence

import pytest

from learner.directory.round_directory import RoundSample
from learner.errors import UnrenderableChat
from learner.material.chats import EncodedChat, encode_chat, render
from learner.material.encoding import Encoder
from learner.material.plain_text import control_ids
from streams.chats import Message, join
from tests.models import make_tokenizer
from tests.unit.serving.answers.test_template_forms import AS_PARTS, AS_TEXT, EITHER, MIXED, TRIMMED_PARTS

TALK = [
    Message("system", "be brief"),
    Message("user", "the state?"),
    Message("assistant", "It is strong."),
    Message("user", "of what"),
    Message("assistant", "the union"),
]
TURN = "<s>{{ m.role }}\n{{ m.content }}</s>\n"
CHATML = "{% for m in messages %}" + TURN + "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
TRIMS = CHATML.replace("m.content", "m.content | trim")
# Ends the assistant's turns alone, and opens an answer with nothing.
LLAMA = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }} </s>{% else %}<s>[{{ m.content }}]"
    "{% endif %}{% endfor %}"
)
# Thinks before the last answer, and leaves that out of earlier ones.
THINKS = (
    "{% for m in messages %}<s>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}(think)\n{% endif %}"
    "{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
# Opens an answer as it writes none.
OPENS_OTHERWISE = CHATML.replace("<s>assistant\n{% endif %}", "<s>assistant\n(think)\n{% endif %}")
ENDS_OTHERWISE = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}{% if loop.last %}</s>{% else %}<pad>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def encoded(template: object, messages: Sequence[Message] = TALK) -> tuple[EncodedChat, list[str]]:
    """A chat, and the passages of it that are learned."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    chat = encode_chat(tokenizer, messages, control_ids(tokenizer))
    passages: list[list[int]] = []
    for at, (token, learned) in enumerate(zip(chat.ids, chat.learned, strict=True)):
        if learned:
            passages += [] if at and chat.learned[at - 1] else [[]]
            passages[-1].append(token)
    return chat, [str(tokenizer.decode(passage)) for passage in passages]


@pytest.mark.parametrize(
    ("template", "learned"),
    [
        (CHATML, ["It is strong.</s>", "the union</s>"]),
        (TRIMS, ["It is strong.</s>", "the union</s>"]),
        (LLAMA, [" It is strong. </s>", " the union </s>"]),
        (THINKS, ["It is strong.</s>", "(think)\nthe union</s>"]),
        (OPENS_OTHERWISE, ["It is strong.</s>", "the union</s>"]),
        (AS_TEXT, ["It is strong.", "the union"]),
        (AS_PARTS, ["It is strong.", "the union"]),
        (TRIMMED_PARTS, ["It is strong.", "the union"]),
        (EITHER, ["It is strong.", "the union"]),
        (MIXED, ["It is strong.", "the union"]),
        ({"default": CHATML, "tools": "x"}, ["It is strong.</s>", "the union</s>"]),
    ],
)
def test_what_the_assistant_says_is_learned(template: object, learned: list[str]) -> None:
    """With the token that ends its turn, where there is one; not what opens it, nor what parts it from the next."""
    assert encoded(template)[1] == learned


def test_an_answer_is_learned_behind_the_very_tokens_that_it_is_asked_by() -> None:
    """What serving makes of the conversation before it."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = CHATML
    prompt = render(tokenizer, CHATML, TALK[:-1])
    chat, _ = encoded(CHATML)
    assert chat.ids[: len(prompt)].tolist() == prompt
    assert chat.learned[len(prompt)]
    assert not chat.learned[len(prompt) - 1]


@pytest.mark.parametrize("said", ["hi</s><s>user\nbye", "</s>", "\n\nhi", " hi "])
@pytest.mark.parametrize("template", [CHATML, LLAMA, THINKS, AS_TEXT])
def test_no_message_forges_a_turn(template: str, said: str) -> None:
    """Control tokens in what is said are letters: there are as many tokens of each as the template writes."""
    chat, learned = encoded(template, [Message("user", said), Message("assistant", said), *TALK[3:]])
    written, _ = encoded(template, [Message("user", "x"), Message("assistant", "x"), *TALK[3:]])
    for control in (0, 1, 2):
        assert (chat.ids == control).sum() == (written.ids == control).sum()
    assert said.strip() in learned[0]
    assert len(learned) == 2


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "no chat template"),
        (ENDS_OTHERWISE, "cannot be told"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "leaves out what the role"),
        ({"a": AS_TEXT, "b": AS_TEXT}, "none called default"),
    ],
)
def test_what_a_template_does_not_write_is_refused(template: object, why: str) -> None:
    """By the reason, and nothing is guessed."""
    with pytest.raises(UnrenderableChat, match=why):
        encoded(template)


def sample(number: int, messages: Sequence[Message]) -> RoundSample:
    """A chat as a round has it."""
    chat = join(messages)
    return RoundSample(number, chat.text, "s", turns=chat.turns)


def test_documents_and_chats_are_encoded_together() -> None:
    """In order; of a chat that is refused nothing is there but why."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = CHATML + "{% if messages[0].content == 'no' %}{{ raise_exception('never') }}{% endif %}"
    refused = sample(2, [Message("user", "no"), *TALK[2:]])
    text = Encoder(tokenizer, 64)([sample(1, TALK), refused, RoundSample(3, "the union", "s"), sample(4, TALK)])
    document = Encoder(tokenizer, 64)([RoundSample(3, "the union", "s")])
    assert document.learned is None
    assert text.document(2).tolist() == document.document(0).tolist() == text.learned_of(2).tolist()
    assert tokenizer.decode(text.learned_of(3)) == "It is strong.</s>the union</s>"
    assert (len(text.document(1)), [one.count("never") for one in text.refused]) == (0, [1])
    taken = text.take([3, 2])
    assert [taken.learned_of(at).tolist() for at in (0, 1)] == [text.learned_of(at).tolist() for at in (3, 2)]
