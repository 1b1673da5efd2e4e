"""docs/models.md, made from what `benchmarks.architectures` found.

python -m benchmarks.architectures_document benchmarks/results/architectures.json > docs/models.md
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

HEAD: Final = """# Which models are served, and how

No list decides this: each model is asked when it is imported, when it is warmed up, and by `riverkeep doctor`
("how it answers"). Its whole pass over a text is what is right, as that is how it was trained. What it says
token by token, with others, padded on either side and in two stretches is held against that, and whether a
later token changes an earlier answer.

- **together, with a cache**: as fast as can be.
- **those that begin together**: a decoder behind an encoder that counts its places itself (BART and its like) bears no
  padding before an answer, so that requests share passes with those that have come as far.
- **one at a time, with a cache**: its cache cannot be padded, or its answer depends on what shares the batch.
  Requests take turns.
- **read anew**: with no cache are its answers those of whole passes. Right, and far slower: each token costs a
  pass over everything before it.
- **refused**: it sees later tokens, or answers otherwise each time; nothing that it says could be trusted, nor
  its loss.

Classifiers are padded on the side that changes nothing, or classify one text at a time. Training and scores
hold to the same: documents are packed into rows where the model keeps them apart. Where it does not, each is read in a
row of its own; a step has the documents that it would have packed, so as many tokens, and a pass as many rows of like
length as have, with their padding, no more tokens than packed rows. Rows share a pass where
none changes another.

A generation that is an adapter ([adapters.md](adapters.md)) is served, scored and trained on as the whole model that it
makes of what it lies on, and so is asked nothing of its own.

Documents are parted by what pre-training put between them, which is not what the tokenizers of many chat models
name: theirs ends turns. At import the model is asked behind which of its special tokens ordinary text begins most
likely; the answer stays with the model (`document_frame.json`), and `riverkeep doctor` tells it ("how it reads
documents"). Further pieces of a long document begin with the model's first token where its tokenizer has one (BOS)
and it reads them no worse for it. To be scored, a long document slides by half a sequence, so that every token has
context.

What is asked is short: some thirty passes of at most 24 tokens, over one model and no copy of it, with windows
of attention made small meanwhile. Full length is not read: limits are what `config.json` names and the tables
that a pass looks positions up in. LongRoPE's models are cached up to the length that they were first trained
on, and read anew beyond. A limit that nobody names shows as an error 400 of the request that passes it, and
stops no other.

The smallest random model of each architecture of transformers {transformers} went the whole way: import,
serving alone and together, a round of training and its scores, against whole passes over single texts (`make
test-models`). Of {count}, {served} are served, {refused} refused, and {not_made} could not be made small, or
not without what is not installed here.
"""
CAUSAL: Final = "## Causal language models"
CLASSIFIERS: Final = "## Classifiers"


def document(details: Mapping[str, Any]) -> str:
    """The page.

    Args:
        details: what the benchmark wrote under that name.
    """
    rows: Sequence[Mapping[str, Any]] = details["rows"]
    made = [row for row in rows if not row["not_made"]]
    head = HEAD.format(
        transformers=details["transformers"],
        count=len(rows),
        served=sum(bool(row["served"]) for row in rows),
        refused=sum(bool(row["refused"]) for row in rows),
        not_made=len(rows) - len(made),
    )
    causal = [row for row in made if row["kind"] == "causal-lm"]
    classifiers = [row for row in made if row["kind"] == "classifier"]
    left = [row for row in rows if row["not_made"]]
    parts = [head, _table(CAUSAL, causal), _table(CLASSIFIERS, classifiers), "\n".join(_left(left))]
    return "\n".join(parts)


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [title, "", "| how | architectures |", "|---|---|"]
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(_outcome(row), []).append(f"`{row['name']}`")
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    lines += [f"| {how} | {', '.join(sorted(names))} |" for how, names in ordered]
    return "\n".join([*lines, ""])


def _outcome(row: Mapping[str, Any]) -> str:
    if row["wrong"]:
        return f"**wrong**: {row['wrong']}"
    if row["refused"]:
        return f"refused: {re.split('[:;(]', row['refused'])[0].strip()}"
    return f"{row['served']}; trained {row['rows']}"


def _left(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Not tried"
    yield ""
    yield "Of these no small model was made; they are asked like any other when they are imported."
    yield ""
    yield "| architecture | for | why |"
    yield "|---|---|---|"
    for row in rows:
        why = " ".join(row["not_made"].replace("|", "/").split())
        yield f"| `{row['name']}` | {row['kind']} | {why[:160]} |"
    yield ""


if __name__ == "__main__":
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(document(results["details"]))
