"""A whole service tells OpenTelemetry of its requests, swaps and rounds."""

from pathlib import Path

import pytest

from tests.daemon_harness import daemon, fake_learner, fill, make_home
from tests.harness import post
from tests.models import make_causal
from tests.otlp_receiver import receiving

pytestmark = pytest.mark.slow
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "xylophone"


def test_a_request_a_swap_and_a_round_arrive_as_spans(tmp_path: Path) -> None:
    """From both processes, named alike in the log; nothing of a text is sent, and all of it before the end."""
    home = make_home(tmp_path / "home", model=make_causal(tmp_path / "model"), serving=True)
    home.config.write_text(
        home.config.read_text().replace("[log]\n", '[tracing]\nenabled = true\n[log]\nlevel = "debug"\n')
    )
    fill(home, before=120, fresh=120)
    # So seldom that the round's last spans are sent by the end alone.
    late = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with (
        receiving() as receiver,
        daemon(home, learner=fake_learner("good"), environment=receiver.environment | late) as started,
    ):
        started.until(lambda control: control.status()["serving"]["answering"] == 0, what="generation 0 answering")
        answer = post(
            f"http://127.0.0.1:{home.serving_port}/v1/completions",
            json={"prompt": SECRET, "max_tokens": 2},
            headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "a-proxys-id"},
            timeout=60,
        )
        assert answer.status_code == 200
        started.until(lambda control: control.request_round())
        started.until(lambda control: control.status()["serving"]["answering"] == 1, what="generation 1 answering")
        assert started.stop() == 0
        (request,) = receiver.named("POST /v1/completions")
        (round_,) = receiver.named("round")
        swaps = receiver.named("swap")
        assert (request.trace_id, request.parent, request.scope) == (TRACE, CALLER, "riverkeep.serving")
        assert (request.facts["riverkeep.request.id"], request.facts["riverkeep.generation"]) == ("a-proxys-id", 0)
        assert [swap.facts["riverkeep.generation"] for swap in swaps] == [0, 1]
        assert (round_.scope, round_.facts["riverkeep.round.state"]) == ("riverkeep.daemon", "accepted")
        phases = [span.name for span in receiver.spans if span.parent == round_.span_id]
        assert [phases[0], phases[1], phases[-1]] == ["round draw", "round start", "round judge"]
        assert not any(SECRET.encode() in body for body in receiver.bodies)
        named = {line["event"]: line.get("trace_id") for line in started.lines()}
        assert named["round_begun"] == named["round_ended"] == round_.trace_id
        assert named["request_answered"] == TRACE
        assert named["generation_serves"] == swaps[-1].trace_id
