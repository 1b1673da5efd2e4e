"""The page of commands is the command line's."""

import click

from daemon.cli.main import COMMANDS, cli
from tests.docs.commands_page import leaves, page
from tests.docs.test_docs import ROOT

PAGE = ROOT / "docs" / "commands.md"


def test_the_page_is_of_this_code() -> None:
    """Made anew it is the same."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.commands_page > docs/commands.md"


def test_every_command_and_each_of_its_options_says_what_it_is_for() -> None:
    """None is empty on the page."""
    found = list(leaves(cli))
    assert {path[0] for path, _ in found} == set(COMMANDS)
    for path, command in found:
        assert command.help, path
        for option in command.params:
            assert not isinstance(option, click.Option) or option.hidden or option.help, (path, option.name)
