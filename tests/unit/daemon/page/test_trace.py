"""The page that follows one record, or a person's, and what can be done from there."""

import json
import re
from html import unescape
from typing import Any

import pytest

from daemon.page.addresses import record_address, with_query
from memory.samples.records import KeyHash
from streams.document import Batch, DeadLetter, Document, Partition, Reason
from tests.unit.daemon.page.browsers import TOKEN, Browser
from tests.unit.daemon.page.conftest import Ground

TOPIC = '<script>alert(5)</script> "of" مرحبا \u202eevil'
PLACE = Partition(TOPIC, 3)
KEYS = ("user-77", '"user-77"', "k" * 1_000_000)


@pytest.fixture(scope="module")
def person(ground: Ground) -> KeyHash:
    """Records of a person whose key has two dresses, one of a key of 1 MB, and a dead letter that names the person."""
    store = ground.here.store
    documents = tuple(
        Document(
            f"<script>alert(6)</script> text {at} of somebody who writes a lot", "web", key, None, None, 5.0, PLACE, at
        )
        for at, key in enumerate(KEYS)
    )
    letter = DeadLetter(PLACE, 3, Reason.MISSING_FIELD, "no text", None, b'{"who": "user-77"}', 18, 5.0)
    store.append(Batch(documents, (letter,), (), {PLACE: 4}))
    return KeyHash(store.people.key_hash(KEYS[0]))


def by_key(browser: Browser, key: str) -> Any:
    """As the form sends it."""
    return browser.send("/trace/by-key", {"form_token": browser.form_token("/trace"), "key": key})


def programs(ground: Ground, path: str) -> Any:
    """As somebody with the token and without a browser asks."""
    client = ground.page.browser().client
    return client.get(path, headers={"authorization": f"Bearer {TOKEN}", "accept": "*/*"})


def test_a_record_is_followed_as_the_operation_follows_it(ground: Ground, reader: Browser) -> None:
    """Each sentence, round and amount is the answer's; one address is both, for people and for programs."""
    given = ground.control.round_samples(1, limit=1)["samples"][0]
    address = record_address(given["topic"], given["partition"], given["offset"])
    answer = ground.control.trace(given["topic"], given["partition"], given["offset"])
    page = reader.get(address)
    assert page.status_code == 200
    text, (record,) = unescape(page.text), answer["records"]
    assert record["detail"] in text
    for use in record["rounds"]:
        assert f'<a href="/rounds/{use["round"]}">Round {use["round"]}</a>: {use["detail"]}.' in text
    for number in record["generations"]:
        assert re.search(rf"Trained on it: generations?[^.]*\b{number}\b", text)
    for erasure in answer["erasures"]:
        assert f"<dt>Samples</dt><dd>{erasure['samples']:,}</dd>" in text
        assert all(path in text for path in erasure["directories"])
        assert f'href="/act/forget?key_hash={erasure["key_hash"]}"' in text
    assert reader.get(f"{address}&format=json").json() == answer
    assert programs(ground, address).json() == answer
    assert f"riverkeep trace {given['topic']} {given['partition']} {given['offset']}" in text


def test_what_is_not_known_is_said_beside_the_form(ground: Ground, reader: Browser) -> None:
    """With what was asked for still in it; a program gets the sentence as JSON, with the same status."""
    asked = with_query("/trace", {"topic": "<b>nowhere</b>", "partition": 0, "offset": 1})
    page = reader.get(asked)
    assert page.status_code == 404
    assert "Nothing was ever read of a topic" in page.text
    assert "&lt;b&gt;nowhere" in page.text
    assert "<b>nowhere" not in page.text
    answer = programs(ground, asked)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "UnknownThing")
    assert programs(ground, "/trace").json() == {"records": [], "next": None, "erasures": []}
    assert ground.page.browser().client.get("/trace").status_code == 401
    assert by_key(reader, "nobody-at-all").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "topic=news",
        "topic=news&partition=0",
        "topic=&partition=0&offset=0",
        "topic=news&partition=x&offset=0",
        "topic=news&partition=-1&offset=0",
        f"topic=news&partition=0&offset={2**63}",
        f"topic={'x' * 5_001}&partition=0&offset=0",
        "key_hash=xyz",
        "key_hash=0123456789abcdef&offset=1",
    ],
)
def test_what_names_no_one_thing_is_refused_with_a_sentence(ground: Ground, reader: Browser, query: str) -> None:
    """For people and programs alike."""
    assert reader.get(f"/trace?{query}").status_code == 400
    answer = programs(ground, f"/trace?{query}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "BadRequest")


def test_what_others_wrote_is_text_there_too(ground: Ground, reader: Browser, person: KeyHash) -> None:
    """In topics, texts and similar keys; masked until asked for; and its links lead where they say."""
    masked = reader.get(with_query("/trace", {"topic": TOPIC, "partition": 3, "offset": 0}))
    assert masked.status_code == 200
    assert "alert(6)" not in masked.text
    shown = reader.get(with_query("/trace", {"topic": TOPIC, "partition": 3, "offset": 0, "text": 1}))
    assert "&lt;script&gt;alert(6)" in shown.text
    line = ground.control.audit(limit=1)[0]
    assert (line["who"], line["what"]) == ("ada, by the page", "trace")
    for page in (masked, shown):
        assert "<script>alert" not in page.text
        # A field's value is what was asked for, to the letter; a browser shows it by itself.
        assert "\u202e" not in re.sub('<input id="topic"[^>]*>', "", page.text)
    link = re.search(r'<a href="(/trace\?topic=[^"]+offset=0)">', masked.text)
    assert link is not None
    assert reader.get(unescape(link[1])).status_code == 200


def test_a_person_is_asked_for_by_a_form_alone(ground: Ground, reader: Browser, person: KeyHash) -> None:
    """No link and no command on the page has the key; the address to keep has its hash; similar keys are told of."""
    page = by_key(reader, KEYS[0])
    assert page.status_code == 200
    links = re.findall(r'(?:href|action)="([^"]*)"', page.text)
    assert not any("user-77" in link for link in links)
    assert f"/trace?key_hash={person}" in links
    assert f"riverkeep trace --key-hash {person}" in page.text
    assert "in quotes" in page.text
    assert "What an erasure would touch" in page.text
    answer = ground.control.trace_key(KEYS[0])
    assert len(answer["records"]) == 2  # its sample, and the dead letter that names it
    assert page.text.count('<li class="card">') == 2
    by_hash = reader.get(f"/trace?key_hash={person}")
    assert by_hash.text.count('<li class="card">') == 1
    assert reader.get("/trace/by-key").headers["location"] == "/trace"
    assert by_key(reader, "").status_code == 400


def test_a_key_of_a_megabyte_is_followed_by_its_hash(ground: Ground, reader: Browser, person: KeyHash) -> None:
    """A form that large is refused, with what to do instead; the record's own page names the hash."""
    assert "by its hash" in by_key(reader, "k" * 3_000_000).text
    page = reader.get(record_address(TOPIC, 3, 2))
    hashed = KeyHash(ground.here.store.people.key_hash(KEYS[2]))
    assert f"/trace?key_hash={hashed}" in page.text
    assert len(page.text) < 40_000
    whole = by_key(reader, "k" * 700_000)
    assert whole.status_code == 404
    assert len(whole.text) < 40_000


def test_a_form_of_another_site_follows_nobody(ground: Ground, reader: Browser) -> None:
    """Whether somebody's text is kept is not told across sites."""
    assert reader.send("/trace/by-key", {"key": KEYS[0]}).status_code == 403
    fields = {"key": KEYS[0], "form_token": reader.form_token("/trace")}
    assert reader.send("/trace/by-key", fields, **{"sec-fetch-site": "cross-site"}).status_code == 403
    assert ground.page.browser().send("/trace/by-key", fields).status_code == 303


def test_an_erasure_says_what_it_will_erase_and_erases_that(ground: Ground, person: KeyHash) -> None:
    """As the dry run had it, by a form with the key; the log has its hash alone."""
    browser = ground.page.browser().signed_in("zoë")
    key = "user-to-erase"
    place, letter = Partition("erasures", 0), b'{"id": "user-to-erase"}'
    documents = (Document("what somebody wrote and wants to be gone", "web", key, None, None, 5.0, place, 0),)
    letters = (DeadLetter(place, 1, Reason.MISSING_FIELD, "", None, letter, len(letter), 5.0),)
    ground.here.store.append(Batch(documents, letters, (), {place: 2}))
    form = {"form_token": browser.form_token("/trace"), "key": key}
    asked = browser.send("/act/forget", form)
    assert "1 samples, 1 dead letters and 0 of feedback are erased for good" in asked.text
    assert "riverkeep forget -" in asked.text
    assert ground.control.find(key)["samples"] == 1
    done = browser.send("/act/forget", {**form, "step": "do"})
    assert (done.status_code, done.headers["location"]) == (303, "/trace")
    assert "1 samples, 1 dead letters, 0 of feedback" in browser.get("/trace").text
    line = ground.control.audit(limit=1)[0]
    assert (line["who"], line["what"]) == ("zoë, by the page", "forget")
    assert key not in json.dumps(line)
    hashed = ground.here.store.people.key_hash(key)
    assert "already" in browser.get(f"/trace?key_hash={KeyHash(hashed)}").text
    again = browser.get(f"/act/forget?key_hash={KeyHash(hashed)}")
    assert f"riverkeep forget --key-hash {KeyHash(hashed)}" in again.text
    assert browser.get("/act/forget").status_code == 400


def test_records_on_other_pages_lead_here(ground: Ground, reader: Browser) -> None:
    """Text that was set aside, dead letters, the first and last of a round."""
    for address in ("/aside/4", "/dead-letters", "/dead-letters/1", "/rounds/1"):
        links = re.findall(r'href="(/trace\?topic=[^"]+)"', reader.get(address).text)
        assert links, address
        assert reader.get(unescape(links[0])).status_code == 200


def test_an_address_is_made_of_whatever_a_topic_is_called() -> None:
    """Also of a file whose name is no text."""
    assert record_address("a/b?c&d=é", 1, 2) == "/trace?topic=a%2Fb%3Fc%26d%3D%C3%A9&partition=1&offset=2"
    assert "topic=file%3A%3F" in record_address("file:\udcff", 0, 1)
