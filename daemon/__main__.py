"""`python -m daemon`: the same as `riverkeep`."""

from daemon.cli.main import main

if __name__ == "__main__":
    main()
