"""How probable an engine holds the tokens of a prompt to be."""

from contextlib import aclosing

import httpx

from serving.engine.completion import Completion, Finished
from serving.engine.running import RunningEngine
from serving.engine.scores import TokenScore
from serving.errors import NotGivenByEngine
from serving.processes.asking import answer, prompt_body_of
from serving.processes.engine_scores import read_scores


async def prompt_scores(client: httpx.AsyncClient, job: Completion, engine: RunningEngine) -> list[TokenScore]:
    """The scores of a job's prompt, asked for with `echo` and no answer, as OpenAI's API has it.

    Raises:
        NotGivenByEngine: it gives none, or not of each token.
        RequestError: it refuses, or fails.
        EngineLost: it is gone, or breaks off.
    """
    scores: list[TokenScore] = []
    async with aclosing(answer(client, prompt_body_of(job, engine), job.trace)) as pieces:
        async for piece in pieces:
            engine.heard()
            if not isinstance(piece, Finished):
                scores += read_scores(piece.logprobs, job.generation.names, job.scored or 0) or ()
    if len(scores) < len(job.prompt):
        raise NotGivenByEngine("echo", "log-probabilities of a prompt's own tokens")
    return scores[: len(job.prompt)]
