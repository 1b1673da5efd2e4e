"""Spans of time in words."""


def span(seconds: float) -> str:
    """A span of time in its largest unit: `42 s`, `3 min`, `5 h`, `2 days`."""
    for unit, size in (("days", 172_800.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / (86_400.0 if unit == 'days' else size):.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
