"""What safetensors and tokenizers say of the disk becomes what the operating system said."""

import errno
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from checkpoints.files.disk_errors import disk_errors, is_no_room
from tests.disks import files_limited


def test_a_refusal_has_its_number_and_path(tmp_path: Path) -> None:
    """A real one: the file would be larger than it may be."""
    path = tmp_path / "model.safetensors"
    with pytest.raises(OSError, match="File too large") as caught, files_limited(4096), disk_errors(path):
        save_file({"weight": np.zeros(4096)}, path)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert isinstance(caught.value.__cause__, SafetensorError)


def test_a_tokenizer_without_room_is_the_disks_error_too(tmp_path: Path) -> None:
    """Its own error is a bare Exception, which nobody could tell from a mistake."""
    path = tmp_path / "tokenizer.json"
    words = Tokenizer(WordLevel({f"word-{number}": number for number in range(1_000)}, unk_token="word-0"))
    with pytest.raises(OSError, match="File too large") as caught, files_limited(4096), disk_errors(path):
        words.save(str(path))
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))


def test_a_write_that_python_does_has_a_path_too(tmp_path: Path) -> None:
    """Its error names none, and a full disk of several is to be found."""
    path = tmp_path / "config.json"
    with pytest.raises(OSError, match="File too large") as caught, files_limited(4096), disk_errors(path):
        path.write_bytes(bytes(10_000))
    assert caught.value.filename == str(path)


def test_what_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    """A fault in the tensors is not told as one of the disk."""
    with pytest.raises(SafetensorError, match="not of the disk"), disk_errors(tmp_path):
        raise SafetensorError("not of the disk")


@pytest.mark.parametrize(
    ("number", "no_room"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, True), (errno.EIO, False), (errno.ENOENT, False)],
)
def test_only_room_counts_as_room(number: int, *, no_room: bool) -> None:
    """A broken disk is not a full one."""
    assert is_no_room(OSError(number, "said so")) == no_room
