"""What is wrong with the settings: key, value, place and remedy of each mistake."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from daemon.errors import DaemonError
from daemon.exit_codes import ExitCode
from daemon.settings.fields import EACH, Key, accepts, dot, find, nearest, nested_model, siblings
from daemon.settings.sources import PREFIX, Raw
from serving.errors import CannotServe
from serving.keys.entries import read_entries

SECRET_NAME = re.compile(r"(pass(word|wd|phrase)|secret|credential|api_?key|(^|_)token$|private)", re.IGNORECASE)
FILE_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.[a-z]{2,10}")
VALUE_LENGTH = 80
HIDDEN = "(not shown)"
NO_SUCH_SETTING = "No setting has this name."


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to mend.

    Attributes:
        key: in full: `streams.topics[0].name`.
        value: what was written, shortened, never a secret; None where nothing was written.
        place: `riverkeep.toml line 12`, `environment RIVERKEEP_…`, or empty where nothing was written.
        problem: what is wrong with it.
        remedy: what to write instead.
    """

    key: str
    value: str | None
    place: str
    problem: str
    remedy: str

    def as_facts(self) -> dict[str, str | None]:
        """For `--json`."""
        return asdict(self)

    def in_line(self) -> str:
        """For a line of its own: the value, which may be long, is left out."""
        return f"{self.key}{f' ({self.place})' if self.place else ''}: {self.problem} {self.remedy}"

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value is not None else ""
        place = f"  ({self.place})" if self.place else ""
        return f"{self.key}{value}{place}\n    {self.problem}\n    {self.remedy}"


class BadSettings(DaemonError):
    """The settings have mistakes; `mistakes` are all of them."""

    exit_code = ExitCode.BAD_USAGE

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(f"The settings have {self._head()}:\n\n" + "\n".join(map(str, self.mistakes)))

    def in_line(self) -> str:
        """All of them in one line."""
        return f"the settings have {self._head()}: " + " ".join(mistake.in_line() for mistake in self.mistakes)

    def _head(self) -> str:
        return "one mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"


def unreadable(path: Path, why: str) -> Mistake:
    """The file itself is at fault."""
    remedy = "Mend it, or name another with `--config PATH`."
    return Mistake(str(path), None, "", _sentence(f"The settings file: {why}"), remedy)


def unknown_variables(model: type[BaseModel], raw: Raw) -> list[Mistake]:
    """A mistake for each RIVERKEEP_ variable that is no setting."""
    return [
        Mistake(variable, None, "environment", NO_SUCH_SETTING, _unknown_variable_remedy(nearest(model, key)))
        for variable, key in raw.unknown_variables
    ]


def of_files(model: type[BaseModel], raw: Raw) -> list[Mistake]:
    """A mistake for each `…_file` that is missing, unusable or empty; read as written, so beside any other mistake."""
    return [
        Mistake(
            dot(key),
            str(path) if _is_surely_a_path(path, raw) else HIDDEN,
            raw.place(key),
            problem,
            _file_remedy(key),
        )
        for key, path in _named_files(model, raw.tree)
        if (problem := _file_problem(key, path))
    ]


def _named_files(model: type[BaseModel], table: Any, prefix: Key = ()) -> Iterator[tuple[Key, Path]]:
    for name, info in model.model_fields.items() if isinstance(table, dict) else ():
        value, key = table.get(name), (*prefix, name)
        inner, many = nested_model(info.annotation)
        if inner is None:
            if name.endswith("_file") and isinstance(value, str):
                yield key, Path(value)
        elif not many:
            yield from _named_files(inner, value, key)
        elif isinstance(value, list):
            for index, element in enumerate(value):
                yield from _named_files(inner, element, (*key, index))


def _is_surely_a_path(path: Path, raw: Raw) -> bool:
    """Whether no secret, written by mistake in its file's place, looks like it.

    A file in a folder of any name is one, and one that has an ending; a word that stands alone may be a password.
    """
    bases = (Path.cwd(), raw.base)
    alone = path.parent in (Path("/"), *bases)
    if not alone and not any(map(path.is_relative_to, bases)):
        return True
    return FILE_NAME.fullmatch(path.name) is not None or (not alone and path.parent.is_dir())


def _file_problem(key: Key, path: Path) -> str:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        return f"The file cannot be read: {getattr(error, 'strerror', error)}."
    if not content.strip():
        return "The file is empty."
    problem = CONTENTS[key](path) if key in CONTENTS else ""
    return problem and _sentence(problem)


def _file_remedy(key: Key) -> str:
    if key[-1] in CERTIFICATES:
        return "Name a file with certificates as PEM, from BEGIN CERTIFICATE to END CERTIFICATE."
    return "Write the secret into a file that only the service's user can read, and name that file here."


def _problem_with_certificates(path: Path) -> str:
    return "" if b"CERTIFICATE-----" in path.read_bytes() else "It holds no certificate as PEM"


def _problem_with_keys(path: Path) -> str:
    try:
        read_entries(path)
    except CannotServe as error:
        return str(error)
    return ""


CERTIFICATES = frozenset({"ca_file", "certificate_file", "tls_cert_file", "tls_client_ca_file"})
CONTENTS: Mapping[Key, Callable[[Path], str]] = {
    ("serving", "api_key_file"): _problem_with_keys,
    ("streams", "security", "ca_file"): _problem_with_certificates,
    ("streams", "security", "certificate_file"): _problem_with_certificates,
    ("streams", "schema_registry", "ca_file"): _problem_with_certificates,
}
"""What is wrong with a file's content, where that can be told; empty when nothing is."""


def explain(model: type[BaseModel], details: ErrorDetails, raw: Raw) -> Mistake:
    """One of pydantic's errors as a mistake."""
    key = known_part(model, details["loc"])
    if details["type"] == "extra_forbidden":
        whole = tuple(details["loc"])
        return Mistake(dot(whole), None, raw.place(whole), NO_SUCH_SETTING, _unknown_key_remedy(model, whole))
    info = find(model, key)
    if details["type"] == "missing":
        key, info = _find_first_required(key, info)
        return Mistake(dot(key), None, raw.place(key), "It must be set.", _remedy(key, info))
    # Pydantic's words before those of a validator.
    problem = details["msg"].removeprefix("Value error, ")
    value = show_value(key, details["input"])
    return Mistake(dot(key) or "(the whole)", value, raw.place(key), _sentence(problem), _remedy(key, info))


def required_part(model: type[BaseModel], key: Key) -> Key:
    """Of a table that is missing, the key that a person has to write."""
    return _find_first_required(key, find(model, key))[0]


def _find_first_required(key: Key, info: FieldInfo | None) -> tuple[Key, FieldInfo | None]:
    inner = nested_model(info.annotation)[0] if info is not None else None
    for name, field in inner.model_fields.items() if inner is not None else ():
        if field.is_required():
            return _find_first_required((*key, name), field)
    return key, info


def known_part(model: type[BaseModel], location: tuple[int | str, ...]) -> Key:
    """The location without what pydantic adds to it: the member of a union that it tried last."""
    key = tuple(location)
    while key and find(model, key) is None:
        key = key[:-1]
    return key


def _unknown_key_remedy(model: type[BaseModel], key: Key) -> str:
    near = nearest(model, key)
    if near is not None:
        return f"Did you mean `{near}`?"
    return f"Remove it. What may stand there: {', '.join(siblings(model, key))}."


def _unknown_variable_remedy(near: str | None) -> str:
    if near is None or EACH in near:
        return "Remove it, or write it as RIVERKEEP_SECTION__KEY."
    return f"Did you mean {PREFIX}{near.upper().replace('.', '__')}?"


def _remedy(key: Key, info: FieldInfo | None) -> str:
    """What to write: what is accepted, what it is for, what it is by default."""
    if info is None:
        return "Change one of the keys that it names."
    inner, many = nested_model(info.annotation)
    if inner is not None:
        table = f"[[{dot(key)}]]" if many else f"[{dot(key)}]"
        return f"The keys of {table}: {', '.join(inner.model_fields)}."
    return f"Write {accepts(info)}. {info.description or ''}".rstrip()


def may_be_secret(key: Key, value: Any, raw: Raw) -> bool:
    """Whether a value may be a secret: by the setting's name, or as it was written in the place of a secret's file."""
    name = str(key[-1]) if key else ""
    if name.endswith("_file"):
        return not _is_surely_a_path(Path(value), raw)
    return SECRET_NAME.search(name) is not None


def show_value(key: Key, value: Any) -> str | None:
    """The value as written, cut; nothing of what may be a secret."""
    if isinstance(value, (dict, list)):
        return None
    name = str(key[-1]) if key else ""
    if name.endswith("_file") or SECRET_NAME.search(name):
        return HIDDEN
    text = str(value) if isinstance(value, (Path, bool)) else repr(value)
    return text if len(text) <= VALUE_LENGTH else f"{text[:VALUE_LENGTH]}…"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."
