"""Queries that several panels have in common. Of the instances that Grafana's variable names."""

from typing import Final

HERE: Final = 'instance=~"$instance"'
Query = tuple[str, str]


def of(metric: str, selector: str = "") -> str:
    """A metric's series; `selector`: more matchers."""
    return f"{metric}{{{HERE}{f',{selector}' if selector else ''}}}"


def quantiles(histogram: str, selector: str = "") -> tuple[Query, ...]:
    """Half, 95 and 99 of a hundred; nothing, and not NaN, where nobody asked."""
    rate = f"sum by (le) (rate({of(f'{histogram}_bucket', selector)}[$__rate_interval]))"
    return tuple((f"histogram_quantile({share}, {rate}) >= 0", f"p{100 * share:.0f}") for share in (0.5, 0.95, 0.99))


def hourly(counter: str, by: str, *, least: str = "") -> str:
    """How often something was counted in an hour: what a counter was born with as well, which `increase` cannot see."""
    series = of(counter)
    born = f"{series} unless last_over_time({series}[6h] offset 1h)"
    return f"sum by ({by}) (({born}) or round(increase({series}[1h]))){least}"


def daily_mean(seconds: str, by: str) -> str:
    """The mean of a day of what a histogram or summary was given."""
    total, times = (
        f"sum by ({by}) (({series} unless {series} offset 1d) or increase({series}[1d]))"
        for series in (of(f"{seconds}_sum"), of(f"{seconds}_count"))
    )
    return f"{total} / ({times} > 0)"
