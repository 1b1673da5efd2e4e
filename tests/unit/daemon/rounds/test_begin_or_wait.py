"""Whether a round begins now, and why."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from daemon.rounds.begin_or_wait import Ask, Begin, Snapshot, Trigger, Wait, answers_to, approval, decide
from daemon.settings.triggers import TriggerSettings

SETTINGS = TriggerSettings(fresh_samples=1000, minimum_fresh_samples=10, cooldown_seconds=60)
QUIET = Snapshot(
    now=1_000.0,
    fresh_samples=50,
    fresh_tokens=5_000,
    lacking="",
    too_early="",
    running=None,
    stopping=False,
    paused=None,
    cool_since=None,
    asks=(),
)
BY_HAND = Ask(Trigger.BY_HAND, by="SIGUSR1")
INTERVAL = Ask(Trigger.INTERVAL, by="interval")

asks = st.builds(
    Ask,
    trigger=st.sampled_from([Trigger.BY_HAND, Trigger.INTERVAL, Trigger.CRON]),
    by=st.sampled_from(["admin", "schedule"]),
    dry_run=st.booleans(),
    released_from=st.none() | st.integers(1, 5),
)
snapshots = st.builds(
    Snapshot,
    now=st.floats(0, 1e10),
    fresh_samples=st.integers(0, 3_000),
    fresh_tokens=st.integers(0, 10**6),
    lacking=st.sampled_from(["", "there is no anchor"]),
    too_early=st.sampled_from(["", "round 1 was refused for want of evidence"]),
    running=st.none() | st.integers(1, 99),
    stopping=st.booleans(),
    paused=st.none() | st.text(max_size=3),
    cool_since=st.none() | st.floats(0, 1e10),
    asks=st.lists(asks, max_size=4).map(tuple),
)
settings = st.builds(
    TriggerSettings,
    fresh_samples=st.none() | st.integers(500, 2_000),
    fresh_tokens=st.none() | st.integers(1, 10**5),
    minimum_fresh_samples=st.integers(1, 500),
    cooldown_seconds=st.floats(0, 1e4),
)


@given(snapshots, settings)
def test_never_two_at_once_and_nothing_while_stopping(snapshot: Snapshot, rules: TriggerSettings) -> None:
    """A round in progress, or a service that ends, lets no round begin."""
    decision = decide(snapshot, rules)
    if snapshot.running is not None or snapshot.stopping:
        assert isinstance(decision, Wait)
        assert decision.answered == ()


@given(snapshots, settings)
def test_by_itself_it_keeps_minimum_and_cool_down(snapshot: Snapshot, rules: TriggerSettings) -> None:
    """What no person asked for begins only with enough fresh text and after the cool-down."""
    decision = decide(snapshot, rules)
    if isinstance(decision, Begin) and not decision.ask.by_a_person:
        assert snapshot.fresh_samples >= rules.minimum_fresh_samples
        assert not snapshot.lacking
        assert not snapshot.too_early
        # A clock that was set back counts as no time passed.
        passed = max(0.0, snapshot.now - (snapshot.cool_since or 0.0))
        assert snapshot.cool_since is None or passed >= rules.cooldown_seconds - 1e-3


@given(snapshots, settings)
def test_every_decision_has_a_reason_and_answers_only_what_was_asked(
    snapshot: Snapshot, rules: TriggerSettings
) -> None:
    """The sentence is never empty, and no ask is answered that did not wait."""
    decision = decide(snapshot, rules)
    assert decision.reason
    answered = (decision.ask,) if isinstance(decision, Begin) else decision.answered
    assert all(ask in snapshot.asks or ask.trigger is Trigger.VOLUME for ask in answered)


@given(snapshots, settings)
def test_nothing_begins_without_fresh_text(snapshot: Snapshot, rules: TriggerSettings) -> None:
    """Only text that a person approved may be trained on while nothing is fresh."""
    decision = decide(replace(snapshot, fresh_samples=0), rules)
    if isinstance(decision, Begin):
        assert decision.ask.released_from is not None


def test_the_volume_begins_a_round() -> None:
    """As many fresh samples as the setting says begin a round."""
    assert isinstance(decide(replace(QUIET, fresh_samples=999), SETTINGS), Wait)
    decision = decide(replace(QUIET, fresh_samples=1000), SETTINGS)
    assert isinstance(decision, Begin)
    assert decision.ask.trigger is Trigger.VOLUME


def test_tokens_begin_a_round() -> None:
    """The volume is counted in tokens too."""
    rules = TriggerSettings(fresh_samples=None, fresh_tokens=5_000, minimum_fresh_samples=10)
    assert isinstance(decide(QUIET, rules), Begin)
    assert isinstance(decide(replace(QUIET, fresh_tokens=4_999), rules), Wait)


def test_a_person_does_not_wait_for_the_minimum() -> None:
    """One fresh sample is enough for a round by hand, cool-down or not."""
    decision = decide(replace(QUIET, fresh_samples=1, cool_since=999.0, asks=(BY_HAND,)), SETTINGS)
    assert decision == Begin(BY_HAND, "SIGUSR1 asked for it, 1 samples are fresh")


def test_a_schedule_passes_over_when_too_little_is_fresh() -> None:
    """The ask is done with, so that the round does not begin at an odd time."""
    decision = decide(replace(QUIET, fresh_samples=9, asks=(INTERVAL,)), SETTINGS)
    assert isinstance(decision, Wait)
    assert decision.answered == (INTERVAL,)


@given(snapshots, settings)
def test_while_rounds_are_paused_only_a_person_begins_one(snapshot: Snapshot, rules: TriggerSettings) -> None:
    """What a schedule asked for is kept for afterwards."""
    decision = decide(replace(snapshot, paused=""), rules)
    if isinstance(decision, Begin):
        assert decision.ask.by_a_person
    else:
        assert all(ask.by_a_person for ask in decision.answered)


def test_a_pause_tells_its_reason_and_how_it_ends() -> None:
    """Whatever volume is reached meanwhile."""
    paused = replace(QUIET, fresh_samples=5_000, paused="the GPU is lent out", asks=(INTERVAL,))
    assert decide(paused, SETTINGS) == Wait(
        "rounds are paused (the GPU is lent out); `riverkeep round resume` lets them begin by themselves again"
    )
    assert isinstance(decide(replace(paused, asks=(BY_HAND,)), SETTINGS), Begin)
    assert decide(replace(paused, paused=None), SETTINGS) == Begin(
        INTERVAL, "the interval came and 5000 samples are fresh"
    )


def test_a_schedule_waits_out_the_cool_down() -> None:
    """The ask is kept and answered afterwards."""
    cooling = replace(QUIET, cool_since=990.0, asks=(INTERVAL,))
    assert decide(cooling, SETTINGS) == Wait("cooling down for 50 s more after a round that was refused or failed")
    assert isinstance(decide(replace(cooling, now=1_051.0), SETTINGS), Begin)


def test_a_clock_set_back_does_not_lengthen_the_cool_down() -> None:
    """It is never longer than the setting."""
    decision = decide(replace(QUIET, cool_since=9_999_999.0), SETTINGS)
    assert "60 s" in decision.reason


def test_the_status_says_what_is_waited_for() -> None:
    """Every trigger that is set is named with how far it is."""
    rules = TriggerSettings(fresh_samples=1000, cron="0 3 * * *", interval_seconds=90)
    assert decide(QUIET, rules).reason == (
        "waiting for 1000 fresh samples (50 are there) or the interval of 90 s or the schedule '0 3 * * *'"
    )


def test_a_round_that_cannot_be_judged_is_not_begun() -> None:
    """Neither by volume nor by a schedule, nor anew with what was refused for want of evidence."""
    reached = replace(QUIET, fresh_samples=1000)
    for snapshot in (replace(reached, lacking="too little is held out"), replace(reached, too_early="it is too early")):
        by_volume = decide(snapshot, SETTINGS)
        assert by_volume == Wait(
            f"1000 samples are fresh, 1000 begin a round, but {snapshot.lacking or snapshot.too_early}"
        )
        by_schedule = decide(replace(snapshot, asks=(INTERVAL,)), SETTINGS)
        assert isinstance(by_schedule, Wait)
        assert by_schedule.answered == (INTERVAL,)


def test_an_approval_waits_for_evidence_and_holds_up_nobody() -> None:
    """It is asked for again until then; what a person asks meanwhile is answered."""
    waits = replace(QUIET, lacking="too little is held out", asks=(approval(3),))
    assert decide(waits, SETTINGS) == Wait("the approval of round 3 asked for a round, but too little is held out")
    assert isinstance(decide(replace(waits, lacking=""), SETTINGS), Begin)
    decision = decide(replace(waits, asks=(approval(3), BY_HAND)), SETTINGS)
    assert isinstance(decision, Begin)
    assert decision.ask == BY_HAND


def test_a_person_may_try_again_before_more_evidence_has_come() -> None:
    """They may have changed what no service knows of."""
    assert isinstance(decide(replace(QUIET, too_early="it is too early", asks=(BY_HAND,)), SETTINGS), Begin)


@given(asks, st.lists(asks, max_size=5).map(tuple))
def test_a_dry_run_answers_nobody_who_wants_a_real_round(begun: Ask, pending: tuple[Ask, ...]) -> None:
    """Nor does a real round answer an approval of other text."""
    for ask in answers_to(begun, pending):
        assert ask == begun or (not begun.dry_run and not ask.dry_run and ask.released_from is None)
    assert set(answers_to(begun, (begun, *pending))) >= {begun}
