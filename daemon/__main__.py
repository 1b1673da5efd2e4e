"""`python -m daemon`: the same as `riverkeep`, with the interpreter that is running."""

from daemon.cli import main

main()
