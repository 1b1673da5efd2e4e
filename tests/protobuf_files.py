"""Protobuf messages for tests, made by Protobuf's own classes of descriptors that protoc compiled here."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool


@cache
def message_class(source: str, name: str, *others: tuple[str, str]) -> Any:
    """The class of a message.

    Args:
        source: the file that describes it.
        name: with its package.
        others: name and source of files that it imports.
    """
    with TemporaryDirectory() as folder:
        for file, text in (("main.proto", source), *others):
            path = Path(folder, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_imports", "main.proto"]
        subprocess.run([*command, f"--descriptor_set_out={folder}/set"], check=True, capture_output=True)
        found = FileDescriptorSet.FromString(Path(folder, "set").read_bytes())
    pool = DescriptorPool()
    for each in found.file:
        pool.AddSerializedFile(each.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
