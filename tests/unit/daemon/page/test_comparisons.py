"""The page of two generations on one prompt: form, waiting, answers, and what is hidden until one is picked."""

import re
from collections.abc import Iterator

import pytest
from markupsafe import escape

from daemon.control.answers.comparisons import ComparisonAnswer
from daemon.page.views.comparisons import comparison_view
from serving.comparison.exchange import LabelShare
from tests.answering import WORDS, AnswersAtHand, desk
from tests.harness import wait_until
from tests.unit.daemon.control.test_within_daemon import live_control
from tests.unit.daemon.fakes import FakeControl
from tests.unit.daemon.page.browsers import TOKEN, Browser, PageInFront
from tests.unit.daemon.page.conftest import COMPARED, Ground
from tests.unit.daemon.page.test_pages import Outline

PROMPT = "<script>alert(8)</script>\r\n\u202eThe river"
ASKED = {"prompt": PROMPT, "first": "0", "second": "2", "max_tokens": "9"}


class Comparing:
    """Somebody before the page of a control whose answers are at hand."""

    def __init__(self, ground: Ground, *, swaps: bool = False) -> None:
        self.answers = AnswersAtHand()
        self.control = live_control(ground.here, compared=desk(self.answers, number=700, swaps=swaps))
        self.browser = PageInFront(self.control, ground.here.store).browser().signed_in("zoë")

    def begin(self, **fields: str) -> str:
        """Send the form; where it leads."""
        token = self.browser.form_token("/comparisons")
        answer = self.browser.send("/compare/begin", {"form_token": token, **ASKED, **fields})
        assert answer.status_code == 303
        return str(answer.headers["location"])

    def answered(self, **fields: str) -> str:
        """Begin one; where it has answered."""
        place = self.begin(**fields)
        wait_until(lambda: self.control.comparison(int(place.rpartition("/")[2]))["answers"], what="both answers")
        return place


@pytest.fixture(scope="module")
def open_(ground: Ground) -> Iterator[Comparing]:
    """Who asks."""
    comparing = Comparing(ground)
    with comparing.control._compared:
        yield comparing


def test_a_form_asks_two_generations_and_their_answers_stand_side_by_side(open_: Comparing) -> None:
    """Escaped, with the model's own words harmless; the same as JSON at the same address."""
    open_.answers.words[2] = "<script>alert(9)</script>\u202e\x1b[2J"
    place = open_.answered(temperature="0,5", seed="7", chat="yes")
    assert place == "/comparisons/700"
    asked = open_.answers.asked
    assert asked is not None
    assert (asked.prompt, asked.chat, asked.max_tokens) == (PROMPT.replace("\r\n", "\n"), True, 9)
    assert (asked.temperature, asked.seed) == (0.5, 7)
    text = open_.browser.get(place).text
    assert re.findall(r'<h2 id="answer-\d">([^<]*)<', text) == ["Generation 0", "Generation 2"]
    assert "<script>alert" not in text
    assert str(escape("<script>alert(9)</script>\\u202e\\x1b[2J")) in text
    assert str(escape("<script>alert(8)</script>")) in text
    assert "tokens drawn at temperature 0.5, seed 7" in text
    assert "7,002 tokens; 9502.0 s to answer" in text
    assert "/compare/pick" not in text
    told = open_.browser.client.get(place, headers={"authorization": f"Bearer {TOKEN}"}).json()
    assert told == open_.control.comparison(700)
    assert [line["generation"] for line in told["answers"]] == [0, 2]


def test_while_they_answer_the_page_asks_for_itself(open_: Comparing) -> None:
    """With and without JavaScript; who comes second is told when to come again, with what they wrote."""
    open_.answers.may_answer.clear()
    place = open_.begin()
    page = Outline(open_.browser.get(place).text)
    assert [each for each in page.all("meta") if each.get("http-equiv") == "refresh"] != []
    assert "noscript" in [name for name, _ in page.tags]
    assert len([each for _, each in page.tags if "data-again" in each]) == 1
    token = open_.browser.form_token("/comparisons")
    second = open_.browser.send("/compare/begin", {"form_token": token, **ASKED, "blind": "yes"})
    assert (second.status_code, second.headers["retry-after"]) == (429, "5")
    assert "Another comparison is under way" in second.text
    assert str(escape("<script>alert(8)</script>")) in second.text
    assert 'name="blind" value="yes" checked' in second.text
    number = place.rpartition("/")[2]
    off = open_.browser.send("/compare/cancel", {"form_token": token, "number": number})
    assert off.headers["location"] == place
    assert "It was called off." in open_.browser.get(place).text
    again = open_.browser.send("/compare/cancel", {"form_token": token, "number": number})
    assert again.status_code == 409
    open_.answers.may_answer.set()
    assert "refresh" not in open_.browser.get(open_.answered()).text


def test_blind_nothing_on_the_page_or_in_its_json_tells_whose_an_answer_is(ground: Ground) -> None:
    """The two orders differ by where the texts stand and by nothing else; the pick tells, and is counted."""
    shown, json = [], []
    for swaps in (False, True):
        with (comparing := Comparing(ground, swaps=swaps)).control._compared:
            comparing.answers.may_answer.clear()
            place = comparing.begin(blind="yes")
            waiting = comparing.browser.get(place).text
            comparing.answers.may_answer.set()
            wait_until(lambda: comparing.control.comparison(700)["answers"], what="answers")
            text = waiting + comparing.browser.get(place).text
            left, right = (WORDS[2], WORDS[0]) if swaps else (WORDS[0], WORDS[2])
            assert text.index(left) < text.index(right)
            hidden = text.replace(WORDS[0], "A").replace(WORDS[2], "A")
            shown.append(re.sub(r'(name="form_token" value=)"[^"]+"|<time.*?</time>|\d+ (ms|s) so far', "", hidden))
            sent = comparing.browser.get(f"{place}?format=json").text
            json.append(re.sub(r'"(seconds|begun_at)":[0-9.]+', "", sent.replace(WORDS[0], "A").replace(WORDS[2], "A")))
            token = comparing.browser.form_token(place)
            picked = comparing.browser.send("/compare/pick", {"form_token": token, "number": "700", "choice": "left"})
            assert picked.headers["location"] == place
            after = comparing.browser.get(place).text
            assert f"zoë, by the page found generation {2 if swaps else 0}&#39;s answer better." in after
            assert after.index("Generation 2</h2>" if swaps else "Generation 0</h2>") < after.index(left)
            once = comparing.browser.send("/compare/pick", {"form_token": token, "number": "700", "choice": "right"})
            assert once.status_code == 409
    assert shown[0] == shown[1]
    assert json[0] == json[1]
    (tally,) = [line for line in ground.control.picks() if (line["first"], line["second"]) == (0, 2)]
    assert (tally["first_better"], tally["second_better"], tally["people"]) == (1, 1, 1)
    assert '<th scope="row" class="nowrap">0 and 2</th><td class="n">1</td><td class="n">1</td>' in (
        ground.page.browser().signed_in().get("/comparisons").text
    )
    lines = [line for line in ground.control.audit(limit=20) if line["what"] in ("compare", "picked")]
    assert [line["detail"].get("won", "asked") for line in lines[:4]] == [2, "asked", 0, "asked"]
    assert {line["who"] for line in lines[:4]} == {"zoë, by the page"}
    assert "river" not in str(lines)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"first": "x"}, "`first` must be a whole number"),
        ({"first": "2"}, "name two"),
        ({"first": "99"}, "no generation 99"),
        ({"temperature": "warm"}, "`temperature` must be a number"),
        ({"temperature": "nan"}, "temperature"),
        ({"max_tokens": "0"}, "max_tokens"),
        ({"seed": "-1"}, "`seed` must be a whole number"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_said_beside_what_was_written(
    open_: Comparing, fields: dict[str, str], says: str
) -> None:
    """With an error's status, and the form as it was."""
    token = open_.browser.form_token("/comparisons")
    answer = open_.browser.send("/compare/begin", {"form_token": token, **ASKED, **fields})
    assert answer.status_code in (400, 404)
    assert says in answer.text.partition('role="alert">')[2].partition("</p>")[0].replace("&#39;", "'")
    assert f'value="{fields.get("second", "2")}"' in answer.text


@pytest.mark.parametrize("where", ["begin", "pick", "cancel"])
def test_nobody_elses_page_and_no_stranger_can_ask(open_: Comparing, ground: Ground, where: str) -> None:
    """Without the session's form token, from another site, or signed out: nothing begins, and nothing is picked."""
    before = len(ground.control.audit(limit=500))
    fields = {**ASKED, "number": str(COMPARED), "choice": "left"}
    assert open_.browser.send(f"/compare/{where}", fields).status_code == 403
    token = open_.browser.form_token("/comparisons")
    away = open_.browser.send(f"/compare/{where}", {"form_token": token, **fields}, **{"sec-fetch-site": "cross-site"})
    assert away.status_code == 403
    stranger = ground.page.browser().send(f"/compare/{where}", fields)
    assert (stranger.status_code, stranger.headers["location"]) == (303, "/sign-in")
    assert open_.browser.get(f"/compare/{where}").status_code == 405
    assert len(ground.control.audit(limit=500)) == before


def test_the_form_is_filled_in_with_what_led_to_it(reader: Browser, ground: Ground) -> None:
    """The serving generation and its parent, or the two that other pages name."""
    serving = ground.here.store.generations.serving()
    assert f'name="second" type="number" inputmode="numeric" min="0" required list="numbers" value="{serving}"' in (
        reader.get("/comparisons").text
    )
    text = reader.get("/comparisons?first=2&second=0").text
    assert re.findall(r'name="(?:first|second)"[^>]* value="(\d)"', text) == ["2", "0"]
    assert 'formaction="/comparisons"' in reader.get("/generations").text
    assert 'href="/comparisons?first=2&amp;second=1"' in reader.get("/generations/2/diff/1").text
    gone = reader.get("/comparisons/123456")
    assert gone.status_code == 404
    assert "kept for an hour" in gone.text


def test_labels_are_shown_with_their_probabilities(open_: Comparing) -> None:
    """Of a classifier; escaped, and the most probable ones alone."""
    shares = (LabelShare(label="<b>flood</b>", probability=0.9), LabelShare(label="calm", probability=0.1))
    open_.answers.labels = {0: shares, 2: shares * 7}
    text = open_.browser.get(open_.answered()).text
    assert text.count(str(escape("<b>flood</b>"))) == 1 + 6
    assert "90.0%" in text
    assert "2 less probable ones are not shown" in text
    assert "Both answered the same" not in text
    open_.answers.labels = {}


def test_both_answering_the_same_is_said() -> None:
    """Who looks for a difference need not go on."""
    answer: ComparisonAnswer = FakeControl().comparison(7)
    assert not comparison_view(answer).is_same
    assert comparison_view({**answer, "answers": [answer["answers"][0]] * 2}).is_same
