"""What an examination found, as a person sees it."""

from collections.abc import Sequence

from rich.markup import escape
from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.doctor.findings import Finding


def print_findings(findings: Sequence[Finding]) -> None:
    """What `riverkeep doctor` found."""
    rows = table("", "what", "found", "remedy", fixed=("",))
    for finding in findings:
        mark = Text("✓", "green") if finding.ok else Text("✗", "red")
        rows.add_row(mark, finding.name, escape(finding.detail), escape("" if finding.ok else finding.remedy))
    console.print(rows)
