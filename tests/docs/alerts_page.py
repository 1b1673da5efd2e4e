"""The index of the runbooks: every alert with its severity and with what it says, read off the rules.

python -m tests.docs.alerts_page > docs/runbooks/README.md
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parents[2] / "deploy" / "alerts.yaml"
INTRODUCTION: Final = """# Runbooks

One page for each alert in [`deploy/alerts.yaml`](../../deploy/alerts.yaml): what it means, what to look at, what to do.
`page` wakes someone, `ticket` can wait for the morning. In *italics* stands what the alert fills in.

This page is made by `python -m tests.docs.alerts_page`.
"""
GROUPS: Final = {
    "riverkeep-service": "Whether it runs",
    "riverkeep-text": "Text that arrives",
    "riverkeep-rounds": "Rounds and the gate",
    "riverkeep-knowledge": "What was learned and forgotten",
    "riverkeep-serving": "Answers",
}


def groups() -> list[dict[str, Any]]:
    """The groups of rules."""
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return found


def says(rule: dict[str, Any]) -> str:
    """What an alert says, with the names of what it fills in."""
    summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", rule["annotations"]["summary"])
    return re.sub(r"\{\{ \$value[^}]*\}\}", "*N*", summary)


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_tables()]).rstrip("\n") + "\n"


def _tables() -> Iterator[str]:
    for group in groups():
        yield from (f"## {GROUPS[group['name']]}", "", "| alert | severity | what it says |", "|---|---|---|")
        for rule in group["rules"]:
            name = rule["alert"]
            yield f"| [{name}]({name}.md) | {rule['labels']['severity']} | {says(rule)} |"
        yield ""


if __name__ == "__main__":
    print(page(), end="")
