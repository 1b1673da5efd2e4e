"""Writes the dashboards anew: `python -m tests.docs.dashboards`."""

from tests.docs.dashboards.building import write

if __name__ == "__main__":
    write()
