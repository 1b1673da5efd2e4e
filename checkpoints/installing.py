"""How a package that is missing is installed here: a command that works as it stands. Imports no torch."""

import shlex
import sys


def pip_install(*arguments: str) -> str:
    """The command that installs into the environment that runs, whatever `pip` a shell would find."""
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])
