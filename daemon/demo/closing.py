"""How the demo ends: what was kept and what would have been forgotten, and where to look further."""

import io
import math
import shlex
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from daemon.control.answers.rounds import RoundAnswer
from daemon.demo.era_scores import EraScores
from daemon.demo.screen import DemoScreen
from daemon.demo.service import DemoService
from daemon.exit_codes import ExitCode
from gate.forgetting import ScoreMatrix, average_forgetting, plasticity

QUESTION = "The greatest danger to our country is"
PICTURE_COLUMNS = 116


def show(screen: DemoScreen, service: DemoService, story: "Told") -> ExitCode:
    """Print the tables and say whether everything held; a picture of it all goes beside the settings."""
    ending = Group(*_parts(screen, service, story))
    screen.console.print(ending)
    picture = service.home / "demo.svg"
    recorder = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO())
    recorder.print(Group(*screen.lines, "", ending))
    recorder.save_svg(str(picture), title="riverkeep demo")
    screen.console.print(f"A picture of this: {picture}")
    return ExitCode.OK if all(holds for _, holds in _promises(screen, story)) else ExitCode.FAILED


def _parts(screen: DemoScreen, service: DemoService, story: "Told") -> Iterator[RenderableType]:
    kept, naive = story.kept.matrix, story.twin.matrix
    yield _matrix("Kept by Riverkeep", screen.columns, kept)
    yield _matrix("Naive twin (same new text, no replay, no regularization)", screen.columns, naive)
    yield _comparison(kept, naive)
    yield _rounds(story)
    yield Text.assemble("\n", (f"{QUESTION} …", "bold"))
    for generation, answer in story.answers.items():
        yield Text.assemble((f"generation {generation}: ", "bold"), answer.strip().replace("\n", " "))
    yield _where(service)
    for sentence, holds in _promises(screen, story):
        yield Text.assemble(("✓ " if holds else "✗ ", "bold green" if holds else "bold red"), sentence)
    yield Text(f"in {screen.seconds:.0f} s")


def _promises(screen: DemoScreen, story: "Told") -> tuple[tuple[str, bool], ...]:
    scene, visits = screen.scene, screen.scene.visits
    eras = len(screen.columns) - 1  # the first is the text from before the stream
    return (
        (f"{len(story.rounds)} rounds", len(story.rounds) >= eras),
        (f"{scene.swaps} swaps", scene.swaps >= eras - 1),
        (
            f"{visits.total} requests, {visits.failed} failed {visits.last_error}".rstrip(),
            visits.failed == 0 and visits.total > 0,
        ),
        (f"{scene.refused} poisoned batch held back", scene.refused == 1),
    )


def stay(console: Console) -> None:
    """Leave everything running until Ctrl-C."""
    console.print("\nEverything keeps running. Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("ending")


def leave(console: Console, config: Path) -> None:
    """Say what is left when everything has ended, and how the page of it can be looked at all the same."""
    console.print("The files stay; nothing answers any more. `riverkeep demo --keep` leaves it running.")
    # As text: a folder's name may look like rich's markup, and a command is copied in one piece.
    again = Text(f"`riverkeep -c {shlex.quote(str(config))} run` serves page and answers again, without the broker.")
    console.print(again, soft_wrap=True)


def _matrix(title: str, columns: Sequence[str], matrix: ScoreMatrix) -> Table:
    table = Table(title=f"{title}: R, nats per token on held-out text", title_justify="left")
    table.add_column("after round")
    for column in columns[: len(matrix.learned_at)]:
        table.add_column(column, justify="right")
    for number, row in enumerate(matrix.scores):
        table.add_row("base" if number == 0 else str(number), *(_cell(matrix, number, j) for j in range(len(row))))
    return table


def _cell(matrix: ScoreMatrix, row: int, column: int) -> Text:
    score = matrix.scores[row][column]
    if math.isnan(score):
        return Text("")
    earlier = [r[column] for r in matrix.scores[:row] if not math.isnan(r[column])]
    lost = score - min(earlier) if earlier and matrix.learned_at[column] < row else 0.0
    style = "red" if lost > 0.2 else "yellow" if lost > 0.05 else "bold" if matrix.learned_at[column] == row else ""
    return Text(f"{score:.3f}", style=style)


def _comparison(kept: ScoreMatrix, naive: ScoreMatrix) -> Table:
    table = Table(title="What it cost to learn the new text", title_justify="left")
    for column in ("", "average forgetting", "plasticity (lower is better)", "mean of all text now"):
        table.add_column(column, justify="left" if not column else "right")
    for name, matrix in (("kept by Riverkeep", kept), ("naive twin", naive)):
        last = len(matrix.scores) - 1
        mean = math.fsum(matrix.scores[last]) / len(matrix.scores[last])
        table.add_row(name, _nats(average_forgetting(matrix, last)), _nats(plasticity(matrix, last)), f"{mean:.3f}")
    return table


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rounds(story: "Told") -> Table:
    table = Table(title="Rounds", title_justify="left")
    for column in ("round", "outcome", "why"):
        table.add_column(column)
    for round_ in story.rounds:
        style = "green" if round_["state"] == "accepted" else "magenta"
        table.add_row(str(round_["number"]), Text(round_["state"], style=style), round_["detail"])
    return table


def _where(service: DemoService) -> Table:
    table = Table(title="Where to look", title_justify="left", show_header=False)
    for what, where in (
        ("settings", service.config),
        ("memory, generations, rounds", service.settings.state_dir),
        ("log", service.log),
        ("page", f"{service.admin_url}/"),
        ("the token that it asks for", service.token_file),
        ("answers", f"{service.serving_url}/v1/completions"),
        ("metrics", f"{service.admin_url}/metrics"),
        ("status", f"riverkeep -c {service.config} status"),
    ):
        table.add_row(what, str(where))
    return table


@dataclass(slots=True)
class Told:
    """What the story remembers for its end."""

    kept: EraScores
    twin: EraScores
    rounds: list[RoundAnswer] = field(default_factory=list)
    answers: dict[int, str] = field(default_factory=dict)
