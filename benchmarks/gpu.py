"""Whole rounds of the real learner at the sizes of models that people own, on a GPU: speed, memory and where time goes.

    python -m benchmarks.gpu [--json FILE] [--seconds 240] [--only PART] [--wheels DIR]
    python -m benchmarks.gpu --tiny          # the same on a CPU with tiny models, which says nothing of a GPU

It makes its models itself (random weights at the shapes of Qwen2.5 0.5B, Llama 3.2 1B and Llama 3.1 8B) and its text,
and downloads nothing. Each part is a process of its own, one after another; first those that a bar is held to, which
are to end within the seconds together. What would not is left out and said, and so is what could not be used here; a
bar of which nothing was measured counts as missed. `--only` runs one part, and is held to that one's bars.

- rounds: the learner's process on a round's directory, documents packed into sequences of 2,048 tokens; all weights or
  LoRA, without replay or with 60 % of the tokens replayed and the KL divergence from the parent on these.
- loops: forward, cross-entropy, backward, clip, AdamW on full rows of the same width, and nothing else; and TRL's
  `SFTTrainer`, where TRL is installed.

FLOPs are the model's: six for each weight of a matrix and token (four where an adapter alone is trained, two more where
the parent reads), and attention within documents; what checkpointing computes again does not count. Utilisation is
against the GPU's dense bf16 rate as its maker states it; of a GPU that is not known here, against what a large product
of matrices reaches on it.

Besides PyTorch and transformers it needs a few packages, which a machine without a registry can be brought as wheels:
those that `--needs` prints, fetched for its version of Python (3.12, say) with

    pip download --no-deps -d DIR -c constraints.txt --only-binary=:all: --python-version 3.12 PACKAGE …

`--wheels DIR` then installs them into a folder for this run alone.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

NEEDED: Final[Mapping[str, str]] = {
    "numpy": "numpy",
    "orjson": "orjson",
    "peft": "peft",
    "accelerate": "accelerate",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "pysqlite3": "pysqlite3",
    "rich": "rich",
    "safetensors": "safetensors",
    "structlog": "structlog",
    "torch": "torch",
    "transformers": "transformers",
}
"""Modules that must be there, with the package of each."""
BROUGHT: Final = (
    "accelerate",
    "annotated-types",
    "markdown-it-py",
    "mdurl",
    "orjson",
    "peft",
    "psutil",
    "pydantic",
    "pydantic-core",
    "pygments",
    "pysqlite3",
    "rich",
    "structlog",
    "typing-extensions",
    "typing-inspection",
)
"""Packages that an image may lack which has PyTorch and transformers alone: what is needed, and what that needs. Some
come with newer versions of transformers; two of a package do no harm, as these are used for the run alone."""
ROOT: Final = Path(__file__).parents[1]
REFUSED: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or say why not; return the exit status: 1 for a bar missed or not measured, 2 where nothing could be."""
    chosen = _parser().parse_args(arguments)
    if chosen.needs:
        print(*BROUGHT)
        return 0
    if chosen.wheels is not None:
        return _with_wheels(chosen.wheels, sys.argv[1:] if arguments is None else arguments)
    if missing := sorted({package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None}):
        return _refuse(
            f"{', '.join(missing)} not installed: install it (`pip install {' '.join(missing)}`), or bring wheels and "
            "name their folder with --wheels"
        )
    import torch

    if not chosen.tiny and not torch.cuda.is_available():
        return _refuse(
            f"PyTorch {torch.__version__} sees no CUDA device, and without one these models would take days. Run it "
            "where there is a GPU, or try the script itself with --tiny"
        )
    from benchmarks.gpu_plan import run

    return run(tiny=chosen.tiny, seconds=chosen.seconds, only=chosen.only, json_file=chosen.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--tiny", action="store_true", help="tiny models on a CPU: tries the script, measures nothing")
    parser.add_argument("--seconds", type=float, default=240.0, help="no part begins that would end later")
    parser.add_argument("--only", metavar="PART", help="this part alone, by its name in the table")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="wheels of packages that are missing")
    parser.add_argument("--needs", action="store_true", help="print the packages whose wheels to bring")
    return parser


def _refuse(why: str) -> int:
    print(f"benchmarks.gpu: {why}.", file=sys.stderr)
    return REFUSED


def _with_wheels(folder: Path, arguments: Sequence[str]) -> int:
    """Run the same with the folder's packages beside what is installed; they are gone afterwards."""
    wheels = sorted(map(str, folder.glob("*.whl")))
    if not wheels:
        return _refuse(f"{folder} holds no wheels")
    with tempfile.TemporaryDirectory() as site:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", site, *wheels]
        if subprocess.run(pip, check=False).returncode:
            return _refuse(f"pip could not install the wheels in {folder}: its words stand above")
        paths = [site, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        only_wheels = argparse.ArgumentParser(add_help=False)
        only_wheels.add_argument("--wheels")
        _, rest = only_wheels.parse_known_args(arguments)
        command = [sys.executable, "-m", "benchmarks.gpu", *rest]
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
