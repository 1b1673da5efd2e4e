"""What a round found about skills: who answers how much rightly, and what a candidate broke."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.control.answers.rounds import RoundAnswer
from daemon.control.printable import inline


def print_skills(facts: RoundAnswer) -> None:
    """The share of right answers of each model, and some of what the judged candidate broke; nothing without skills."""
    skills = facts.get("report", {}).get("skills", {})
    if skills:
        models = list(next(iter(skills.values()))["right"])
        rows = table("skill", "prompts", *map(_model_words, models), fixed=("prompts",))
        for name, figures in skills.items():
            shares = (f"{figures['right'][model]:.1%}" for model in models)
            rows.add_row(escape(name), f"{figures['prompts']:,}", *shares)
        console.print(rows)
    for line in _broken(facts["verdict"].get("broken", {})):
        console.print(Text(line))


def _model_words(model: str) -> str:
    return model if model in {"base", "parent"} else f"candidate {model}"


def _broken(by_skill: Mapping[str, Any]) -> Iterator[str]:
    for name, examples in by_skill.items():
        for each in examples:
            yield (
                f"Broken in {inline(name)}, line {each['line']}: {inline(each['prompt'])}, expected "
                f"{inline(each['expected'])}, answered {inline(each['answered'])}."
            )
