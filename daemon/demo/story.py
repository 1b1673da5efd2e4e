"""The demo from its first record to its last table."""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from rich.console import Console

from daemon import logs
from daemon.control.answers.rounds import RoundAnswer
from daemon.control.answers.status import LastRoundStanding, MemoryStanding
from daemon.demo import closing
from daemon.demo.broker import embedded_broker
from daemon.demo.closing import Told
from daemon.demo.era_scores import EraScores
from daemon.demo.lineage import Lineage, naive
from daemon.demo.screen import DemoScreen
from daemon.demo.service import TOPIC, DemoService, backfill, running, write_settings
from daemon.demo.text import BASE_MODEL, Era, eras, make_poison
from daemon.demo.twin import Twin
from daemon.demo.visitors import Visitors, complete
from daemon.errors import DaemonError
from daemon.exit_codes import ExitCode
from daemon.naive_twin import note_naive_twin
from gate.forgetting import ScoreMatrix, average_forgetting
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import Report, read_report
from memory.store import Store

ERA_CHARACTERS = 185_000
FIRST_ERA = 1
"""Of so few words of 1900–1921 a model that has read what came before learns too little to be proven."""
ARRIVAL_SECONDS = 2.0
POISONED_PARAGRAPHS = 150
POISON_AFTER_ERA = 2
NAIVE_RATE = 2e-3
PROMPT = "The United States of America"
ANSWER_TOKENS = 40
ANSWER_SEED = 3
WAIT_TIMEOUT_S = 600.0
# Each question takes time from what is shown: asked much more often they would take a tenth of it.
LOOK_EVERY_S = 0.25
BEFORE = "before 1900"


def run(
    *,
    home: Path | None = None,
    keep: bool = False,
    console: Console | None = None,
    stream: Sequence[Era] | None = None,
) -> ExitCode:
    """Tell the whole story.

    Args:
        home: where everything is written, and stays; None for a new folder among the temporary ones.
        keep: leave the service running at the end until Ctrl-C.
        console: where to show it.
        stream: the eras to tell of; None for the demo's own three.

    Returns:
        OK when everything held that the demo promises: rounds, swaps, no failed request, poison refused.

    Raises:
        DaemonError: a part did not work; the message says which and where its log is.
    """
    console = console or Console()
    # A demo that is ended by `kill` also ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = _home(home)
    stream = eras(ERA_CHARACTERS)[FIRST_ERA:] if stream is None else stream
    screen = DemoScreen(console, [BEFORE, *(era.name for era in stream)])
    with ExitStack() as stack:
        logs.configure(level="warning")
        # It ends before the tables are printed, which it would draw over.
        with screen:
            broker = stack.enter_context(embedded_broker(folder / "broker.log"))
            screen.say("a Kafka-compatible broker listens on " + broker)
            config = write_settings(folder, broker)
            screen.scene.doing = "text from before the stream goes into the memory"
            backfill(config)
            screen.say("text from before the stream is in memory, as replay and as the anchor slice")
            screen.scene.doing = "Riverkeep starts: it imports the model, and loads it to answer"
            service = stack.enter_context(running(config))
            screen.say(f"Riverkeep runs, and answers on {service.serving_url}")
            screen.say(f"its page is {service.admin_url}/, which asks for the token in {service.token_file}")
            story = _Story(service, broker, stream, screen)
            story.tell()
        code = closing.show(screen, service, story.told)
        if keep:
            closing.stay(console)
    if not keep:
        closing.leave(console, config)
    return code


def _home(home: Path | None) -> Path:
    if home is None:
        return Path(tempfile.mkdtemp(prefix="riverkeep-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    return home.resolve()


class _Story:
    """One telling."""

    def __init__(self, service: DemoService, broker: str, stream: Sequence[Era], screen: DemoScreen) -> None:
        self._service = service
        self._stream = stream
        self._screen = screen
        self._producer = KafkaProducer(bootstrap_servers=broker, linger_ms=20)
        self._sent = 0
        recipe = service.settings.learner.recipe
        lineage = Lineage(service.home / "naive", BASE_MODEL, naive(recipe, NAIVE_RATE))
        self._twin = Twin(lineage, self._hear_twin, self._take_twin)
        self.told = Told(EraScores(len(stream)), EraScores(len(stream)))

    def tell(self) -> None:
        """All eras, the poison among them, under a trickle of requests."""
        self._screen.scene.serving = 0
        self._ask_the_question(0)
        with self._twin, Visitors(self._service.serving_url, PROMPT) as visitors:
            self._screen.scene.visits = visitors.visits
            for number, era in enumerate(self._stream, 1):
                self._arrive(era)
                self._learn(era)
                if number == POISON_AFTER_ERA:
                    self._poison()
            self._screen.scene.doing = "the naive twin catches up"
            self._twin.catch_up()
        self._ask_the_question(self._screen.scene.serving)
        self._producer.close()

    def _ask_the_question(self, generation: int) -> None:
        answer = complete(self._service.serving_url, closing.QUESTION, max_tokens=ANSWER_TOKENS, seed=ANSWER_SEED)
        self.told.answers[generation] = answer

    def _arrive(self, era: Era) -> None:
        scene = self._screen.scene
        scene.era, scene.arrived, scene.expected = era.name, 0, len(era.paragraphs)
        scene.doing = "waiting for text"
        for paragraph in era.paragraphs:
            self._producer.send(TOPIC, value=paragraph.as_record())
            self._sent += 1
            scene.arrived += 1
            time.sleep(ARRIVAL_SECONDS / len(era.paragraphs))
        self._producer.flush()
        memory = self._await_stored()
        self._screen.say(
            f"{era.name}: {len(era.paragraphs)} paragraphs arrived through Kafka; in memory"
            f" {memory['fresh_samples']} fresh, {memory['replay_samples']} replay, {memory['holdout_samples']} held out"
        )

    def _await_stored(self) -> MemoryStanding:
        # What `status` says of the lag may be a second old: a record that came since would miss its era's round.
        self._await(lambda: self._stored() == self._sent, "all records to be stored")
        memory: MemoryStanding = self._await(lambda: self._service.control.status()["memory"], "the memory's state")
        return memory

    def _stored(self) -> int:
        settings = self._service.settings
        with Store.open(settings.database, settings.memory, read_only=True) as store:
            partitions = self._producer.partitions_for(TOPIC)
            return sum(sum(store.offsets_of(TOPIC, number).values()) for number in partitions)

    def _learn(self, era: Era) -> None:
        round_ = self._round()
        if round_["state"] != "accepted":
            self._screen.say(
                f"round {round_['number']} on {era.name}: {round_['state']}: {round_['detail']}", "bold yellow"
            )
            return
        generation = round_["generation"]
        self._await(lambda: self._serving() == generation, f"generation {generation} to serve")
        scene = self._screen.scene
        scene.serving, scene.swaps = generation, scene.swaps + 1
        self._screen.say(
            f"round {round_['number']} accepted: generation {generation} serves, swapped in live", "bold green"
        )
        self._follow(round_)

    def _follow(self, round_: RoundAnswer) -> None:
        directory = self._service.round_directory(round_["number"])
        self.told.kept.add(read_report(directory), round_["verdict"]["candidate"])
        self._screen.scene.kept = self.told.kept.matrix
        self._twin.follow(directory)

    def _hear_twin(self, event: ProgressEvent) -> None:
        scene = self._screen.scene
        scene.twin = "learns the same text, and nothing else"
        scene.twin_step, scene.twin_steps = event.step or 0, event.steps or 0

    def _take_twin(self, report: Report) -> None:
        scene = self._screen.scene
        self.told.twin.add(report, report.candidates[0])
        scene.naive = self.told.twin.matrix
        note_naive_twin(self._service.settings.state_dir, self._forgotten_by_the_twin(scene.naive))
        scene.twin, scene.twin_step, scene.twin_steps = "", 0, 0
        self._screen.say(f"the naive twin has learned {len(scene.naive.scores) - 1} of {len(self._stream)} eras")

    def _forgotten_by_the_twin(self, matrix: ScoreMatrix) -> dict[int, float]:
        accepted = [round_["number"] for round_ in self.told.rounds if round_["state"] == "accepted"]
        # Row 0 is the base; the twin may be behind.
        rows = range(1, len(matrix.scores))
        forgotten = {number: average_forgetting(matrix, row) for row, number in zip(rows, accepted, strict=False)}
        return {number: figure for number, figure in forgotten.items() if figure is not None}

    def _poison(self) -> None:
        poison = make_poison(self._stream[POISON_AFTER_ERA % len(self._stream)], POISONED_PARAGRAPHS)
        self._arrive(poison)
        round_ = self._round()
        if round_["state"] in ("waiting", "refused"):
            self._screen.scene.refused += 1
            self._screen.say(
                f"round {round_['number']} on poisoned text is held back: {round_['detail']}", "bold magenta"
            )
        else:
            self._screen.say(f"round {round_['number']} on poisoned text was {round_['state']}", "bold red")

    def _round(self) -> RoundAnswer:
        """Ask for a round and await its end."""
        request = self._service.control.request_round()
        last = self._await(lambda: self._ended_after(request["after"]), "the round to end")
        ended = self._service.control.round(last["number"])
        self.told.rounds.append(ended)
        self._screen.scene.step = self._screen.scene.steps = 0
        return ended

    def _ended_after(self, number: int) -> LastRoundStanding | None:
        status = self._service.control.status()
        if running := status["round"]:
            scene = self._screen.scene
            scene.doing = f"round {running['number']}: {running['phase']}"
            scene.step, scene.steps = running["step"] or 0, running["steps"] or 0
            return None
        last = status["last_round"]
        return last if last and last["number"] > number else None

    def _serving(self) -> int | None:
        return self._service.control.status()["serving"]["answering"]

    def _await(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._service.process.poll() is not None:
                raise DaemonError(f"Riverkeep ended while the demo waited for {what}. Its log is {self._service.log}.")
            if answer := condition():
                return answer
            time.sleep(LOOK_EVERY_S)
        raise DaemonError(
            f"The demo waited {WAIT_TIMEOUT_S:.0f} s for {what}. The service's log is {self._service.log}."
        )
