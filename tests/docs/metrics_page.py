"""The page of all metrics, read out of the code that defines them.

    python -m tests.docs.metrics_page > docs/metrics.md

By its syntax, not by running it: half of the metrics exist only while a service runs.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from serving.door.turned_away import Endings

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = {
    "streams": "Text that arrives",
    "memory": "What is kept",
    "gate": "Forgetting, and what was judged",
    "checkpoints": "Generations on disk",
    "daemon": "The daemon, its rounds and its parts",
    "serving": "Answers and swaps",
}
SERVED_BY: Final = {"serving": "the serving process (`serving.port`, `serving.probe_port`)"}
LISTENERS: Final = {"serving": "serving", "daemon": "admin"}
KINDS: Final = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram"}
INTRODUCTION: Final = """# Metrics

What `/metrics` shows, of the daemon (`admin.port`) and of the serving process (`serving.port`). Counters are
named as Prometheus shows them, with `_total`. What is not known yet is not shown, rather than as zero. The
alerts in [`deploy/alerts.yaml`](../deploy/alerts.yaml) and the dashboards in `deploy/grafana/dashboards` are made of
these.

This page is made by `python -m tests.docs.metrics_page`.
"""


@dataclass(frozen=True, slots=True, order=True)
class Shown:
    """A metric as a person is told of it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    what: str


def metrics_of(room: str) -> list[Shown]:
    """The metrics that a room defines, by name."""
    found = {
        shown.name: shown
        for source in sorted((ROOT / room).rglob("*.py"))
        if "riverkeep_" in (code := source.read_text(encoding="utf-8"))
        for shown in _defined(ast.parse(code))
    }
    if room in LISTENERS:
        found |= {shown.name: shown for shown in _of_listener(LISTENERS[room])}
    return [found[name] for name in sorted(found)]


def _of_listener(name: str) -> Iterator[Shown]:
    """What the door counts, under names of each listener's own."""
    registry = CollectorRegistry()
    Endings(name, registry)
    for family in registry.collect():
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels)
        ending = "_total" if family.type == "counter" else ""
        yield Shown(family.name + ending, family.type, tuple(labels), family.documentation)


def _defined(tree: ast.Module) -> Iterator[Shown]:
    values = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) > 1:
            yield from _called(node, values)
        elif isinstance(node, ast.Dict):
            # Gauges whose value may not be known stand in tables of their names.
            for key, value in zip(node.keys, node.values, strict=True):
                name = _text(key, values)
                if name.startswith("riverkeep_") and isinstance(value, ast.Tuple):
                    yield Shown(name, "gauge", (), _text(value.elts[0], values))


def _called(node: ast.Call, values: Mapping[str, ast.expr]) -> Iterator[Shown]:
    name = _text(node.args[0], values)
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if not name.startswith("riverkeep_"):
        return
    kind = next((kind for word, kind in KINDS.items() if word.lower() in function.lower()), "gauge")
    given = [word.value for word in node.keywords if word.arg in ("labels", "labelnames")] or node.args[2:3]
    names = _resolved(given[0], values) if given else None
    labels = names.elts if isinstance(names, ast.List | ast.Tuple) else []
    ending = "_total" if kind == "counter" else ""
    yield Shown(name + ending, kind, tuple(_text(label, values) for label in labels), _text(node.args[1], values))


def _resolved(node: ast.expr | None, values: Mapping[str, ast.expr]) -> ast.expr | None:
    """An expression, or what the name that it is was given."""
    return values.get(node.id) if isinstance(node, ast.Name) else node


def _text(node: ast.expr | None, values: Mapping[str, ast.expr]) -> str:
    """The text that an expression is; empty where it is none that can be read."""
    found = _resolved(node, values)
    return found.value if isinstance(found, ast.Constant) and isinstance(found.value, str) else ""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for room, title in ROOMS.items():
        shown = metrics_of(room)
        rows = [f"| `{each.name}` | {each.kind} | {_labels(each)} | {each.what} |" for each in shown]
        where = SERVED_BY.get(room, "the daemon (`admin.port`)")
        head = f"## {title}\n\nOf {where}.\n\n| metric | kind | labels | what |\n|---|---|---|---|"
        parts.append("\n".join([head, *rows]) + "\n")
    return "\n".join(parts)


def _labels(shown: Shown) -> str:
    return ", ".join(f"`{label}`" for label in shown.labels)


if __name__ == "__main__":
    print(page(), end="")
