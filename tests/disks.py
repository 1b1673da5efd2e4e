"""A disk without room, for one call."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def files_limited(size: int) -> Iterator[None]:
    """Let the operating system refuse to write any file of this process beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
