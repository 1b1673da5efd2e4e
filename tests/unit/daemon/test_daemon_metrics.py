"""What the daemon shows."""

from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest

from daemon.assembly.live_metrics import Live, LiveState
from daemon.lifecycle.supervised_threads import Health, State
from daemon.metrics import DaemonMetrics
from daemon.rounds.current import ROUND_PHASES, PhaseWork
from learner.directory.progress_event import ProgressEvent

BETWEEN_ROUNDS = Live(
    parts=(Health("ingest", State.BROKEN, "no broker", failures=3), Health("rounds", State.RUNNING)),
    round_number=None,
    round_phase="",
    round_step=0,
    round_steps=0,
    serving_generation=None,
    answering_generation=None,
    swap_seconds=None,
    fresh_until_round=0.25,
)


def test_live_state_is_read_at_each_scrape() -> None:
    """What is unknown is absent, not zero; each part has one state at a time."""
    registry = CollectorRegistry()
    asked: list[Live] = []

    def read() -> Live:
        asked.append(BETWEEN_ROUNDS)
        return asked[-1]

    registry.register(LiveState(read))
    assert asked == []
    shown = generate_latest(registry).decode()
    assert 'riverkeep_part_state{part="ingest",state="broken"} 1.0' in shown
    assert 'riverkeep_part_state{part="ingest",state="running"} 0.0' in shown
    assert 'riverkeep_part_failures{part="ingest"} 3.0' in shown
    assert "riverkeep_trigger_volume_ratio 0.25" in shown
    assert "riverkeep_rounds_paused 0.0" in shown
    assert "riverkeep_ledger_generation" not in shown
    assert len(asked) == 1


def test_a_round_in_progress_and_what_answers_are_shown() -> None:
    """Steps of the round, the ledger's generation beside the one that answers, and how long its swap took."""
    registry = CollectorRegistry()
    during = replace(
        BETWEEN_ROUNDS,
        round_number=3,
        round_phase="train",
        round_work=PhaseWork(30, 120, "sequences", 42.0),
        round_step=20,
        round_steps=80,
        serving_generation=2,
        answering_generation=1,
        swap_seconds=0.5,
        rounds_paused=True,
        watch_lasts=0.5,
    )
    registry.register(LiveState(lambda: during))
    shown = {
        "round_in_progress": 1,
        "round_phase_done_ratio": 0.25,
        "round_phase_left_seconds": 42,
        "round_step": 20,
        "round_steps": 80,
        "ledger_generation": 2,
        "answering_generation": 1,
        "last_swap_seconds": 0.5,
        "rounds_paused": 1,
        "canary_watch_ratio": 0.5,
    }
    assert {name: registry.get_sample_value(f"riverkeep_{name}") for name in shown} == shown
    phases = {phase: registry.get_sample_value("riverkeep_round_phase", {"phase": phase}) for phase in ROUND_PHASES}
    assert phases == dict.fromkeys(ROUND_PHASES, 0) | {"train": 1}


def test_steps_of_the_learner_are_shown() -> None:
    """Known loss terms only: labels are bounded whatever a learner says."""
    registry = CollectorRegistry()
    metrics = DaemonMetrics(registry)
    metrics.hear(ProgressEvent("step", losses={"new": 3.5, "evil": 1.0}, penalty=0.1, tokens_per_second=900))
    metrics.hear(ProgressEvent("step", memory_bytes=1_500))
    metrics.hear(ProgressEvent("phase", name="train"))
    shown = generate_latest(registry).decode()
    assert 'riverkeep_training_loss_nats{term="new"} 3.5' in shown
    assert 'riverkeep_training_loss_nats{term="penalty"} 0.1' in shown
    assert "riverkeep_training_tokens_per_second 900.0" in shown
    assert "riverkeep_training_memory_bytes 1500.0" in shown
    assert "evil" not in shown
