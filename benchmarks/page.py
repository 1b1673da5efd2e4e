"""How long the page takes to be drawn where much is kept.

    python -m benchmarks.page [--json FILE] [--turns N]

A ledger at its bounds (`memory/ledger/retention.py`): 5,000 rounds, the latest thousand with their verdicts, as many
generations, and R of 256 generations on 64 slices. Each page is asked for as a browser does, signed in, without a
network between; in turns, the first of which, as after a round, reads R anew and is told apart. Time is that of the
processor, which a busy machine stretches least; a page waits for nothing else. The rounds are copies of a few that a
stand-in learner made; the store, the answers and the pages are the real ones.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final, cast

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table
from starlette.testclient import TestClient

from benchmarks.report import Bar, arguments, report
from daemon.admin.app import create_app
from daemon.admin.token import Token
from daemon.control.protocol import Control
from daemon.page.addresses import record_address
from daemon.page.app import with_page
from daemon.page.pages import PAGES
from memory.ledger.retention import R_ROWS, REPORTS, ROUNDS
from memory.store import Store
from tests.browser.story import COMPARED, Story, story
from tests.harness import wait_until

SLICES: Final = 64
TOKEN: Final = "a-token-of-the-benchmark"
WITHIN_S: Final = 0.1


def multiply(store: Store) -> None:
    """Fill the ledger to its bounds with copies of its last accepted round."""
    with store.file.database.write() as tx:
        last, accepted = tx.execute("SELECT max(number), max(generation) FROM rounds").fetchone()
        names = [row[0] for row in tx.execute("SELECT name FROM pragma_table_info('rounds')")]
        model = tx.execute("SELECT max(number) FROM rounds WHERE state = 'accepted'").fetchone()[0]
        others = ", ".join(name for name in names if name not in ("number", "generation", "verdict", "report"))
        tx.executemany(
            f"INSERT INTO rounds(number, generation, verdict, report, {others}) SELECT ?, ?, iif(?, verdict, '{{}}'), "
            f"iif(?, report, '{{}}'), {others} FROM rounds WHERE number = ?",
            [
                (number, accepted + number - last, number > ROUNDS - REPORTS, number > ROUNDS - REPORTS, model)
                for number in range(last + 1, ROUNDS + 1)
            ],
        )
        first, final = accepted + 1, accepted + ROUNDS - last
        tx.executemany(
            "INSERT INTO generations(number, state, parent, round, digest, source_path, created_at) "
            "VALUES (?, ?, ?, ?, ?, '', 0)",
            [
                (number, "accepted" if number == final else "retired", number - 1, number - accepted + last, "0" * 64)
                for number in range(first, final + 1)
            ],
        )
        columns = [f"source-{number}@{number + 1}-{number + 1}" for number in range(SLICES - 1)]
        scoring = tx.execute("SELECT max(scoring) FROM scores").fetchone()[0]
        tx.executemany(
            "INSERT INTO scores(generation, slice, mean_nll, tokens, documents, scoring) "
            "VALUES (?, ?, ?, 10000, 60, ?)",
            [
                (number, name, 2.5 + 0.01 * ((number * 31 + place * 17) % 40), scoring)
                for number in range(max(first, final - R_ROWS + 1), final + 1)
                for place, name in enumerate(["anchor", *columns])
            ],
        )
        tx.execute("UPDATE facts SET value = ? WHERE name = 'serving'", (final,))
        for name, value in {"rounds_begun": ROUNDS, "generations_numbered": final + 1}.items():
            tx.execute("UPDATE facts SET value = ? WHERE name = ?", (value, name))


def compare(told: Story) -> None:
    """Have two generations answer a prompt, while the files of both are there."""
    control = cast("Control", told.control())
    assert control.compare("Tonight the river")["number"] == COMPARED
    wait_until(lambda: control.comparison(COMPARED)["answers"], what="both answers")


def measure(told: Story, turns: int) -> dict[str, list[float]]:
    """Seconds of each page, turn by turn; the first of them finds nothing read yet, as after a round."""
    control, token = cast("Control", told.control()), Token(TOKEN)
    interface = create_app(control, told.registry, token)
    app = with_page(interface, control, CollectorRegistry(), lambda: token.text)
    headers = {"accept": "text/html", "authorization": f"Bearer {TOKEN}"}
    numbers = {
        "/rounds/{number}": ROUNDS,
        "/aside/{number}": told.rooms.store.rounds.waiting()[0],
        "/comparisons/{number}": COMPARED,
    }
    serving = str(told.rooms.store.generations.serving())
    paths = {
        page.path: page.path.replace("{number}", str(numbers.get(page.path, 1))).replace("{other}", serving)
        for page in PAGES
    }
    paths["/trace of a record"] = record_address("news", 0, 3)
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    client = TestClient(app, headers=headers)
    for _ in range(turns + 1):
        for name, path in paths.items():
            began = time.process_time()
            answer = client.get(path)
            elapsed = time.process_time() - began
            if answer.status_code != 200:
                raise RuntimeError(f"{path} was answered with {answer.status_code}")
            seconds[name].append(elapsed)
    return seconds


def show(seconds: dict[str, list[float]]) -> None:
    """Print what each page took."""
    table = Table("page", "median ms", "least", "most")
    for name, values in seconds.items():
        table.add_row(name, *(f"{1000 * value:.1f}" for value in (median(values), min(values), max(values))))
    Console().print(table)


def main() -> int:
    """Measure, print, and return the exit status."""
    options = arguments(__doc__)
    options.add_argument("--turns", type=int, default=10, help="how often each page is drawn (10)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="riverkeep-page-") as folder, story(Path(folder), now=time.time()) as told:
        compare(told)
        multiply(told.rooms.store)
        rounds = len(told.rooms.store.rounds.listed(limit=ROUNDS + 1))
        seconds = measure(told, chosen.turns)
    first = max(values[0] for values in seconds.values())
    after = {name: values[1:] for name, values in seconds.items()}
    show(after)
    medians = {name: median(values) for name, values in after.items()}
    bars = [
        Bar(name="the slowest page, seconds", value=max(medians.values()), at_most=WITHIN_S),
        Bar(name="the first look after a round, seconds", value=first),
        *(Bar(name=f"{name}, seconds", value=value) for name, value in medians.items()),
    ]
    return report("The page", bars, chosen.json, {"turns": chosen.turns, "rounds": rounds, "slices": SLICES})


if __name__ == "__main__":
    sys.exit(main())
