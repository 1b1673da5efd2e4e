"""Whatever is written on the command line, a person gets an answer or a sentence, never a traceback."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemon.cli import main as command_line
from daemon.exit_codes import ExitCode
from tests.unit.daemon.cli.test_main import every_command
from tests.unit.daemon.kept import Kept

# They run on, or look at what is outside: a broker, the model.
RUN_ON = {"demo", "run", "serve", "doctor", "watch"}
COMMANDS = dict(every_command())
ODD = [
    *(
        "",
        " ",
        "-",
        "--",
        "0",
        "-1",
        "1",
        "7",
        "1.5",
        "1e3",
        "NaN",
        "0x10",
        "٣",
        "９",
        "9" * 19,
        "9" * 40,
        "-" + "9" * 40,
    ),
    *(
        "news/0",
        "news",
        "/",
        "a/b/c",
        "user-1",
        "a\nb",
        "\t",
        "\udcff",
        "日本語 🙂",
        "{}",
        "{round}",
        "%s",
        "[b]",
    ),
    *(".", "..", "notes.txt", "a.jsonl", "bad.jsonl.gz", "missing/file", "x" * 300, "json", "text", "stdin", "None"),
]
"""Values that are wrong for most options, and right for some."""
# What a shell can hand over: bytes, UTF-8 or not, but for NUL.
ARGUMENTS = st.one_of(st.text(max_size=8).map(str.encode), st.binary(max_size=8)).map(
    lambda given: given.replace(b"\0", b"")
)
ANYTHING = st.one_of(st.sampled_from(ODD), ARGUMENTS.map(os.fsdecode))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with settings, files and a store with a round that waits; the current one."""
    home = tmp_path_factory.mktemp("home")
    kept = Kept(home)
    with kept.store:
        kept.base()
        kept.arrive(40)
        kept.hold()
        kept.die(b'{"body": "river"}')
    # Elsewhere than where `init` writes.
    (home / "settings.toml").write_text('state_dir = "state"\n[model]\npath = "candidate-0"\n')
    (home / "notes.txt").write_text("The water rises.\n\nThe water falls.\n")
    (home / "a.jsonl").write_text('{"text": "the water rises", "id": 4711}\n\n[1]\n{"text": 5}\n')
    (home / "bad.jsonl.gz").write_bytes(b"\x1f\x8bnothing")
    before = Path.cwd()
    os.chdir(home)
    yield home
    os.chdir(before)


def values(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Something of the parameter's kind, or something odd."""
    right = ODD
    if isinstance(parameter.type, click.IntRange):
        right = ["1", "2", "7", "9" * 18, "9" * 19, "9" * 40]
    elif isinstance(parameter.type, click.Choice):
        right = list(parameter.type.choices)
    return st.one_of(st.sampled_from(right), st.sampled_from(right), ANYTHING)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command with some of its own options and odd values, now and then with what belongs to no command."""
    path = draw(st.sampled_from(sorted(COMMANDS)))
    words = path.split()
    for parameter in COMMANDS[path].params:
        if draw(st.integers(0, 3)) and not parameter.required:
            continue
        if isinstance(parameter, click.Option):
            words.append(draw(st.sampled_from(parameter.opts)))
        if not getattr(parameter, "is_flag", False):
            words.append(draw(values(parameter)))
    if draw(st.integers(0, 5)) == 0:
        odd = st.one_of(ANYTHING, st.sampled_from(["--nothing", "-c", "--help", "--json", "-x"]))
        words.insert(draw(st.integers(0, len(words))), draw(odd))
    if words[0] in RUN_ON and "--help" not in words:
        words.append("--nothing")
    return words


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(arguments=lines())
@example(arguments=["init", "other.toml", "--model", os.fsdecode(b"\xff")])
def test_any_command_line_has_an_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """An exit status that is documented, and where it is none of success, words."""
    with monkeypatch.context() as patched, open(os.devnull) as nothing:  # noqa: PTH123 - standard input
        patched.setenv("RIVERKEEP_CONFIG", str(home / "settings.toml"))
        patched.setattr("sys.argv", ["riverkeep", *arguments])
        patched.setattr("sys.stdin", nothing)
        with pytest.raises(SystemExit) as left:
            command_line.main()
    code = ExitCode(int(left.value.code or 0))
    told = capfd.readouterr()
    assert code is ExitCode.OK or told.err.strip() or told.out.strip()
    assert "Traceback" not in told.err
