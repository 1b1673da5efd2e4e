"""What becomes of each parameter: honoured (the fields of the requests), refused by name, or passed over.

A parameter that would change the answer is never passed over. `docs/openai-api.md` has the whole table.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from serving.errors import RequestError

# A name is the client's own text, of any length.
LONGEST_ECHO: Final = 100

# What would change the answer and is not supported, and the values of it that ask for nothing; null never does.
REFUSED: Final[Mapping[str, tuple[Any, ...]]] = {
    "best_of": (1,),
    "prompt_logprobs": (),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"], []),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "documents": ([],),
    "min_tokens": (0,),
    "length_penalty": (1,),
    "typical_p": (1,),
    "no_repeat_ngram_size": (0,),
    "use_beam_search": (False,),
    "early_stopping": (False,),
    "bad_words": ([],),
    "allowed_token_ids": (),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "truncate_prompt_tokens": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
}

# What says who asks, or how the provider runs and keeps it: the answer is the same without it.
PASSED_OVER: Final = frozenset(
    {
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "request_id",
        "priority",
    }
)

# What is never called asks for nothing.
CHOICE_OF: Final[Mapping[str, str]] = {"tools": "tool_choice", "functions": "function_call"}


def refuse_unsupported(values: Mapping[str, Any], honoured: Collection[str]) -> None:
    """Refuse the first parameter that asks for what is not done here.

    Args:
        values: a request's body.
        honoured: the names of the parameters that its route honours.

    Raises:
        RequestError: with the parameter's name.
    """
    for name, value in values.items():
        if name in honoured or name in PASSED_OVER or value is None or _asks_for_nothing(name, value, values):
            continue
        shown = name[:LONGEST_ECHO]
        if name in REFUSED:
            raise RequestError(
                f"{shown} is not supported here; leave it out", code="unsupported_parameter", param=shown
            )
        raise RequestError(
            f"{shown} is not a parameter of this route; leave it out", code="unknown_parameter", param=shown
        )


def _asks_for_nothing(name: str, value: object, values: Mapping[str, Any]) -> bool:
    if name in CHOICE_OF and values.get(CHOICE_OF[name]) == "none":
        return True
    # 0 == False in Python, but logprobs=0 asks for something and logprobs=false for nothing.
    return any(value == neutral and _is_bool(value) == _is_bool(neutral) for neutral in REFUSED.get(name, ()))


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)
