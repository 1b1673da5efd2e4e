"""`python -m serving CHECKPOINTS`: the serving process alone, without the rest of Riverkeep."""

import argparse
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from checkpoints.kinds import KINDS
from checkpoints.quick_imports import quick_imports
from serving.errors import CannotServe
from serving.keys.entries import read_entries
from serving.settings import ServingSettings


def main() -> int:
    """Parse the command line and serve; exit 2 says that the settings are wrong."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("checkpoints", type=Path, help="directory that holds generations/ and serving.json")
    parser.add_argument("--kind", choices=list(KINDS), default="causal-lm")
    parser.add_argument("--settings", type=Path, help="settings of the serving section, as JSON")
    arguments = parser.parse_args()
    # Until the application heeds it: it reads its keys later than this anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        settings = ServingSettings.model_validate_json(arguments.settings.read_bytes() if arguments.settings else b"{}")
        # Here too: a mistake is told of before seconds of imports.
        if settings.api_key_file is not None:
            read_entries(settings.api_key_file)
        with quick_imports():
            from serving.run import serve  # noqa: PLC0415 - torch
        usage = arguments.checkpoints.absolute().parent / "key-usage.json"
        serve(settings, arguments.checkpoints, arguments.kind, usage=usage)
    except (CannotServe, ValidationError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
