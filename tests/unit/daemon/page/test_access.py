"""Who may look at the page, and whose forms are heeded."""

import pytest

from daemon.page.access.attempts import FREE, LONGEST_WAIT_S, MOST_ADDRESSES, Attempts
from daemon.page.access.forms import local_address
from daemon.page.access.sessions import IDLE_S, LIFE_S, MOST, Sessions
from tests.unit.daemon.fakes import FakeControl
from tests.unit.daemon.page.browsers import HTML, TOKEN, Browser, PageInFront
from tests.unit.daemon.page.conftest import Ground

SAFE = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.parametrize("path", ["/", "/rounds", "/rounds/1?x=1", "/needs", "/no-such-page", "/status"])
def test_who_is_not_signed_in_is_led_there_and_back(ground: Ground, path: str) -> None:
    """Of what there is, an address tells nothing before."""
    browser = ground.page.browser()
    away = browser.get(path)
    assert away.status_code == 303
    assert away.headers["location"].startswith("/sign-in")
    form = browser.get(away.headers["location"])
    assert browser.sign_in(to=path).headers["location"] == path
    assert form.status_code == 200


@pytest.mark.parametrize("path", ["/", "/sign-in", "/rounds/1", "/no-such-page", "/act/pause_rounds", "/rounds/x"])
def test_every_answer_has_the_headers(ground: Ground, path: str) -> None:
    """Errors and redirects too, signed in or not."""
    for browser in (ground.page.browser(), ground.page.browser().signed_in()):
        headers = browser.get(path).headers
        assert {name: headers[name] for name in SAFE} == SAFE
        assert "accept" in headers["vary"].lower()


def test_the_session_is_a_cookie_that_no_script_and_no_other_site_gets(ground: Ground) -> None:
    """And that goes over TLS alone where there is TLS."""
    plain = ground.page.browser().sign_in().headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain
    over_tls = PageInFront(FakeControl(), scheme="https").browser().sign_in().headers["set-cookie"]
    assert over_tls.startswith("__Host-riverkeep-session-")
    assert "Secure" in over_tls.split("; ")


def test_a_wrong_token_opens_nothing_and_is_counted(ground: Ground) -> None:
    """The answer says what was wrong, and no more."""
    browser = ground.page.browser()
    answer = browser.sign_in("wrong")
    assert answer.status_code == 403
    assert "not the admin token" in answer.text
    assert "wrong" not in answer.text.split("<main")[1].replace("not the admin token", "")
    assert browser.get("/").status_code == 303
    count = ground.page.registry.get_sample_value("riverkeep_page_sign_ins_total", {"outcome": "wrong_token"})
    assert count is not None
    assert count >= 1


def test_guessing_is_slowed_down_also_for_the_right_token() -> None:
    """Whoever guesses could guess right."""
    page = PageInFront(FakeControl())
    browser = page.browser()
    for _ in range(FREE):
        assert browser.sign_in("wrong").status_code == 403
    late = browser.sign_in()
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) >= 1
    assert page.registry.get_sample_value("riverkeep_page_sign_ins_total", {"outcome": "too_soon"}) == 1


def test_each_further_guess_waits_longer() -> None:
    """Up to a minute; an address that sent the right token is as new, and so is one that was quiet."""
    clock = Clock()
    attempts = Attempts(clock)
    waits = []
    for _ in range(FREE + 8):
        clock.now += attempts.wait_s("here")
        attempts.failed("here")
        waits.append(attempts.wait_s("here"))
    assert waits[: FREE - 1] == [0] * (FREE - 1)
    assert waits[FREE - 1 :] == sorted(waits[FREE - 1 :])
    assert waits[-1] == LONGEST_WAIT_S
    assert attempts.wait_s("elsewhere") == 0
    attempts.succeeded("here")
    assert attempts.wait_s("here") == 0


def test_addresses_that_guessed_are_bounded() -> None:
    """The one that was quiet for the longest is let go of."""
    attempts = Attempts(Clock())
    for number in range(MOST_ADDRESSES + 1):
        for _ in range(FREE):
            attempts.failed(str(number))
    assert attempts.wait_s("0") == 0
    assert attempts.wait_s(str(MOST_ADDRESSES)) > 0


def test_sessions_end_by_age_by_rest_and_with_the_token() -> None:
    """Whichever comes first."""
    clock, token = Clock(), ["first"]
    sessions = Sessions(lambda: token[0], clock)
    idle, old, changed = sessions.begin("ada"), sessions.begin("ada"), sessions.begin("ada")
    began = clock.now
    while clock.now < began + LIFE_S:
        clock.now += IDLE_S / 2
        assert (sessions.find(old) is not None) is (clock.now <= began + LIFE_S)
        sessions.find(changed)
    assert sessions.find(idle) is None
    fresh = sessions.begin("ada")
    assert sessions.find(fresh) is not None
    token[0] = "second"
    assert sessions.find(fresh) is None
    assert not sessions.admits("first")


def test_sessions_are_bounded() -> None:
    """The one that was not used for the longest makes room."""
    clock = Clock()
    sessions = Sessions(lambda: TOKEN, clock)
    first = sessions.begin("ada")
    second = sessions.begin("ada")
    for _ in range(MOST - 1):
        clock.now += 1
        assert sessions.find(first) is not None
        sessions.begin("eve")
    assert len(sessions) == MOST
    assert sessions.find(second) is None
    assert sessions.find(first) is not None


def test_a_changed_token_signs_everybody_out(ground: Ground) -> None:
    """As SIGHUP changes it: a token that leaked must not live on in sessions."""
    browser = ground.page.browser().signed_in()
    ground.page.token.text = "another"
    try:
        assert browser.get("/").status_code == 303
    finally:
        ground.page.token.text = TOKEN


def test_signing_out_ends_the_session_itself(ground: Ground) -> None:
    """Not its cookie alone."""
    browser = ground.page.browser().signed_in()
    cookies = dict(browser.client.cookies)
    token = browser.form_token("/rounds")
    assert browser.send("/sign-out", {"form_token": token}).status_code == 303
    browser.client.cookies.update(cookies)
    assert browser.get("/").status_code == 303


def test_the_token_itself_opens_a_page_too(ground: Ground) -> None:
    """For who has no cookies: `curl -H 'Accept: text/html'`."""
    answer = ground.page.browser().get("/rounds/1", authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 200
    assert "Round 1" in answer.text


def test_programs_get_what_they_got(ground: Ground) -> None:
    """JSON with the token, 401 without, whatever stands beside it for people."""
    client = ground.page.browser().client
    assert client.get("/rounds").status_code == 401
    rows = client.get("/rounds", headers={"authorization": f"Bearer {TOKEN}"}).json()
    assert [row["number"] for row in rows] == [4, 3, 2, 1]
    assert client.get("/metrics", headers=HTML).headers["content-type"].startswith("text/plain")


def test_a_page_with_a_line_end_behind_it_is_none(ground: Ground, reader: Browser) -> None:
    """Patterns of routes let one pass; what is decided by comparing addresses would not know it."""
    for path in ("/memory%0A", "/static/style.css%0A", "/sign-in%0A", "/metrics%0A"):
        assert reader.get(path).status_code == ground.page.browser().get(path).status_code == 401


def test_a_browser_that_is_signed_in_may_look_at_json(ground: Ground, reader: object) -> None:
    """Of the same address; but a cookie changes nothing there."""
    browser = ground.page.browser().signed_in()
    assert browser.get("/rounds/1?format=json").json()["number"] == 1
    assert browser.client.get("/status", headers={"accept": "application/json"}).json()["running"] is True
    assert browser.client.post("/rounds/pause", json={}).status_code == 401
    assert ground.here.store.rounds.paused() is None


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, {}),
        ({"form_token": "x"}, {}),
        ({"form_token": "é"}, {}),
        ({"form_token": "its own"}, {"sec-fetch-site": "cross-site"}),
        ({"form_token": "its own"}, {"sec-fetch-site": "same-site"}),
    ],
)
def test_a_form_that_no_page_of_ours_sent_does_nothing(
    ground: Ground, fields: dict[str, str], headers: dict[str, str]
) -> None:
    """Whatever cookie comes with it."""
    browser = ground.page.browser().signed_in()
    sent = {"step": "do", **fields}
    if sent.get("form_token") == "its own":
        sent["form_token"] = browser.form_token("/rounds")
    assert browser.send("/act/pause_rounds", sent, **headers).status_code == 403
    assert ground.here.store.rounds.paused() is None


def test_another_site_signs_nobody_in(ground: Ground) -> None:
    """Whoever is signed in as somebody else would act in their name."""
    browser = ground.page.browser()
    assert browser.send("/sign-in", {"token": TOKEN, "form_token": "x"}).status_code == 403
    fields = {"form_token": browser.form_token(), "token": TOKEN}
    assert browser.send("/sign-in", fields, **{"sec-fetch-site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    "address", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "/a\r\nb", "/" * 3000]
)
def test_signing_in_leads_nowhere_else(address: str) -> None:
    """Whatever a link says."""
    assert local_address(address) == "/"


def test_a_link_in_a_message_opens_the_page_that_it_names(ground: Ground) -> None:
    """Browsers send no cookie with it; asked for once more, by a page from here, they do."""
    browser = ground.page.browser()
    once_more = browser.get("/rounds/1", **{"sec-fetch-site": "cross-site"})
    assert once_more.status_code == 200
    assert 'http-equiv="refresh" content="0"' in once_more.text
    assert browser.get("/rounds/1").headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"a=" + b"b" * 100_000, "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(1000)), "application/x-www-form-urlencoded", 400),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 403),
    ],
)
def test_what_is_no_form_is_refused(ground: Ground, content: bytes, kind: str, status: int) -> None:
    """With a sentence, not with a traceback."""
    browser = ground.page.browser()
    answer = browser.client.post("/sign-in", content=content, headers={**HTML, "content-type": kind})
    assert answer.status_code == status


def test_files_are_kept_for_good_under_their_version_alone(ground: Ground) -> None:
    """So that an upgrade shows at once."""
    browser = ground.page.browser()
    page = browser.get("/sign-in").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert "immutable" in browser.get(address).headers["cache-control"]
    assert browser.get("/static/page.css").headers["cache-control"] == "no-cache"
    assert browser.get("/static/../app.py").status_code in (303, 404)
    assert browser.get("/static/nothing.css").status_code == 404
