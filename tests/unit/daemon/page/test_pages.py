"""What pages show, and what can be done on them."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from markupsafe import escape

from daemon.control.how_it_stands import how_it_stands
from daemon.page.actions import ACTIONS
from daemon.page.pages import PAGES
from daemon.page.rendering import figure as shown_figure
from memory.errors import StoreBusy
from memory.ledger import aside
from streams.document import Batch, Document, Partition
from tests.unit.daemon.page.browsers import TOKEN, Browser
from tests.unit.daemon.page.conftest import Ground

ADDRESSES = sorted(
    {
        page.path.replace("{number}", "2" if page.path.startswith("/generations") else "4").replace("{other}", "1")
        for page in PAGES
    }
)


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of that name."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_is_whole(reader: Browser, address: str) -> None:
    """One heading, landmarks, a way past the frame, captions, heads with a scope, nothing inline, nothing from afar."""
    answer = reader.get(address)
    assert answer.status_code == 200
    page = Outline(answer.text)
    assert len(page.all("h1")) == 1
    assert all(len(page.all(landmark)) == 1 for landmark in ("main", "nav", "header", "footer"))
    assert page.all("a")[0] == {"class": "skip", "href": "#main"}
    assert len([tab for tab in page.all("a") if tab.get("aria-current") == "page"]) == 1
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in head for head in page.all("th"))
    assert page.all("style") == []
    assert all(script.get("src") for script in page.all("script"))
    assert not any(
        "style" in attributes or any(name.startswith("on") for name in attributes) for _, attributes in page.tags
    )
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for where in ("href", "src", "action"):
            assert (attributes.get(where) or "/").startswith(("/", "#"))


def test_every_form_has_its_token(reader: Browser) -> None:
    """Of every page, and of every page that asks; not what is asked for with an address, where it would be read."""
    asking = [f"/act/{name}?number=4&round=4" for name in ACTIONS]
    for address in [*ADDRESSES, *asking]:
        text = reader.get(address).text
        sent = [form for form in re.findall("<form.*?</form>", text, re.DOTALL) if 'method="post"' in form]
        assert all(len(re.findall('name="form_token" value="[^"]{20,}"', form)) == 1 for form in sent)
        assert text.count("form_token") == len(sent) > 0


def test_the_first_page_says_what_the_status_says(ground: Ground, reader: Browser) -> None:
    """Number by number."""
    facts, text = ground.control.status(), reader.get("/").text
    assert f"generation {facts['serving']['generation']} serves" in text
    assert facts["memory"] is not None
    assert f"{facts['memory']['fresh_samples']:,} fresh" in text
    assert facts["waiting"] == [4]
    assert "Round 4 waits for your word" in text
    waiting = sum(need.waits for need in how_it_stands(facts).needs)
    assert f'<span class="badge">{waiting}<' in text


def test_the_first_page_says_what_a_part_says_that_works(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic that is missing beside others that come; and what begins is not shown as broken."""
    told = {
        "ingest": {"ok": True, "detail": "<b>nwes</b> cannot be read", "state": "running"},
        "serving": {"ok": False, "detail": "it loads", "state": "starting"},
        "rounds": {"ok": True, "detail": "running", "state": "running"},
    }
    status = ground.control.status() | {"parts": told}
    monkeypatch.setattr(type(ground.control), "status", lambda _: status)
    text = reader.get("/").text
    parts = re.findall(r'<span class="part"><span class="dot (\w+)"[^>]*></span>(.*?)</span> ', text)
    assert [level for level, _ in parts] == ["good", "idle", "good"]
    assert [re.sub("<[^>]*>", "", words) for _, words in parts] == [
        "ingest (&lt;b&gt;nwes&lt;/b&gt; cannot be read)",
        "serving (it loads)",
        "rounds",
    ]


def test_a_round_shows_each_criterion_of_its_verdict(ground: Ground, reader: Browser) -> None:
    """With figure, bound, limits and the word on it."""
    answer, text = ground.control.round(1), reader.get("/rounds/1").text
    checks = answer["verdict"]["checks"]
    assert checks
    for check in checks:
        for figure in (check["figure"], check["bound"]):
            assert f"{figure:.3f}".replace("-0.000", "0.000").replace("-", "−") in text
    assert text.count('class="interval') == len(checks)
    assert str(ground.here.rooms.round_dir(1)) in text
    told = ground.control.explain_round(1)
    for sentence in (*told["began"], *told["ended"]):
        assert str(escape(sentence.rstrip(".")))[1:] in text
    for each in ground.control.round_samples(1, limit=1)["sources"]:
        assert f"{each['samples']:,}" in text


def test_what_flipped_is_masked_until_asked_for_and_asking_is_noted(ground: Ground, reader: Browser) -> None:
    """Documents and figures are the operation's; who looked at text stands in the audit log."""
    answer = ground.control.flips(2, text=True)
    assert answer["worse"] == answer["documents"] > 0
    before = ground.control.audit(limit=1)[0]["id"]
    masked = reader.get("/rounds/2/flips").text
    assert ground.control.audit(limit=1)[0]["id"] == before
    assert f"Worse than before: {answer['worse']:,}" in masked
    assert f"{answer['documents']:,} held-out documents" in masked
    assert 'href="/rounds/2/flips"' in reader.get("/rounds/2").text
    assert 'href="/rounds/2/flips"' in reader.get("/knowledge").text
    shown = ground.page.browser().signed_in("zoë").get("/rounds/2/flips?text=1").text
    line = ground.control.audit(limit=1)[0]
    assert (line["who"], line["what"]) == ("zoë, by the page", "flips")
    assert line["detail"] == {"number": 2, "limit": 20, "text": True}
    assert [int(number) for number in re.findall('id="document-([0-9]+)"', masked)] == [
        document["id"] for document in answer["worst"]
    ]
    for document in answer["worst"]:
        sample = document["sample"]
        assert sample is not None
        assert str(escape(sample["text"])) in shown
        assert sample["text"] not in masked
        figures = f"{document['before']:.3f} → <strong>{document['after']:.3f}</strong>"
        assert figures in masked
    assert "No candidate of this round was scored" in reader.get("/rounds/4/flips").text
    assert reader.get("/rounds/99/flips").status_code == 404
    sent = reader.client.get("/rounds/2/flips?format=json&limit=3", headers={"accept": "text/html"}).json()
    assert sent == ground.control.flips(2, limit=3)


def test_a_generation_says_what_it_learned_and_what_came_of_it(ground: Ground, reader: Browser) -> None:
    """Offsets round by round, the line that led to it, rounds that began from it; as the operation has it."""
    answer, text = ground.control.generation(1), unescape(reader.get("/generations/1").text)
    assert (answer["lineage"], answer["children"]) == ([0, 1], [2])
    assert [(each["round"], each["state"], each["generation"]) for each in answer["attempts"]] == [
        (3, "accepted", 2),
        (2, "refused", None),
    ]
    (step,) = answer["learned"]["steps"]
    (name, (first, last)), *_ = ground.control.round(1)["offsets"].items()
    assert step["offsets"][name] == [first, last]
    assert f"{name}</bdi></dt><dd>offsets {first:,} to {last:,}" in text
    assert '<dt>Came of</dt><dd><a href="/generations/0">0</a></dd>' in text
    assert '<a href="/rounds/2">2</a></th><td><span class="dot care"' in text
    assert answer["recipe"] == dict(ground.here.store.rounds.read(1).recipe) | {"parent_share": 0.0}
    assert "<dt>kl</dt>" in text
    sent = reader.client.get("/generations/1?format=json", headers={"accept": "text/html"}).json()
    assert sent == answer
    assert reader.get("/generations/99").status_code == 404
    assert "it is the base" in reader.get("/generations/0").text


def test_rounds_that_made_no_generation_stand_in_the_tree(ground: Ground, reader: Browser) -> None:
    """At the generation that they began from, with the text that was new to them; each generation with its own."""
    page = unescape(reader.get("/generations").text)
    rows = re.findall(r'<tr[^>]* id="(generation|round)-([0-9]+)"[^>]*>(.*?)</tr>', page, re.DOTALL)
    assert [(kind, int(number)) for kind, number, _ in rows] == [
        ("round", 4),
        ("generation", 2),
        ("round", 2),
        ("generation", 1),
        ("generation", 0),
    ]
    for kind, number, row in rows:
        if (kind, number) == ("generation", "0"):
            continue
        round_ = ground.control.round(int(number) if kind == "round" else {1: 1, 2: 3}[int(number)])
        if kind == "round":
            assert f'href="#generation-{round_["parent"]}"' in row
            assert round_["state"] in row
        for name, (first, last) in round_["offsets"].items():
            assert f"<bdi>{name}</bdi>: {first:,} to {last:,}" in row


def test_two_generations_stand_beside_each_other(ground: Ground, reader: Browser) -> None:
    """By a form, or by the address itself; each figure is the operation's."""
    asked = reader.get("/generations/diff?first=1&second=2")
    assert (asked.status_code, asked.headers["location"]) == (303, "/generations/1/diff/2")
    assert reader.get("/generations/diff?first=x&second=2").status_code == 404
    assert reader.get("/generations/1/diff/99").status_code == 404
    assert reader.get("/generations/1/diff/x").status_code == 404
    answer, text = ground.control.diff_generations(1, 2), reader.get("/generations/1/diff/2").text
    assert "Generation 2 came of generation 1." in text
    learned = answer["of_second"]
    assert f"{learned['samples']:,} new samples, about {learned['tokens']:,} tokens" in text
    for side in (answer["first"], answer["second"]):
        assert f"<code>{side['digest']}</code>" in text
        assert side["bytes"] is None or f"{side['bytes']:,} bytes" in text
    cells = re.findall(r"<tr><th scope=\"row\"><bdi>([^<]+)</bdi></th>(.*?)</tr>", text, re.DOTALL)
    rows = {name: re.findall(r"<td[^>]*>([^<]*)</td>", row) for name, row in cells}
    for row in answer["scores"]:
        shown = [shown_figure(row[name]) for name in ("first", "second", "change")]
        assert [part.strip().removeprefix("+") for part in rows[row["slice"]]] == shown
    assert any(row["change"] is not None for row in answer["scores"])
    assert 'href="/generations/1/diff/2"' in reader.get("/generations").text
    sent = reader.client.get("/generations/1/diff/2?format=json", headers={"accept": "text/html"}).json()
    assert sent == answer


def test_who_reads_held_text_is_noted(ground: Ground, reader: Browser) -> None:
    """As of what flipped; who looks at the list alone is not."""
    before = ground.control.audit(limit=1)[0]["id"]
    assert "characters, masked" in reader.get("/aside/4?worst=1").text
    assert ground.control.audit(limit=1)[0]["id"] == before
    reader.get("/aside/4?worst=1&text=1")
    line = ground.control.audit(limit=1)[0]
    assert (line["who"], line["what"], line["detail"]["number"]) == ("ada, by the page", "aside_text", 4)
    # As JSON in the same browser too; a program with the token says itself who asks.
    assert "text" not in reader.get("/aside/4?format=json&limit=1").json()["documents"][0]
    assert ground.control.audit(limit=1)[0]["id"] == line["id"]
    assert reader.get("/aside/4?format=json&limit=1&text=1").json()["documents"][0]["text"]
    later = ground.control.audit(limit=1)[0]
    assert (later["who"], later["id"] > line["id"]) == ("ada, by the page", True)
    headers = {"authorization": f"Bearer {TOKEN}", "x-riverkeep-by": "grace@host"}
    assert ground.page.browser().client.get("/aside/4?limit=1&text=1", headers=headers).status_code == 200
    assert ground.control.audit(limit=1)[0]["who"] == "grace@host"


def test_a_round_that_is_not_there_is_a_page_that_says_so(reader: Browser) -> None:
    """Not the interface's JSON."""
    answer = reader.get("/rounds/99")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert reader.get("/rounds/x").status_code == 404
    assert reader.get("/no-such-page").status_code == 404
    assert reader.get("/act/no_such_action").status_code == 404
    assert reader.get("/rounds?limit=x").status_code == 400


def test_what_is_done_is_asked_before_and_stands_in_the_audit_log(ground: Ground) -> None:
    """With who did it; the answer leads on, and says once what came of it."""
    browser = ground.page.browser().signed_in("zoë")
    asked = browser.get("/act/pause_rounds")
    assert "No round begins by itself" in asked.text
    assert ground.here.store.rounds.paused() is None
    done = browser.act("pause_rounds", reason="the GPU is lent out")
    assert (done.status_code, done.headers["location"]) == (303, "/")
    pause = ground.here.store.rounds.paused()
    assert pause is not None
    assert pause.reason == "the GPU is lent out"
    assert "Rounds are paused." in browser.get("/").text
    assert 'class="notice"' not in browser.get("/").text
    line = ground.control.audit(limit=1)[0]
    assert (line["who"], line["what"]) == ("zoë, by the page", "pause_rounds")
    assert browser.act("resume_rounds").status_code == 303
    assert ground.here.store.rounds.paused() is None


def test_what_is_refused_is_said_where_it_was_asked(ground: Ground, reader: Browser) -> None:
    """And stands in the log as refused."""
    answer = reader.act("approve_round", number="1")
    assert answer.status_code == 409
    assert "Round 1 does not wait for anybody" in answer.text
    assert ground.control.audit(limit=1)[0]["what"] == "approve_round_refused"
    assert reader.get("/act/drop_aside?round=4&source=nowhere").status_code == 404


def test_a_part_is_counted_before_it_is_erased(ground: Ground, reader: Browser) -> None:
    """By source in the address, by key in a form alone: a person's key must not stand in logs."""
    source = ground.control.aside()[0]["sources"][0]
    counted = ground.control.count_aside(4, source=source)
    asked = reader.get(f"/act/drop_aside?round=4&source={source}").text
    assert f"{counted['samples'] + counted['held_out']:,} of the {counted['of']:,} documents" in asked
    sent = {"form_token": reader.form_token("/rounds"), "round": "4", "key": "nobody"}
    assert reader.send("/act/drop_aside", sent).status_code == 404


def test_single_documents_are_ticked_and_decided_on(ground: Ground, reader: Browser) -> None:
    """What is ticked is asked for once more; nothing ticked is not all; of a round that waits nothing is let back."""
    ids = [document["id"] for document in ground.control.aside_text(4)["documents"]]
    text = reader.get("/aside/4").text
    assert [int(each) for each in re.findall('name="ids" value="([0-9]+)"', text)] == ids
    assert "/act/release_aside" not in text
    form = {"form_token": reader.form_token("/aside/4"), "round": "4", "chosen": "yes"}
    for step in ({}, {"step": "do"}):
        refused = reader.send("/act/drop_aside", form | step)
        assert refused.status_code == 400
        assert "Nothing is ticked" in refused.text
    asked = reader.send_pairs("/act/drop_aside", [*form.items(), *(("ids", str(id_)) for id_ in ids[:2])])
    assert f"2 documents, {ids[0]}, {ids[1]}, that round 4 set aside: erased for good." in asked.text
    assert f'name="ids" value="{ids[0]},{ids[1]}"' in asked.text
    assert f"riverkeep memory drop 4 --ids {ids[0]},{ids[1]}" in asked.text
    assert len(ground.control.aside_text(4)["documents"]) == len(ids)
    back = reader.act("release_aside", round="4", ids=str(ids[0]))
    assert back.status_code == 409
    assert "waits: erase the part that is wrong" in back.text
    done = reader.act("drop_aside", round="4", ids=f"{ids[-1]}")
    assert done.status_code == 303
    left = [document["id"] for document in ground.control.aside_text(4, limit=500)["documents"]]
    assert left[: len(ids) - 1] == ids[:-1]
    assert ids[-1] not in left
    assert ground.control.audit(limit=1)[0]["detail"]["ids"] == [ids[-1]]


HOSTILE = [
    '<script>alert(1)</script><img src=x onerror="alert(2)"> & "quotes" \'single\'',
    "مرحبا بالعالم שלום \u202eevil\u202c \x00\x1b[31m \ud800",
    "x" * 1_000_000,
]


@pytest.fixture
def hostile(ground: Ground) -> Any:
    """Documents, sources and keys as an enemy writes them, set aside by round 4."""
    store, partition = ground.here.store, Partition("<b>topic</b>", 0)
    documents = tuple(
        Document(text, "<i>source</i>", f"key-{number}", None, None, 0.0, partition, number)
        for number, text in enumerate(text.encode("utf-8", "replace").decode() for text in HOSTILE)
    )
    store.append(Batch(documents, (), (), {partition: len(documents)}))
    with store.file.database.write() as tx:
        found = tx.execute(
            "SELECT s.id FROM samples s JOIN sources o ON o.id = s.source WHERE o.name = '<i>source</i>'"
        )
        ids = [row[0] for row in found]
        aside.set_aside(tx, ids, round_number=4, reason="<u>why</u>", now=0.0)
    return ids


def test_text_from_outside_is_text_and_nothing_else(ground: Ground, reader: Browser, hostile: list[int]) -> None:
    """Escaped, isolated, cut, and masked until somebody asks for it."""
    masked = reader.get("/aside/4?worst=1&limit=500").text
    assert "alert(1)" not in masked
    assert "characters, masked" in masked
    shown = reader.get("/aside/4?text=1&limit=500")
    assert "<script>alert" not in shown.text
    assert "<b>topic" not in shown.text
    assert "<i>source" not in reader.get("/needs").text
    assert "\u202e" not in shown.text
    assert len(shown.text) < 400_000
    assert "996,000 characters more" in shown.text
    assert "1,000,000 characters, masked" in masked


def test_text_that_flipped_is_text_and_nothing_else(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of what is set aside, in every field that others wrote."""
    answer = ground.control.flips(2, limit=3, text=True)
    for document, text in zip(answer["worst"], HOSTILE, strict=True):
        document["slice"] = "<b>topic</b>@1-1"
        document["answer_before"] = document["answer_after"] = "<b>topic</b>"
        assert document["sample"] is not None
        document["sample"] |= {
            "text": text,
            "source": "<i>source</i>",
            "label": "<b>topic</b>",
            "topic": "<b>topic</b>",
        }
    monkeypatch.setattr(type(ground.control), "flips", lambda *_, **__: answer)
    shown = reader.get("/rounds/2/flips?text=1").text
    for written in ("<script>alert", "<b>topic", "<i>source", "\u202e", "\x1b", "\x00"):
        assert written not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "996,000 characters more" in shown
    assert len(shown) < 100_000


def test_nothing_of_it_shows_where_there_is_a_wait(ground: Ground, reader: Browser) -> None:
    """A reason with markup, as from a person."""
    reader.act("pause_rounds", reason="<script>alert(3)</script>")
    try:
        for address in ("/", "/needs"):
            text = reader.get(address).text
            assert "&lt;script&gt;alert(3)" in text
            assert "<script>alert" not in text
    finally:
        reader.act("resume_rounds")


def test_what_was_done_is_said_by_the_page_that_is_opened(ground: Ground) -> None:
    """And not to a script that keeps another page current."""
    browser = ground.page.browser().signed_in()
    browser.act("pause_rounds")
    assert 'class="notice"' not in browser.get("/", **{"sec-fetch-mode": "cors"}).text
    assert 'class="notice"' in browser.get("/", **{"sec-fetch-mode": "navigate"}).text
    browser.act("resume_rounds")


def test_the_first_page_is_there_when_the_database_is_not(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where people look first then; pages that are made of it alone say why they cannot."""

    def away(*_: object, **__: object) -> None:
        raise StoreBusy("the disk is gone")

    browser = ground.page.browser().signed_in()
    monkeypatch.setattr(type(ground.control), "rounds", away)
    first, others = browser.get("/"), browser.get("/rounds")
    assert first.status_code == 200
    assert "They cannot be read now." in first.text
    assert others.status_code == 503
    assert "the disk is gone" in others.text
