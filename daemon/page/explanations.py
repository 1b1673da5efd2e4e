"""What will happen, in sentences, before it does: each of the control's own answers, number by number."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from daemon.control.answers.canaries import CanaryStanding
from daemon.control.answers.people import ErasedPerson
from daemon.control.protocol import Control
from daemon.errors import UnknownThing
from daemon.page.views.trace import seen_sentences
from daemon.span import span
from memory.samples.records import KeyHash

NAMED: Final = 12
"""Documents that a sentence names."""
WAITED: Final = "Rounds, which wait while one is watched, begin again."
Call = Mapping[str, Any]
"""The arguments of an operation, by name."""


def of_a_round(control: Control, _call: Call) -> list[str]:
    """A round that somebody asks for."""
    facts = control.status()
    fresh = 0 if facts["memory"] is None else facts["memory"]["fresh_samples"]
    when = "at once" if facts["round"] is None else f"when round {facts['round']['number']} has ended"
    return [
        f"A round begins {when}, whatever the triggers wait for; {fresh:,} samples are fresh.",
        "Its candidate serves only if the gate accepts it.",
    ]


def of_calling_off(control: Control, _call: Call) -> list[str]:
    """The round in progress that is called off."""
    progress = control.status()["round"]
    if progress is None:
        return ["No round is in progress. What was asked for and has not begun is taken back."]
    return [
        f"Round {progress['number']} ends without effect: what it has trained so far is lost.",
        "Its text stays fresh, and by itself none begins before the cool-down is over.",
    ]


def of_pausing(_control: Control, _call: Call) -> list[str]:
    """Rounds that are paused."""
    return [
        "No round begins by itself until somebody lets them, also across restarts. Text is read on.",
        "A round in progress goes on; one that a person asks for begins all the same.",
    ]


def of_resuming_rounds(_control: Control, _call: Call) -> list[str]:
    """Rounds that begin by themselves again."""
    return ["Rounds begin by themselves again, when what triggers them has come."]


def of_approving(control: Control, call: Call) -> list[str]:
    """The text of a round that waits, taken for plausible."""
    samples = _aside_of(control, call["number"])
    return [
        f"The text of round {call['number']} ({samples:,} samples) is taken for plausible, and a round trains on it.",
        "Whether its candidate forgot anything is judged all the same.",
    ]


def of_rejecting(control: Control, call: Call) -> list[str]:
    """The text of a round that waits, erased."""
    samples = _aside_of(control, call["number"])
    return [f"The {samples:,} samples of round {call['number']} are erased. The same content is not taken in again."]


def of_releasing(control: Control, call: Call) -> list[str]:
    """Text that was set aside, let back, or a part of it."""
    if call["ids"]:
        return [
            f"{_documents(call['ids'])} that round {call['number']} set aside: let back, each as it was.",
            "What is to be trained on is fresh again, what was held out is held out again. The rest stays aside.",
        ]
    samples = _aside_of(control, call["number"])
    return [f"{samples:,} samples are fresh again, and their held-out part is held out again."]


def of_dropping(control: Control, call: Call) -> list[str]:
    """Text that was set aside, erased, or a part of it. Raises UnknownThing for a part that there is none of."""
    number = call["number"]
    if call["ids"]:
        return [
            f"{_documents(call['ids'])} that round {number} set aside: erased for good. The rest stays aside.",
            "The same content is not taken in again.",
        ]
    if call["source"] is None and call["key"] is None:
        samples = _aside_of(control, number)
        return [f"All {samples:,} samples that round {number} set aside are erased. The same is not taken in again."]
    counted = control.count_aside(number, source=call["source"], key=call["key"])
    of = " and ".join(filter(None, (call["source"] and f"source {call['source']}", call["key"] and "that key")))
    matching = counted["samples"] + counted["held_out"]
    if not matching:
        raise UnknownThing(f"Round {number} has set nothing of {of} aside.")
    return [
        (
            f"{matching:,} of the {counted['of']:,} documents that round {number} set aside are of {of}: "
            f"{counted['samples']:,} to train on, {counted['held_out']:,} held out. They are erased."
        ),
        "The rest stays aside, to be approved or released. The same content is not taken in again.",
    ]


def _documents(ids: Sequence[int]) -> str:
    """These documents, as a sentence begins; of many the first."""
    named = ", ".join(map(str, ids[:NAMED])) + (", …" if len(ids) > NAMED else "")
    return f"{'Document' if len(ids) == 1 else f'{len(ids):,} documents,'} {named},"


def _aside_of(control: Control, number: int) -> int:
    """Samples that a round set aside. Raises UnknownThing where it has none."""
    for group in control.aside():
        if group["round"] == number:
            return group["samples"] + group["held_out"]
    raise UnknownThing(f"Round {number} has set nothing aside.")


def one_before(control: Control) -> int | None:
    """The generation that a rollback goes to which names none: what serves beside a canary, else its parent."""
    if (canary := control.status()["canary"]) is not None:
        return canary["beside"]
    answer = control.generations()
    return next((line["parent"] for line in answer["generations"] if line["number"] == answer["serving"]), None)


def watched_one(control: Control) -> int | None:
    """The generation that is watched in traffic."""
    canary = control.status()["canary"]
    return None if canary is None else canary["generation"]


def _watched(control: Control, call: Call) -> CanaryStanding:
    """The watch of the generation that is named. Raises UnknownThing where it is not watched."""
    canary, number = control.status()["canary"], call["generation"]
    if canary is None or number not in (None, canary["generation"]):
        raise UnknownThing(f"{'No generation is' if number is None else f'Generation {number} is not'} watched now.")
    return canary


def of_a_promotion(control: Control, call: Call) -> list[str]:
    """The generation that is watched in traffic, which is to serve. Raises UnknownThing where it is not."""
    canary = _watched(control, call)
    number, beside = canary["generation"], canary["beside"]
    return [
        f"Generation {number} answers all requests at once, in place of generation {beside}.",
        "Its files are verified first. Requests under way end with the one that began them.",
        f"Its watch ends, whatever of it is not proven yet: {canary['detail'].rstrip('.')}.",
        f"Generation {beside} stays accepted: one can go back to it. {WAITED}",
    ]


def of_taking_back(control: Control, call: Call) -> list[str]:
    """The generation that is watched in traffic, which is to answer no more. Raises UnknownThing where it is not."""
    canary = _watched(control, call)
    number, beside = canary["generation"], canary["beside"]
    return [
        f"Generation {number} answers no requests any more; generation {beside}, which serves, answers all.",
        f"Generation {number} is flagged as rolled back: nothing goes to it by itself. {WAITED}",
    ]


def of_a_rollback(control: Control, call: Call) -> list[str]:
    """An earlier generation that serves again. Raises UnknownThing."""
    answer, facts, target = control.generations(), control.status(), call["generation"]
    serving, canary, progress = answer["serving"], facts["canary"], facts["round"]
    lines = {line["number"]: line for line in answer["generations"]}
    if target is None or target not in lines:
        raise UnknownThing(f"There is no generation {'' if target is None else target}".strip() + " to go back to.")
    if canary is not None and target == canary["generation"]:
        return of_a_promotion(control, call)
    if canary is not None and target == serving:
        return of_taking_back(control, {"generation": canary["generation"]})
    sentences = [
        f"Generation {target} serves at once, in place of generation {serving}; its files are verified first.",
        f"Generation {serving} is not promoted again by itself. Requests under way end with the one that began them.",
    ]
    if canary is not None:
        sentences.append(f"Generation {canary['generation']}, which is watched in traffic, is taken back as well.")
    scored = {(row["generation"], row["slice"]): row["mean_nll"] for row in answer["scores"]}
    both = [name for name in answer["slices"] if (serving, name) in scored and (target, name) in scored]
    if both and serving is not None:
        change = sum(scored[target, name] - scored[serving, name] for name in both) / len(both)
        than = f"{abs(change):.3f} nats {'higher' if change > 0 else 'lower'}"
        sentences.append(f"On the {len(both)} slices that both have scores of, its loss is {than} in the mean.")
    if erased := lines[target]["erased_text"]:
        sentences.append(
            f"It was {erased} on text that was erased since.".replace("was inherited", "was made from one")
        )
    if progress is not None:
        sentences.append(f"Round {progress['number']}, which is in progress, is called off.")
    return sentences


def of_decoding_again(control: Control, call: Call) -> list[str]:
    """Dead letters that are decoded again."""
    those = _letters(control, call)
    return [f"{those} decoded again, with the settings in force. What can be understood now becomes samples."]


def of_dropping_letters(control: Control, call: Call) -> list[str]:
    """Dead letters that are erased."""
    return [f"{_letters(control, call)} erased for good. Their offsets stay read."]


def _letters(control: Control, call: Call) -> str:
    if len(call["ids"]) == 1:
        letter = control.dead_letter(call["ids"][0])
        return f"Dead letter {letter['id']} ({letter['reason'].replace('_', ' ')}, {letter['value_bytes']:,} bytes) is"
    number = len(call["ids"]) or control.memory()["quarantine"]["dead_letters"]
    return f"{number:,} dead letters are"


def of_an_erasure(control: Control, call: Call) -> list[str]:
    """A person's text, erased by their key or its hash."""
    key, for_good = call["key"], "None of its text is stored from then on either; backups are yours to erase."
    try:
        # What is counted is everything, whatever the page holds.
        person = control.find(key, limit=1)
    except UnknownThing:
        return [f"Nothing is kept of that key. {for_good}"]
    sentences = [
        (
            f"{person['samples']:,} samples, {person['dead_letters']:,} dead letters and {person['feedback']:,} of "
            f"feedback are erased for good, and the directories of the {len(person['rounds']):,} rounds that were "
            "given the text, where they are kept."
        ),
        for_good,
        *seen_sentences(person),
    ]
    if isinstance(key, KeyHash):
        sentences.append("Dead letters go where their record carries the key; by the key itself all go that name it.")
    if (off := person["calls_off"]) is not None:
        sentences.append(
            f"Round {off['round']}, which is in progress, was given the text and is called off: {span(off['seconds'])} "
            "of work are lost, and the rest of its text waits for the next round."
        )
    if similar := len(person["similar"]):
        sentences.append(f"Of {similar:,} similar keys, which may name the same person, nothing is erased.")
    return sentences


def erased(answer: ErasedPerson) -> str:
    """What an erasure erased."""
    generations, clean = answer["generations"], answer["clean_generation"]
    amounts = f"{answer['samples']:,} samples, {answer['dead_letters']:,} dead letters"
    directories = f"{len(answer['directories']):,} directories of rounds"
    parts = [f"{amounts}, {answer['feedback']:,} of feedback and {directories} are erased."]
    if answer["called_off"] is not None:
        parts.append(f"Round {answer['called_off']} is called off.")
    if generations:
        parts.append(f"{len(generations):,} generations were trained on it, the latest of them {generations[-1]}.")
    if generations and clean is not None:
        parts.append(f"Generation {clean} never saw it.")
    if similar := len(answer["similar"]):
        parts.append(f"Of {similar:,} similar keys nothing was erased.")
    return " ".join(parts)


def of_reading_on(control: Control, call: Call) -> list[str]:
    """Partitions that a flood paused, read on."""
    which = "every partition that a flood paused" if call["partition"] is None else call["partition"]
    dead = control.memory()["quarantine"]["dead_letters"]
    return [
        f"Reading goes on in {which}. What cannot be understood becomes a dead letter, as before.",
        f"{dead:,} dead letters are kept; those of the flood can be decoded again once it is mended.",
    ]
