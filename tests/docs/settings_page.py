"""The page of all settings, read off the tree that the program itself reads them into.

python -m tests.docs.settings_page > docs/settings.md
"""

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

from daemon.settings.fields import EACH, Setting, accepts, nested_model, walk
from daemon.settings.load import RELOADABLE
from daemon.settings.reference import EXAMPLES, default_text
from daemon.settings.sources import PREFIX
from daemon.settings.tree import Settings

INTRODUCTION: Final = """# Settings

Every setting with its default, by the tables of the settings file (TOML). Only `model.path` must be set, and
`[[streams.topics]]` for something to be read. `riverkeep init` writes a short file, `riverkeep init
--reference` one with every setting as it is here; `riverkeep check` lists every mistake, and `riverkeep config
show` what is in force and where it came from.

Each can also come from the environment, which wins over the file, by the variable beside it; lists as JSON. An
empty variable counts as not set. `"none"` unsets what can be unset. Paths are relative to the file. Secrets are
in files of their own, which keys that end in `_file` name.

This page is made by `python -m tests.docs.settings_page`.
"""
HEAD: Final = "| setting | default | environment | what it is |\n|---|---|---|---|"


def variable(path: tuple[str, ...]) -> str:
    """The variable of a setting; of one in a list of tables that of the list, which has it as JSON."""
    whole = path[: path.index(EACH)] if EACH in path else path
    return PREFIX + "__".join(whole).upper()


def page() -> str:
    """The whole page."""
    return "\n".join((INTRODUCTION, *_tables(Settings, ())))


def _tables(model: type[BaseModel], path: tuple[str, ...], about: str = "") -> Iterator[str]:
    """A section for each table, that of the keys outside of tables first."""
    own = [each for each in walk(model) if len(each.path) == 1]
    if own:
        rows = [_row(Setting((*path, *each.path), each.info)) for each in own]
        yield "\n".join((_title(path), "", _about(path, about), HEAD, *rows)) + "\n"
    for name, info in model.model_fields.items():
        inner, many = nested_model(info.annotation)
        if inner is not None:
            told = (info.description or inner.__doc__ or "").split("\n\n")[0]
            yield from _tables(inner, (*path, name, EACH) if many else (*path, name), " ".join(told.split()))


def _title(path: tuple[str, ...]) -> str:
    if not path:
        return "## Outside of tables"
    names = ".".join(name for name in path if name != EACH)
    return f"## `[[{names}]]`" if path[-1] == EACH else f"## `[{names}]`"


def _about(path: tuple[str, ...], about: str) -> str:
    taken = "by a reload (SIGHUP)" if path and path[0] in RELOADABLE else "by a restart"
    return f"{about} A change is taken over {taken}.".strip() + "\n"


def _row(setting: Setting) -> str:
    names = tuple(name for name in setting.path if name != EACH)
    takes = f"{setting.info.description or ''} ({accepts(setting.info)})"
    default = "must be set" if names in EXAMPLES else f"`{default_text(names, setting.info)}`"
    kept = f"`{variable(setting.path)}`" + (", as JSON" if EACH in setting.path else "")
    return " | ".join((f"| `{names[-1]}`", default.replace("|", "\\|"), kept, takes.replace("|", "\\|") + " |"))


if __name__ == "__main__":
    print(page(), end="")
