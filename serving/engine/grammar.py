"""Answers that keep to a JSON schema: which tokens may come next, by xgrammar, an extra of the installation."""

import re
import threading
import warnings
from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from serving.engine.grammar_state import Grammar, GrammarState, WantedFormat
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError

CACHE_BYTES: Final = 64 * 1024 * 1024
"""Of compiled schemas, for each vocabulary."""
MOST_BLANKS: Final = 16
"""In a row, between an answer's parts: a weak model would write nothing else."""
# Where in the compiler's source an error comes from.
SOURCE: Final = re.compile(r"^\[[^\]]*\] \S+: ")


class GrammarCompiler:
    """Makes grammars of schemas; compiled ones are kept, as many as fit into some memory. From any thread."""

    def __init__(self) -> None:
        # By the tokenizer: generations that share one share what was compiled for it.
        self._of: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def compile(self, generation: LoadedGeneration, wanted: WantedFormat) -> Grammar:
        """The grammar of a schema, for a generation's vocabulary. Takes up to seconds.

        Raises:
            RequestError: the schema cannot be held, or not by this vocabulary.
            ImportError: xgrammar is not installed.
        """
        import xgrammar  # noqa: PLC0415 - an extra, which takes seconds to import

        with self._lock:
            compiler = self._of.get(generation.tokenizer)
            if compiler is None:
                compiler = self._of[generation.tokenizer] = _compiler(xgrammar, generation, wanted.param)
        try:
            compiled = compiler.compile_json_schema(wanted.schema, strict_mode=False, max_whitespace_cnt=MOST_BLANKS)
        except RuntimeError as error:
            why = SOURCE.sub("", str(error)).strip()
            raise RequestError(f"{wanted.param}: the schema cannot be held: {why}", param=wanted.param) from None
        return _XGrammar(xgrammar, compiled, frozenset(generation.stop_ids), wanted.param)


def _compiler(xgrammar: Any, generation: LoadedGeneration, param: str) -> Any:
    try:
        with warnings.catch_warnings():
            # Of a model without ends it warns, and finds some by their names.
            warnings.simplefilter("ignore")
            vocabulary = xgrammar.TokenizerInfo.from_huggingface(
                generation.tokenizer,
                vocab_size=generation.tokens,
                stop_token_ids=sorted(generation.stop_ids) or None,
            )
    except (ValueError, RuntimeError, AttributeError, TypeError) as error:
        why = f"{param}: this model's tokenizer cannot be held to a schema ({type(error).__name__})"
        raise RequestError(why, param=param) from error
    return xgrammar.GrammarCompiler(vocabulary, max_threads=1, cache_limit_bytes=CACHE_BYTES)


class _XGrammar:
    def __init__(self, xgrammar: Any, compiled: Any, stops: Iterable[int], param: str) -> None:
        self._xgrammar = xgrammar
        self._compiled = compiled
        self._has_stops = bool(stops)
        self._param = param

    def begin(self) -> GrammarState:
        return _XGrammarState(self._xgrammar, self._compiled, self._param, has_stops=self._has_stops)


class _XGrammarState:
    def __init__(self, xgrammar: Any, compiled: Any, param: str, *, has_stops: bool) -> None:
        self._param = param
        self._apply = xgrammar.apply_token_bitmask_inplace
        self._matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=not has_stops)
        self._tokens: int = compiled.tokenizer_info.vocab_size
        self._bits: Tensor = xgrammar.allocate_token_bitmask(1, self._tokens)

    @property
    def ended(self) -> bool:
        return bool(self._matcher.is_terminated())

    def mask(self, scores: Tensor) -> Tensor:
        if self._matcher.fill_next_token_bitmask(self._bits):
            known = min(self._tokens, len(scores))
            self._apply(scores[None, :known], self._bits, vocab_size=known)
        # A model may have places for more tokens than its vocabulary names.
        scores[self._tokens :] = -torch.inf
        if not bool(torch.isfinite(scores).any()):
            raise self._stuck()
        return scores

    def accept(self, token: int) -> None:
        if not self._matcher.accept_token(token):
            raise self._stuck()

    def _stuck(self) -> RequestError:
        return RequestError(
            f"{self._param}: the model has no token that goes on by the schema; write the schema otherwise",
            code="format_not_writable",
            param=self._param,
        )
