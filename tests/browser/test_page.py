"""The page in a real browser, before a service that has rounds behind it: figures, keyboard, contrast, a phone."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from daemon.control.how_it_stands import how_it_stands
from daemon.control.within_daemon import LiveControl
from daemon.page.pages import PAGES
from daemon.page.views.checks import check_rows
from tests.browser.conftest import Watched
from tests.browser.screenshots import TOKEN, sign_in
from tests.browser.story import Story

WAITS = 11
"""The round of the story that waits."""
TRACED = "/trace?topic=news&partition=0&offset=3"


def of(path: str) -> str:
    """The number that a page is opened with."""
    return "7" if path.startswith("/generations") else str(WAITS)


ADDRESSES = sorted(
    {
        *(page.path.replace("{number}/diff/{other}", "3/diff/7").replace("{number}", of(page.path)) for page in PAGES),
        "/rounds/4/flips",
        "/rounds/8/flips?text=1",
        TRACED,
    }
)
SERIOUS = ("serious", "critical")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ADDRESSES)
def test_nobody_is_shut_out(watched: Watched, path: str, scheme: Any) -> None:
    """No serious finding of axe, and no scrolling sideways on a phone, in either dress."""
    watched.page.emulate_media(color_scheme=scheme)
    watched.page.set_viewport_size({"width": 375, "height": 800})
    page = watched.open(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found if each["impact"] in SERIOUS] == []


def test_the_sentence_and_the_lights_are_those_of_the_status(watched: Watched, control: LiveControl) -> None:
    """Word for word."""
    stands, page = how_it_stands(control.status()), watched.open("/")
    assert page.locator("h1").inner_text() == stands.sentence
    lights = page.locator(".lights li")
    assert lights.locator(".label").all_inner_texts() == [light.name.capitalize() for light in stands.lights]
    for light, word in zip(stands.lights, lights.locator(".word").all_inner_texts(), strict=True):
        # The free disk may change between two looks.
        assert light.name == "disk" or word.endswith(light.word)


def test_rounds_are_those_of_the_ledger(watched: Watched, control: LiveControl) -> None:
    """Each with its number, what it came to, and how much it was given."""
    rows = watched.open("/rounds").locator("tbody tr")
    lines = control.rounds()
    assert rows.count() == len(lines)
    for row, line in zip(rows.all_inner_texts(), lines, strict=True):
        cells = row.split("\t")
        assert cells[0].strip() == str(line["number"])
        assert cells[1].endswith(line["outcome"].replace("_", " "))
        assert cells[4].strip() == f"{line['fresh_samples']:,}"
        assert cells[5].strip() == f"{line['replay_samples']:,}"


def test_criteria_are_those_of_the_verdict(watched: Watched, control: LiveControl) -> None:
    """With figure, bound and verdict; drawn once each."""
    rows = watched.open("/rounds/4").locator("#gate tbody tr")
    checks = check_rows(control.round(4)["verdict"])
    assert rows.count() == len(checks)
    for row, check in zip(rows.all(), checks, strict=True):
        cells = [text.strip() for text in row.locator("td").all_inner_texts()]
        assert check.figure is not None
        assert check.bound is not None
        assert float(cells[2].replace("−", "-")) == pytest.approx(check.figure, abs=6e-4)
        assert float(cells[3].replace("−", "-")) == pytest.approx(check.bound, abs=6e-4)
        assert cells[-1].endswith("kept" if check.passed else "missed")
        assert row.locator("svg.interval").count() == 1


def test_text_is_masked_until_asked_for_and_worst_first(watched: Watched, control: LiveControl) -> None:
    """The documents and their losses are the operation's."""
    page = watched.open(f"/aside/{WAITS}?worst=1")
    documents = control.aside_text(WAITS, worst=True, text=True)["documents"]
    assert page.locator(".documents > li").count() == len(documents)
    assert page.locator(".documents .text").count() == 0
    page.get_by_role("link", name="Show the text").click()
    shown = page.locator(".documents > li")
    assert shown.nth(0).locator(".text").inner_text() == documents[0]["text"]
    loss = documents[0]["loss"]
    assert loss is not None
    assert f"loss {loss:.2f}" in shown.nth(0).inner_text()


def test_what_flipped_is_what_the_report_says(watched: Watched, control: LiveControl) -> None:
    """Worst first, with the losses of both; its text once it is asked for."""
    answer = control.flips(4, text=True)
    assert answer["worse"] > len(answer["worst"]) > 0
    page = watched.open("/rounds/4")
    page.get_by_role("link", name="which ones").press("Enter")
    expect(page.locator("h1")).to_have_text("What flipped in round 4")
    shown = page.locator(".documents.worse > li")
    assert shown.count() == len(answer["worst"])
    assert page.locator(".documents .text").count() == 0
    page.get_by_role("link", name="Show the text").press("Enter")
    expect(page.locator(".documents.worse .text")).to_have_count(len(answer["worst"]))
    for row, document in zip(shown.all(), answer["worst"], strict=True):
        words = row.inner_text()
        assert document["sample"] is not None
        assert document["before"] is not None
        assert document["after"] is not None
        assert document["sample"]["text"] in words
        assert f"loss {document['before']:.3f} → {document['after']:.3f}" in words


def _ask_both(page: Page) -> None:
    """Fill in the form with the keyboard alone, blind."""
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.type("Tonight the <b>river</b>")
    page.get_by_label(re.compile("Blind")).press("Space")
    page.get_by_role("button", name="Ask both").press("Enter")
    expect(page.get_by_role("status")).to_have_text("Both answer in turn.")


@pytest.mark.parametrize("scripts", [True, False])
def test_two_answers_are_awaited_and_picked_from_blind(
    browser: Browser, service: tuple[str, Story], scripts: bool
) -> None:
    """With the keyboard alone, on a phone, with JavaScript and without: the page goes on by itself."""
    context, answers = browser.new_context(java_script_enabled=scripts), service[1].answers
    page = context.new_page()
    page.set_viewport_size({"width": 375, "height": 800})
    sign_in(page, service[0])
    answers.may_answer.clear()
    page.goto(f"{service[0]}/comparisons")
    _ask_both(page)
    if scripts:
        found = Axe().run(page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in SERIOUS] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
    answers.may_answer.set()
    expect(page.locator(".columns h2")).to_have_text(["Left answer", "Right answer"], timeout=20_000)
    assert "Generation 7" not in page.locator("main").inner_text()
    page.get_by_role("button", name="The right one").press("Enter")
    expect(page.locator(".columns h2")).to_have_text([re.compile(r"Generation \d+")] * 2)
    expect(page.get_by_role("status")).to_contain_text("answer better.")
    answer = service[1].control().comparison(int(page.url.rpartition("/")[2]))
    assert answer["picked"] == "right"
    assert page.locator(".columns .text").all_inner_texts() == [line["text"] for line in answer["answers"]]
    context.close()


def test_a_record_is_traced_by_a_form_without_javascript(browser: Browser, service: tuple[str, Story]) -> None:
    """From an empty page to its text, with the keyboard alone; rounds and amounts are the operation's."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, service[0])
    page.goto(f"{service[0]}/trace")
    page.get_by_label("Topic").focus()
    for word in ("news", "0", "3"):
        page.keyboard.type(word)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(TRACED)))
    answer = service[1].control().trace("news", 0, 3, text=True)
    (record,), (erasure,) = answer["records"], answer["erasures"]
    assert page.locator(".documents .told").first.locator("a").all_inner_texts() == [
        f"Round {use['round']}" for use in reversed(record["rounds"])
    ]
    amounts = [f"{erasure['samples']:,}", f"{erasure['dead_letters']:,}", f"{erasure['feedback']:,}"]
    assert page.locator("#erasure dd").all_inner_texts()[:3] == amounts
    page.get_by_role("link", name="Show the text").press("Enter")
    assert record["sample"] is not None
    assert page.locator(".documents .text").inner_text() == record["sample"]["text"]
    context.close()


def test_documents_are_ticked_by_the_keyboard(watched: Watched, control: LiveControl) -> None:
    """With Space, and asked for once more by their numbers; left, nothing has happened."""
    before = control.aside()
    page = watched.open(f"/aside/{WAITS}?worst=1")
    chosen = [document["id"] for document in control.aside_text(WAITS, worst=True)["documents"]][:2]
    for id_ in chosen:
        page.get_by_label(f"Choose document {id_}", exact=True).press("Space")
    page.get_by_role("button", name="Erase the ticked ones…").press("Enter")
    expect(page.locator("main")).to_contain_text(f"2 documents, {chosen[0]}, {chosen[1]}, that round {WAITS} set aside")
    page.get_by_role("link", name="Leave it").press("Enter")
    expect(page).to_have_url(re.compile("/needs$"))
    assert control.aside() == before


def test_two_generations_are_compared_by_the_keyboard(watched: Watched, control: LiveControl) -> None:
    """What serves beside its parent, as the form has it; figures as the operation has them."""
    page = watched.open("/generations")
    page.get_by_label("beside generation").press("Enter")
    serving = control.generations()["serving"]
    assert serving is not None
    expect(page.locator("h1")).to_contain_text(f"beside generation {serving}")
    first, second = (int(part) for part in re.findall("[0-9]+", page.locator("h1").inner_text()))
    answer = control.diff_generations(first, second)
    rows = page.locator("table.scores tbody tr")
    assert rows.count() == len(answer["scores"])
    for row, score in zip(rows.all(), answer["scores"], strict=True):
        shown = [text.strip().replace("−", "-") for text in row.locator("td").all_inner_texts()]
        for figure, text in zip((score["first"], score["second"], score["change"]), shown, strict=True):
            assert (text == "–") if figure is None else float(text) == pytest.approx(figure, abs=6e-4)
    assert answer["of_second"]["samples"] > 0
    expect(page.locator("main")).to_contain_text(f"{answer['of_second']['samples']:,} new samples")


def test_signing_in_and_acting_take_no_mouse(browser: Browser, service: tuple[str, Story]) -> None:
    """From the sign-in to a round that is paused and resumed, with Tab and Enter, without JavaScript."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{service[0]}/rounds/4")
    # The browser puts the cursor there by itself, on a busy machine later than the page is there.
    expect(page.get_by_label("Admin token")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Tab")
    page.keyboard.type("grace")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/rounds/4$"))
    page.goto(f"{service[0]}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("link", name="Pause rounds…").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Why, for those who look at the status").focus()
    page.keyboard.type("a look")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Rounds are paused.")
    line = service[1].control().audit(limit=1)[0]
    assert (line["who"], line["what"], line["detail"]) == ("grace, by the page", "pause_rounds", {"reason": "a look"})
    page.get_by_role("link", name="Resume rounds…").click()
    page.get_by_role("button", name="Resume rounds").press("Enter")
    expect(page.get_by_role("status")).to_have_text("Rounds begin by themselves again.")
    context.close()


def test_what_happens_shows_without_a_reload(watched: Watched, service: tuple[str, Story]) -> None:
    """By an event; what somebody has opened stays as it is."""
    page = watched.open("/")
    with page.expect_response(lambda response: "/live?since=" in response.url):
        page.reload()
    store = service[1].rooms.store
    store.rounds.pause("somebody looks")
    try:
        expect(page.locator("#needs")).to_contain_text("Rounds are paused: somebody looks", timeout=20_000)
    finally:
        store.rounds.resume()
    expect(page.locator("#needs")).not_to_contain_text("Rounds are paused", timeout=20_000)
