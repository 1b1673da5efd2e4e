"""A Protobuf schema, as a registry has it, becomes descriptors: protoc compiles it, in a process of its own.

Protobuf's own library reads messages only by compiled descriptors, and a registry has `.proto` source (its
`?format=serialized` is Confluent's alone). protoc knows the whole language: proto2, proto3 and editions; grpcio-tools,
which Google keeps beside protobuf, carries it in a wheel, while the parsers in Python know parts of it. A schema is
anybody's, so protoc runs with limits and sees no file but those it is given, which lie in a folder made for it.
"""

import base64
import binascii
import importlib.util
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from streams.errors import NotNow
from streams.settings import MIB

ROOT: Final = "riverkeep/the-schema-itself.proto"
"""What the schema's own file is called: others cannot import it."""
MOST_SOURCE_BYTES: Final = 2 * MIB
CPU_SECONDS: Final = 5
# CPU_SECONDS ends a schema that is too much for protoc. This ends the wait on a machine that has no time for it.
WAITED_SECONDS: Final = 30.0
MEMORY_BYTES: Final = 1024 * MIB
WRITTEN_BYTES: Final = 16 * MIB
SAID_CHARACTERS: Final = 200
READ_CHARACTERS: Final = 100_000
LONGEST_PATH: Final = 255

# Given with every registry's client, so that no schema refers to them.
_META: Final = """syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; repeated Rule rules = 4; }
message Rule { string name = 1; string doc = 2; string expr = 3; string sql = 4; }
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
"""
_DECIMAL: Final = """syntax = "proto3";
package confluent.type;
message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }
"""
_VARIANT: Final = """syntax = "proto3";
package confluent.type;
message Variant { bytes metadata = 1; bytes value = 2; }
"""
_CONFLUENT: Final = {
    "confluent/meta.proto": _META,
    "confluent/type/decimal.proto": _DECIMAL,
    "confluent/type/variant.proto": _VARIANT,
}
_GOOGLE: Final = ("google/type", "google/rpc", "google/api")
_MISSING: Final = re.compile(r"(.*): File not found\.")
_PLACED: Final = re.compile(r"(.*?):([0-9]+):[0-9]+: (.*)")
_LIMITED: Final = """
import resource, sys
cpu, memory, written, packages = *map(int, sys.argv[1:4]), sys.argv[4]
resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.path.insert(0, packages)
from grpc_tools import _protoc_compiler
sys.exit(_protoc_compiler.run_main([argument.encode() for argument in ["protoc", *sys.argv[5:]]]))
"""
_BY_ITSELF: Final = frozenset({signal.SIGXCPU, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
"""How protoc ends where a schema is beyond it; by another signal somebody ended it."""


class NotCompiled(Exception):
    """protoc makes nothing of a schema; why not, for a person."""


def compile_schema(text: str, referred_to: Mapping[str, str]) -> tuple[DescriptorPool, FileDescriptorProto]:
    """The descriptors of a schema, and its own file among them.

    Args:
        text: the schema: `.proto` source, or a file's descriptor in base64 (some registries give it as it was written).
        referred_to: the same of the files that it imports, themselves or by others, by the names under which it does.

    Raises:
        NotCompiled: it is no schema that protoc compiles within its limits.
        NotNow: protoc cannot run.
    """
    files = _CONFLUENT | {name: source for name, source in referred_to.items() if name not in _CONFLUENT} | {ROOT: text}
    if sum(map(len, files.values())) > MOST_SOURCE_BYTES:
        raise NotCompiled(f"with those it refers to it is longer than {MOST_SOURCE_BYTES} characters")
    _check_names(files)
    try:
        with tempfile.TemporaryDirectory(prefix="riverkeep-protoc-") as folder:
            descriptors = FileDescriptorSet.FromString(_run(Path(folder), files))
    except OSError as error:
        raise NotNow(f"protoc cannot be run: {error}") from error
    except DecodeError as error:
        raise NotCompiled("protoc's answer is damaged") from error
    # A pool for each schema: two of them may describe different messages under one name.
    pool = DescriptorPool()
    try:
        for file in descriptors.file:
            pool.AddSerializedFile(file.SerializeToString())
    except (TypeError, ValueError) as error:
        raise NotCompiled(str(error)[:SAID_CHARACTERS]) from error
    return pool, next(file for file in descriptors.file if file.name == ROOT)


def _check_names(files: Mapping[str, str]) -> None:
    """See that each name is a path below the folder, and none lies below another's file."""
    for name in files:
        parts = name.split("/")
        if (
            len(name.encode()) > LONGEST_PATH
            or not name.isprintable()
            or "\\" in name
            or any(part in {"", ".", ".."} for part in parts)
        ):
            raise NotCompiled(f"it refers to a file by a name that is no path of one: {ascii(name)[:SAID_CHARACTERS]}")
        if any("/".join(parts[:end]) in files for end in range(1, len(parts))):
            raise NotCompiled(f"it refers to {name!r}, and also to a file where its folder would be")


def _run(folder: Path, files: Mapping[str, str]) -> bytes:
    sources, descriptors, answer, messages = (folder / name for name in ("given", "descriptors", "answer", "said"))
    sources.mkdir()
    compiled = FileDescriptorSet()
    for name, text in files.items():
        if (descriptor := _descriptor(name, text)) is not None:
            compiled.file.append(descriptor)
            continue
        path = sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    arguments = [*_include_paths(), f"-I{sources}", "--include_imports", f"--descriptor_set_out={answer}"]
    if compiled.file:
        descriptors.write_bytes(compiled.SerializeToString())
        arguments.append(f"--descriptor_set_in={descriptors}")
    limits = (str(CPU_SECONDS), str(MEMORY_BYTES), str(WRITTEN_BYTES), str(_packages()))
    # -I and -S: no environment, no site packages and no working directory decide what this interpreter imports.
    command = [sys.executable, "-I", "-S", "-c", _LIMITED, *limits, *arguments, ROOT]
    with messages.open("wb") as errors:
        try:
            status = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, timeout=WAITED_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise NotNow(f"protoc was not done after {WAITED_SECONDS:g} s: the machine is too busy") from error
    if status != 0:
        raise _why(status, messages)
    return answer.read_bytes()


def _descriptor(name: str, text: str) -> FileDescriptorProto | None:
    """The descriptor that a text is in base64; None where it is source."""
    try:
        descriptor = FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None
    if not descriptor.name:
        return None
    # It is imported by the name in the reference, whatever its file was called where it was compiled.
    descriptor.name = name
    return descriptor


def _packages() -> Path:
    """Where grpcio-tools is installed. It is not imported here: it would change how Python imports."""
    spec = importlib.util.find_spec("grpc_tools")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(name="grpcio-tools")
    return Path(spec.submodule_search_locations[0]).parent


def _include_paths() -> Iterator[str]:
    """What everybody imports without a reference: first, so that no schema has its own."""
    yield f"-Igoogle/protobuf={_packages() / 'grpc_tools/_proto/google/protobuf'}"
    import google.type as packaged  # noqa: PLC0415  # of googleapis-common-protos

    google = Path(packaged.__path__[0]).parent.parent
    for name in _GOOGLE:
        yield f"-I{name}={google / name}"


def _why(status: int, messages: Path) -> Exception:
    if status < 0:
        name = signal.Signals(-status).name
        if -status not in _BY_ITSELF:
            return NotNow(f"protoc was ended by {name}")
        return NotCompiled(f"protoc does not get through it in {CPU_SECONDS} s and {MEMORY_BYTES // MIB} MiB ({name})")
    with messages.open(encoding="utf-8", errors="backslashreplace") as file:
        lines = file.read(READ_CHARACTERS).splitlines()
    for line in lines:
        if (missing := _MISSING.fullmatch(line)) is not None:
            return NotCompiled(f"it imports {_shorten(missing[1])}, which is not among its references")
        if (placed := _PLACED.fullmatch(line)) is not None and not placed[3].startswith("warning:"):
            where = (
                f"line {placed[2]}" if placed[1].endswith(ROOT) else f"{placed[1].rpartition('/given/')[2]}:{placed[2]}"
            )
            return NotCompiled(f"protoc says of {_shorten(where)}: {_shorten(placed[3])}")
    line_shown = lines[0].rpartition("/given/")[2] if lines else f"nothing, and ended with {status}"
    return NotCompiled(f"protoc says {_shorten(line_shown)}")


def _shorten(words: str) -> str:
    return words.encode("ascii", "backslashreplace").decode()[:SAID_CHARACTERS]
