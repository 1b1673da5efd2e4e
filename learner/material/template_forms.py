"""How a model's chat template wants a conversation, found by asking the template itself.

A template is a program of its author's: some take a message's content as a text, some as a list of parts, some want a
list of tools; and what they cannot use, many leave out without a word. So the conversation is rendered once with a
marker in place of each text: the form in which every marker comes out is the one to use.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jinja2 import TemplateError

from learner.errors import UnrenderableChat
from streams.chats import Message

Turn = dict[str, Any]
Render = Callable[[list[Turn], list[Any] | None], str]

DEFAULT: Final = "default"
LONGEST_REASON: Final = 300
# Longer conversations are not remembered: they differ, and take room.
LONGEST_REMEMBERED: Final = 64
# Closed at its end, so that the first is not found in the tenth; a word that no template writes by itself.
MARKER: Final = re.compile(r"xqmark\d+qx")
# A list of parts that was written out as such, by Python or as JSON.
WRITTEN_OUT: Final = re.compile(r"""['"]text['"]\s*:\s*['"](xqmark\d+qx)""")


@dataclass(frozen=True, slots=True)
class Form:
    """What a template is given.

    Attributes:
        in_parts: roles whose content is a list of parts.
        tools: whether it gets a list of tools, which is empty, instead of none.
    """

    in_parts: frozenset[str] = frozenset()
    tools: bool = False

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        """The conversation in this form."""
        return [{"role": message.role, "content": self._content(message)} for message in messages]

    def tool_list(self) -> list[Any] | None:
        """What stands for tools."""
        return [] if self.tools else None

    def _content(self, message: Message) -> Any:
        return [{"type": "text", "text": message.content}] if message.role in self.in_parts else message.content


@dataclass(frozen=True, slots=True)
class _Trial:
    """What came of a form: the roles whose markers were lost, or the template's error."""

    form: Form
    lost: frozenset[str] = frozenset()
    error: Exception | None = None


def template_of(tokenizer: Any) -> str | None:
    """The tokenizer's chat template; of several the one called default, or the only one. None: it has none.

    Raises:
        UnrenderableChat: there are several, and none is the default.
    """
    template: str | Mapping[str, str] | None = tokenizer.chat_template
    if not isinstance(template, Mapping):
        return template or None
    if DEFAULT in template or len(template) == 1:
        return template.get(DEFAULT) or next(iter(template.values()))
    if not template:
        return None
    names = ", ".join(sorted(template))
    raise UnrenderableChat(
        f"the model has chat templates called {names}, and none called {DEFAULT}, which chats are written by"
    )


def form_for(tokenizer: Any, template: str, roles: Sequence[str], *, opens_answer: bool = True) -> Form:
    """The form in which a template renders every message of a conversation.

    Args:
        tokenizer: whose template it is.
        template: its text.
        roles: of the messages, in order.
        opens_answer: whether an answer is to follow.

    Raises:
        UnrenderableChat: there is no such form: the template refuses these roles, leaves messages of one out, or fails.
    """
    # A template may write the tokenizer's own tokens, so that one text makes two templates of two tokenizers.
    tokens = tuple(sorted((name, str(token)) for name, token in tokenizer.special_tokens_map.items()))
    find = _form if len(roles) <= LONGEST_REMEMBERED else _form.__wrapped__
    form_or_reason = find(_Template(tokenizer, template, tokens, opens_answer), tuple(roles))
    if isinstance(form_or_reason, Form):
        return form_or_reason
    raise UnrenderableChat(form_or_reason)


def render_failure(error: Exception) -> UnrenderableChat:
    """What is told when a template fails on what was really said."""
    return UnrenderableChat(_describe(error))


@dataclass(frozen=True, slots=True)
class _Template:
    """A template with what else decides what comes of it: equal ones render alike, whichever tokenizer they have."""

    tokenizer: Any
    text: str
    tokens: tuple[tuple[str, str], ...]
    opens_answer: bool

    # Not by the tokenizer: each generation loads its own, and would try every form again.
    def __hash__(self) -> int:
        return hash((self.text, self.tokens, self.opens_answer))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Template):
            return False
        return (self.text, self.tokens, self.opens_answer) == (other.text, other.tokens, other.opens_answer)

    def render(self, turns: list[Turn], tools: list[Any] | None) -> str:
        rendered = self.tokenizer.apply_chat_template(
            turns, chat_template=self.text, tools=tools, add_generation_prompt=self.opens_answer, tokenize=False
        )
        return str(rendered)


# Trying renders up to six times, which every request would wait for.
@lru_cache(maxsize=256)
def _form(template: _Template, roles: tuple[str, ...]) -> Form | str:
    """The form to use, or why there is none."""
    trials: list[_Trial] = []
    for form in _candidates(roles, trials):
        trial = _try(template, form, roles)
        if not (trial.lost or trial.error):
            return form
        trials.append(trial)
    return _why(trials)


def _candidates(roles: Sequence[str], trials: Sequence[_Trial]) -> Iterable[Form]:
    """Forms to try, the usual first; the later ones follow from what came of the earlier."""
    everyone = frozenset(roles)
    for tools in (False, True):
        before = len(trials)
        yield Form(frozenset(), tools)
        yield Form(everyone, tools)
        # Both have failed by now: the caller notes each trial before it asks for the next form.
        texts, parts = trials[before : before + 2]
        if texts.error is None:
            yield Form(texts.lost, tools)
        elif parts.error is None:
            yield Form(everyone - parts.lost, tools)


def _try(template: _Template, form: Form, roles: Sequence[str]) -> _Trial:
    messages = [Message(role, f"xqmark{number}qx") for number, role in enumerate(roles)]
    try:
        # Some templates write what they are given in capitals.
        rendered = template.render(form.turns(messages), form.tool_list()).casefold()
    except Exception as error:  # noqa: BLE001 - a program of its author's may raise anything
        return _Trial(form, error=error)
    # A list printed as a list holds its marker, but no model was trained to read that.
    shown = set(MARKER.findall(rendered)) - set(WRITTEN_OUT.findall(rendered))
    return _Trial(form, lost=frozenset(message.role for message in messages if message.content not in shown))


def _why(trials: Sequence[_Trial]) -> str:
    """The reason that helps most: what the template's author says, else what is left out, else what fails."""
    errors = [trial.error for trial in trials if trial.error is not None]
    # By the very class: its heirs are syntax errors and the like, which the author did not mean.
    refusals = [error for error in errors if type(error) is TemplateError]
    lost = [trial.lost for trial in trials if trial.error is None]
    if refusals:
        return _describe(refusals[0])
    if lost:
        fewest = min(lost, key=len)
        roles = ", ".join(sorted(fewest))
        return (
            f"the model's chat template leaves out what the role {roles} says: give it to another role, or leave it out"
        )
    return _describe(errors[0])


def _describe(error: Exception) -> str:
    reason = str(error).strip()[:LONGEST_REASON] or "it says nothing more"
    # What `raise_exception` in a template raises is of this very class.
    if type(error) is TemplateError:
        return f"the model's chat template refuses them: {reason}"
    return f"the model's chat template fails on them: {type(error).__name__}: {reason}"
