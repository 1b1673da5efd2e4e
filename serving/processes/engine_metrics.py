"""What engines count of themselves, for the door's own metrics: asked within bounds, and left out where that fails."""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import httpx
import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.concurrency import run_in_threadpool

from serving.engine.running import RunningEngine
from serving.processes.launch import HOST

_log = structlog.get_logger(__name__)

WITHIN_S: Final = 1.0
"""How long one may take."""
FRESH_S: Final = 1.0
"""So long what it said is given again: who asks without end does not ask engines without end."""
SICK_FRESH_S: Final = 10.0
"""So long one that failed is not asked again."""
LOOPBACK: Final = f"http://{HOST}:"
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_SAMPLES: Final = 20_000
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
MARK: Final = "generation"
"""The label that each sample gets."""
ANSWERED: Final = "riverkeep_serving_engine_metrics_answered"


@dataclass(frozen=True, slots=True)
class _Said:
    """What an engine said.

    Attributes:
        at: when, on the monotonic clock.
        families: None: it failed to. Empty too where it has no metrics.
        has: whether it has a `/metrics`.
    """

    at: float
    families: tuple[Metric, ...] | None
    has: bool = True

    def fresh(self, now: float) -> bool:
        return now - self.at < (SICK_FRESH_S if self.families is None else FRESH_S)


class EngineMetrics:
    """Asks engines for their metrics.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: WeakKeyDictionary[RunningEngine, _Said] = WeakKeyDictionary()

    async def families(self, engines: Iterable[tuple[int, RunningEngine]]) -> list[Metric]:
        """What engines count, one family for each name, with the generation as a label; and which of them answered.

        Args:
            engines: each with its generation's number.
        """
        # Engines that others run are scraped by them.
        own = [pair for pair in engines if pair[1].url.startswith(LOOPBACK)]
        # Adapters may share an engine, whose counts are there once: under the newest of them.
        asked = list({engine.url: (number, engine) for number, engine in sorted(own, key=_number)}.values())
        if not asked:
            return []
        said = await asyncio.gather(*(self._of(engine) for _, engine in asked))
        answered = GaugeMetricFamily(
            ANSWERED,
            "1 where a generation's engine gave its metrics, 0 where it failed to; without one that has none.",
            labels=[MARK],
        )
        merged: dict[str, Metric] = {}
        for (number, _), each in zip(asked, said, strict=True):
            if each.has:
                answered.add_metric([str(number)], float(each.families is not None))
            _merge(merged, each.families or (), str(number))
        return [answered, *merged.values()]

    async def _of(self, engine: RunningEngine) -> _Said:
        said = self._said.get(engine)
        if said is None or not said.fresh(self._clock()):
            said = self._said[engine] = await self._ask(engine)
        return said

    async def _ask(self, engine: RunningEngine) -> _Said:
        try:
            async with asyncio.timeout(WITHIN_S):
                text = await metrics_text(engine)
            if text is None:
                return _Said(self._clock(), (), has=False)
            return _Said(self._clock(), await run_in_threadpool(_read, text))
        # Whatever an engine says, the door's own metrics are given.
        except Exception as error:  # noqa: BLE001
            before = self._said.get(engine)
            # Once: it is asked again and again.
            if before is None or before.families is not None:
                why = f"{type(error).__name__}: {error}"[:500]
                _log.warning("engine_metrics_missing", engine=engine.name, error=why)
            return _Said(self._clock(), None)


def _number(pair: tuple[int, RunningEngine]) -> int:
    return pair[0]


async def metrics_text(engine: RunningEngine) -> str | None:
    """What an engine's `/metrics` gives; None: it has none.

    Raises:
        httpx.HTTPError: it does not answer so.
        ValueError: it gives more than MOST_BYTES.
    """
    # Unpacked, a small answer may be any size: it is asked for as it is, and taken in as it comes.
    headers = {
        "authorization": f"Bearer {engine.key}",
        "accept": "text/plain;version=0.0.4",
        "accept-encoding": "identity",
    }
    content = bytearray()
    # It speaks plain HTTP: to read the certificates that are trusted by default would take 30 ms.
    trusts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with (
        httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, verify=trusts) as client,
        client.stream("GET", f"{engine.url}/metrics", headers=headers) as response,
    ):
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes of metrics")
    return content.decode()


def _read(text: str) -> tuple[Metric, ...]:
    """The families in a text of Prometheus' format.

    Raises:
        ValueError: it is none, or holds too many samples.
    """
    families, samples = [], 0
    for family in text_string_to_metric_families(text):
        samples += len(family.samples)
        if samples > MOST_SAMPLES:
            raise ValueError(f"more than {MOST_SAMPLES} samples")
        _require_names(family)
        families.append(family)
    names = {family.name for family in families}
    # When a series began, as a gauge of its own, which a third of all would be.
    return tuple(
        each
        for each in families
        if not (each.name.endswith("_created") and each.name.removesuffix("_created") in names)
    )


def _require_names(family: Metric) -> None:
    """Refuse names that only later versions of the formats know."""
    labels = {name for sample in family.samples for name in sample.labels}
    names = {family.name, *(sample.name for sample in family.samples)}
    wrong = [name for name in labels if not LABEL.fullmatch(name)] + [
        name for name in names if not NAME.fullmatch(name)
    ]
    if wrong:
        raise ValueError(f"no name of a metric or a label: {wrong[0][:100]}")


def _merge(merged: dict[str, Metric], families: Iterable[Metric], number: str) -> None:
    """Put one engine's families to those of the others."""
    for family in families:
        ours = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        # Two engines of one kind agree; what does not cannot stand under one name.
        if ours.type != family.type:
            continue
        marked = {(each.name, *sorted(each.labels.items())): each for each in family.samples}
        for sample in marked.values():
            ours.add_sample(sample.name, _marked(sample.labels, number), sample.value)


def _marked(labels: Mapping[str, str], number: str) -> dict[str, str]:
    # As Prometheus does with labels that a target has and its own configuration sets.
    return {(f"exported_{MARK}" if name == MARK else name): value for name, value in labels.items()} | {MARK: number}
