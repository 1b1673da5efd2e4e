"""A chat as it is asked of a model: its tokens, what ends the answer, what the answer is held to, and its shape."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from serving.answers.openai import ChatRequest, ChatShape, wanted_format
from serving.answers.prompts import chat_prompt
from serving.answers.tool_calls import CLOSING, OPENING, CallReader
from serving.answers.tool_chats import asks_for_tools, tool_chat_prompt
from serving.answers.tool_shape import ToolChatShape
from serving.answers.tools import call_schema
from serving.engine.grammar_state import WantedFormat
from serving.engine.loaded import LoadedGeneration


@dataclass(frozen=True, slots=True)
class ReadChat:
    """A chat that is to be answered.

    Attributes:
        prompt: token ids.
        stops: texts that end the answer beside those asked for.
        wanted: what the answer is held to; None: nothing.
        reader: makes what takes calls of tools out of an answer; None: there are no tools.
    """

    prompt: list[int]
    stops: tuple[str, ...]
    wanted: WantedFormat | None
    reader: Callable[[], CallReader] | None = None

    def shape(self, generation: LoadedGeneration, model: str, created: int, unique: str) -> ChatShape:
        """What its answer looks like; see `ChatShape`."""
        if self.reader is None:
            return ChatShape(generation, model, created, unique)
        return ToolChatShape(generation, model, created, unique, self.reader)


def read_chat(generation: LoadedGeneration, body: ChatRequest) -> ReadChat:
    """A request's chat, for the generation that will answer.

    Raises:
        RequestError: the model's chat template does not write it, or its tools cannot be called as asked.
    """
    tools, wanted = body.offered, wanted_format(body)
    if not asks_for_tools(body.messages, tools):
        prompt, stops = chat_prompt(generation, body.messages)
        return ReadChat(prompt, stops, wanted)
    prompt = tool_chat_prompt(generation, body.messages, tools)
    names = frozenset(tool.name for tool in tools)
    if body.forced is not None:
        # The call is begun for the model, and what follows held to the tools' parameters.
        begun = generation.tokenizer(f"{OPENING}\n", add_special_tokens=False, verbose=False)["input_ids"]
        reader = partial(CallReader, names, begins_within=True)
        return ReadChat([*prompt, *begun], (), WantedFormat(call_schema(tools, body.forced), "tool_choice"), reader)
    one = body.parallel_tool_calls is False
    return ReadChat(prompt, (CLOSING,) if one and tools else (), wanted, partial(CallReader, names))
