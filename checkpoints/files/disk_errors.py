"""A disk that refuses, told apart from everything else that ends a write. Torch-free."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# A full disk, a full quota, and a limit on the size of a file.
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# How safetensors and tokenizers tell what the operating system said: their errors have no number.
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")


def is_no_room(error: OSError) -> bool:
    """Tell whether an error says that there was no room for what was written."""
    return error.errno in NO_ROOM


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise as an OSError what safetensors or tokenizers says of the operating system while it writes `path`.

    Raises:
        OSError: with the operating system's number, and the file that it names, else `path`.
    """
    try:
        yield
    except OSError as error:
        # One of a write knows no name.
        error.filename = error.filename or str(path)
        raise
    except Exception as error:  # tokenizers has no class of its own for it
        if (os_error := _OS_ERROR.search(str(error))) is None:
            raise
        number = int(os_error[1])
        raise OSError(number, os.strerror(number), str(path)) from error
