"""What people said of answers: `feedback`, `feedback list`."""

import click

from daemon.cli.commands.paging import before_option, limit_option
from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, pass_json_on, show
from daemon.control.protocol import Control


@click.group(invoke_without_command=True, short_help="Show what people said of answers.")
@json_option
@click.pass_context
@pass_invocation
@example("riverkeep feedback", "riverkeep feedback list --text")
def feedback(invocation: Invocation, context: click.Context, *, as_json: bool) -> None:
    """Show how many answers of each generation were accepted, rejected and corrected."""
    if context.invoked_subcommand is not None:
        pass_json_on(context, as_json=as_json)
        return
    from daemon.cli.render.feedback import print_counts

    show(invocation.answer(Control.feedback, limit=1), print_counts, as_json=as_json)


@feedback.command("list", short_help="List what was said, newest first.")
@limit_option("Most to list.")
@before_option()
@click.option("--text", is_flag=True, help="With the prompt, the answer and the correction, where they are kept.")
@json_option
@pass_invocation
@example("riverkeep feedback list", "riverkeep feedback list --json | jq '.latest[].verdict'")
def list_feedback(invocation: Invocation, *, limit: int, before: int | None, text: bool, as_json: bool) -> None:
    """List what people said of answers, newest first: the last word of each on each answer.

    Under `learned` stands what became of a correction: yes, where it is text to learn from now; no_text, where
    serving.feedback.keep_text is off or the answer was no longer at hand; else the reason by which text like it is no
    document.
    """
    from daemon.cli.render.feedback import print_opinions

    show(invocation.answer(Control.feedback, limit=limit, before=before, text=text), print_opinions, as_json=as_json)
