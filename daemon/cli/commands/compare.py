"""Two generations on one prompt: `compare`."""

import sys
import time
from typing import Final

import click

from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, print_json, say, show
from daemon.control.answers.comparisons import ComparisonAnswer
from daemon.control.bounds import HIGHEST_TEMPERATURE, LARGEST_ID, LONGEST_PROMPT, MOST_ANSWER_TOKENS
from daemon.control.protocol import Control
from daemon.exit_codes import ExitCode

LOOK_EVERY_S: Final = 0.3
NUMBER: Final = click.IntRange(0, LARGEST_ID)

number_argument = click.argument("number", metavar="N", type=NUMBER)


@click.group(short_help="Let two generations answer one prompt.")
@example("riverkeep compare ask < prompt.txt", "riverkeep compare ask 3 5 --blind < prompt.txt")
def compare() -> None:
    """Let two generations answer one prompt, side by side or blind, and count which answers people find better.

    They answer on the CPU of the daemon's machine, one after the other, in a process of its own that steps back as a
    learner does: what serves is not asked. Prompts and answers are not kept.
    """


@compare.command(short_help="Give two generations a prompt.")
@click.argument("first", type=NUMBER, required=False)
@click.argument("second", type=NUMBER, required=False)
@click.option("--blind", is_flag=True, help="Do not tell whose an answer is before one is picked.")
@click.option("--chat", is_flag=True, help="The prompt is a user's turn in a chat, and no text to go on with.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1, MOST_ANSWER_TOKENS),
    default=128,
    show_default=True,
    help="Most tokens of an answer.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, HIGHEST_TEMPERATURE),
    help="How freely tokens are drawn; 0, as it is without a seed, takes the most probable one each time.",
)
@click.option("--seed", type=NUMBER, help="Draw tokens, both with this seed; without a temperature at 1.")
@json_option
@pass_invocation
@example(
    "echo 'The river is' | riverkeep compare ask",
    "riverkeep compare ask 3 5 --blind --max-tokens 64 < prompt.txt",
    "riverkeep compare ask --seed 7 --json < prompt.txt | jq -r '.answers[].text'",
)
def ask(
    invocation: Invocation,
    first: int | None,
    second: int | None,
    *,
    blind: bool,
    chat: bool,
    max_tokens: int,
    temperature: float | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Give generations FIRST and SECOND the prompt on standard input, and show what they answer.

    None named: the parent of the serving generation, and that one. One line end at the prompt's end is not part of it.
    Ctrl-C calls it off. With --blind say afterwards which is better: `riverkeep compare pick`.
    """
    prompt = _prompt()
    with invocation.control(Control.compare) as control:
        begun = control.compare(
            prompt, first, second, blind=blind, chat=chat, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        try:
            ended = _wait(control, begun)
        except KeyboardInterrupt:
            _call_off(control, begun["number"])
            raise
    return _tell(ended, as_json=as_json)


@compare.command("show", short_help="Show a comparison again.")
@number_argument
@json_option
@pass_invocation
@example("riverkeep compare show 4711")
def show_(invocation: Invocation, number: int, *, as_json: bool) -> int:
    """Show comparison N: how far it is, or what was answered. The daemon remembers the last 16, for an hour."""
    return _tell(invocation.answer(Control.comparison, number), as_json=as_json)


@compare.command(short_help="Say which of two blind answers is better.")
@number_argument
@click.argument("choice", type=click.Choice(["left", "right", "equal"]))
@json_option
@pass_invocation
@example("riverkeep compare pick 4711 left")
def pick(invocation: Invocation, number: int, choice: str, *, as_json: bool) -> None:
    """Say which answer of blind comparison N is the better, and learn whose they are.

    The pick is counted for the pair, with your name; the text is not kept.
    """
    from typing import cast

    from daemon.cli.render.comparisons import print_picked
    from daemon.comparisons.choice import Choice

    show(invocation.answer(Control.pick_answer, number, cast("Choice", choice)), print_picked, as_json=as_json)


@compare.command(short_help="Call a comparison off.")
@number_argument
@json_option
@pass_invocation
@example("riverkeep compare cancel 4711")
def cancel(invocation: Invocation, number: int, *, as_json: bool) -> None:
    """End comparison N, which is under way, so that another may begin."""
    ended = invocation.answer(Control.cancel_comparison, number)
    show(ended, lambda answer: click.echo(f"Comparison {answer['number']} is called off."), as_json=as_json)


@compare.command(short_help="Show whose answers people found better.")
@json_option
@pass_invocation
@example("riverkeep compare picks", "riverkeep compare picks --json | jq '.[0]'")
def picks(invocation: Invocation, *, as_json: bool) -> None:
    """Show by pair of generations how often each one's answer was picked blind, with a 95 % interval."""
    from daemon.cli.render.comparisons import print_tallies

    show(invocation.answer(Control.picks), print_tallies, as_json=as_json)


def _prompt() -> str:
    """What stands on standard input. Raises UsageError where that is no prompt."""
    if sys.stdin.isatty():
        say("Write the prompt; Ctrl-D at the beginning of a line ends it.")
    # No more than can be a prompt: each of its characters has at most four bytes.
    raw = sys.stdin.buffer.read(4 * LONGEST_PROMPT + 3)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise click.UsageError(
            f"The prompt on standard input is not UTF-8, or longer than {LONGEST_PROMPT:,} characters."
        ) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise click.UsageError("There is no prompt on standard input: `riverkeep compare ask < prompt.txt`.")
    if len(text) > LONGEST_PROMPT:
        raise click.UsageError(f"The prompt is longer than {LONGEST_PROMPT:,} characters.")
    return text


def _wait(control: Control, begun: ComparisonAnswer) -> ComparisonAnswer:
    """Until it has ended; says on standard error what it does, each time that this changes."""
    now, told = begun, ""
    while now["state"] == "running":
        # Without the count of tokens, which would be a line each time.
        doing = now["doing"].partition(",")[0]
        if doing != told:
            say(f"Comparison {now['number']}: {doing} …")
            told = doing
        time.sleep(LOOK_EVERY_S)
        now = control.comparison(now["number"])
    return now


def _call_off(control: Control, number: int) -> None:
    from daemon.errors import DaemonError

    try:
        control.cancel_comparison(number)
    except DaemonError as error:
        # It may have ended meanwhile: that is told, and no error of whoever goes.
        say(str(error))
    else:
        say(f"Comparison {number} is called off.")


def _tell(answer: ComparisonAnswer, *, as_json: bool) -> int:
    from daemon.cli.render.comparisons import print_comparison

    if as_json:
        print_json(answer)
    else:
        print_comparison(answer)
    return ExitCode.FAILED if answer["state"] == "failed" else ExitCode.OK
