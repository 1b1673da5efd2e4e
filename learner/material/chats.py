"""Chats as tokens, by the model's own template: for answers as for training, so that what is learned is what is asked.

Where an assistant's turn begins and ends among the tokens, the template is asked: rendered up to that turn, as it is
when the turn is to be answered, the conversation is a beginning of the whole. Where a template writes earlier turns in
another way than the last (leaves their reasoning out, say), the token that ends a turn is looked for instead. What is
found is held against what it must be, and a chat for which that cannot be is no material.

The words of control tokens in a message are plain text: only the template opens and closes turns.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.errors import UnrenderableChat
from learner.material.template_forms import Form, form_for, render_failure, template_of
from streams.chats import ASSISTANT, Message

Bools = npt.NDArray[np.bool_]

# Two turns that begin with no letter in common: what is alike before them the template writes.
OPEN = "where the assistant's turns begin and end in what the model's chat template writes cannot be told"
PROBES = ("Yes, that is so.", "0: it is not.")


@dataclass(frozen=True, slots=True)
class EncodedChat:
    """A chat as tokens.

    Attributes:
        ids: of the whole; shape (tokens,).
        learned: which of them the assistant says, what ends its turns among them; shape (tokens,).
    """

    ids: npt.NDArray[np.int32]
    learned: Bools


def system_role(message: Message) -> Message:
    """A message with the role that templates know: `developer` is OpenAI's newer name for the system's."""
    return replace(message, role="system") if message.role == "developer" else message


def render(
    tokenizer: Any, template: str, messages: Sequence[Message], *, form: Form | None = None, opens_answer: bool = True
) -> list[int]:
    """The token ids of a conversation, as a template writes it.

    Args:
        tokenizer: whose template it is.
        template: its text.
        messages: with roles that it knows.
        form: in which it takes them; None: the one that shows them all is looked for.
        opens_answer: whether an answer is to follow.

    Raises:
        UnrenderableChat: the template refuses the conversation (roles that do not alternate, say), leaves a message
            out or fails, or a message holds what the tokenizer takes for a control token however it is read.
    """
    form = form or form_for(tokenizer, template, [message.role for message in messages], opens_answer=opens_answer)
    try:
        ids: Any = tokenizer.apply_chat_template(
            form.turns(messages),
            tools=form.tool_list(),
            chat_template=template,
            add_generation_prompt=opens_answer,
            # Else a message could close its own turn and speak as the system.
            sanitize_control_tokens=True,
            return_dict=False,
            # What is too long is said to the client, not once to the log.
            tokenizer_kwargs={"verbose": False},
        )
    except Exception as error:  # noqa: BLE001 - a template is a program of its author's, and may raise anything
        raise render_failure(error) from None
    return list(ids)


def encode_chat(tokenizer: Any, messages: Sequence[Message], control: Collection[int]) -> EncodedChat:
    """A chat as tokens, and which of them are to be learned.

    Args:
        tokenizer: with a chat template.
        messages: one of them the assistant's at least.
        control: the tokens that no message may bring along; see `control_ids`.

    Raises:
        UnrenderableChat: the model has no template, it does not write this chat, or where the assistant's turns begin
            and end in what it writes cannot be told.
    """
    template = template_of(tokenizer)
    if template is None:
        raise UnrenderableChat("the model has no chat template")
    turns = [system_role(message) for message in messages]
    form = form_for(tokenizer, template, [message.role for message in turns], opens_answer=False)
    writer = _Writer(tokenizer, template, form, control)
    whole = writer.write(turns)
    learned = np.zeros(len(whole), dtype=np.bool_)
    end = 0
    for begin, after in writer.answers(turns, whole):
        if not end <= begin < after <= len(whole):
            raise UnrenderableChat(OPEN)
        learned[begin:after] = True
        end = after
    return EncodedChat(np.asarray(whole, dtype=np.int32), learned)


@dataclass(frozen=True, slots=True)
class _Writer:
    """A template at work on one chat."""

    tokenizer: Any
    template: str
    form: Form
    control: Collection[int]

    def write(self, turns: Sequence[Message], *, opens_answer: bool = False) -> list[int]:
        return render(self.tokenizer, self.template, turns, form=self.form, opens_answer=opens_answer)

    def answers(self, turns: Sequence[Message], whole: list[int]) -> Iterator[tuple[int, int]]:
        """Where each turn of the assistant begins among the tokens, and where it has ended."""
        for number, turn in enumerate(turns):
            if turn.role == ASSISTANT:
                begin, through = self._begin(turns[:number], whole), turns[: number + 1]
                written = whole if len(through) == len(turns) else self.write(through)
                yield begin, self._after(written, whole, begin)

    def _begin(self, before: Sequence[Message], whole: list[int]) -> int:
        """Behind what opens an answer; where the template opens answers otherwise, behind what all answers share."""
        opened = self._opened(before)
        if opened and whole[: len(opened)] == opened:
            return len(opened)
        one, other = (self.write([*before, Message(ASSISTANT, probe)]) for probe in PROBES)
        return min(_common(one, other), _common(one, whole), _common(other, whole))

    def _opened(self, before: Sequence[Message]) -> list[int]:
        try:
            return self.write(before, opens_answer=True) if before else []
        except UnrenderableChat:
            # A template may refuse to answer what no user said.
            return []

    def _after(self, written: list[int], whole: list[int], begin: int) -> int:
        """Behind the token that ends the turn, without the blanks that part it from the next.

        Args:
            written: the conversation up to the turn and with it.
            whole: all of it.
            begin: of the turn.
        """
        if whole[: len(written)] == written:
            return self._without_blanks(written, begin)
        ends = [token for token in written if token in self.control][-1:]
        if not ends or ends[0] not in whole[begin:]:
            return -1
        # No message holds a control token: the first behind the turn's beginning is the turn's own.
        return whole.index(ends[0], begin) + 1

    def _without_blanks(self, written: list[int], begin: int) -> int:
        last = max((at for at, token in enumerate(written) if token in self.control and at > begin), default=-1)
        if last < 0 or self.tokenizer.decode(written[last + 1 :]).strip():
            return len(written)
        return last + 1


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two have in common at their beginning."""
    alike = (at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    return next(alike, min(len(one), len(other)))
