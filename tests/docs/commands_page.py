"""The page of all commands, read off the command line itself.

python -m tests.docs.commands_page > docs/commands.md
"""

import inspect
import re
from collections.abc import Iterator
from typing import Final

import click

from daemon.cli.main import EXIT_CODES, cli

EXAMPLE: Final = re.compile(r"\n*\x08\nExample:\n((?:  .*\n?)*)")
INTRODUCTION: Final = """# Commands

Every command with its options, as `riverkeep --help` says it too. `--config` (`-c`) stands before the command
and names the settings file; otherwise `$RIVERKEEP_CONFIG`, `./riverkeep.toml` and `/etc/riverkeep/riverkeep.toml`
are looked for. What `--json` prints [has a page of its own](json.md).

This page is made by `python -m tests.docs.commands_page`.
"""


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command with the words that lead to it, in the order of the help; groups before what is in them."""
    context = click.Context(group, info_name=" ".join(path))
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    takes = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    return f"- {names}{takes}: {' '.join((option.help or '').split())}"


def section(path: tuple[str, ...], command: click.Command) -> str:
    """What the page says of a command."""
    context = click.Context(command, info_name=" ".join(("riverkeep", *path)))
    text = inspect.cleandoc(command.help or "")
    examples = [line.strip().removeprefix("$ ") for found in EXAMPLE.findall(text) for line in found.splitlines()]
    words = EXAMPLE.sub("", text).replace("\x08\n", "").strip()
    pieces = " ".join(command.collect_usage_pieces(context))
    parts = [f"## riverkeep {' '.join(path)}", words, f"Usage: `{context.info_name} {pieces}`".rstrip()]
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if options:
        parts.append("\n".join(_option(each, context) for each in options))
    if examples:
        parts.append("\n".join(("```", *examples, "```")))
    return "\n\n".join(parts)


def exit_codes() -> str:
    """The exit statuses, as the help lists them."""
    lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in EXIT_CODES.splitlines()[2:]]
    return "\n".join(("## Exit status", "", "| status | what |", "|---|---|", *(f"| {a} | {b} |" for a, b in lines)))


def page() -> str:
    """All of it."""
    return "\n\n".join((INTRODUCTION.rstrip(), *(section(*each) for each in leaves(cli)), exit_codes())) + "\n"


if __name__ == "__main__":
    print(page(), end="")
