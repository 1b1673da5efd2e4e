"""What a panel shows, and how it becomes one of Grafana's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = Literal["figure", "lines", "steps", "bars", "stacked bars", "stacked", "matrix", "states"]
SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
RUNBOOKS: Final = "${runbooks:raw}"
STATES: Final = {"0": ("well", "green"), "1": ("stuck", "orange"), "2": ("broken", "red"), "3": ("waits", "yellow")}
AnyPanel: TypeAlias = timeseries.Panel | stat.Panel | table.Panel | statetimeline.Panel


@dataclass(frozen=True, slots=True)
class Show:
    """One panel.

    Attributes:
        queries: each an expression and what its series are called; in a matrix the name is empty.
        about: a sentence more.
        least, most: of the axis; None where the data say.
        columns: of a matrix, the label that its columns are.
        good: whether more is better, by which a matrix is coloured.
        levels: from which figure on it is orange, and red.
        dashed: patterns of series that are drawn dashed.
        alerts: whose pages under docs/runbooks tell what to do about it.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: Kind = "lines"
    unit: str = "short"
    about: str = ""
    width: int = 8
    height: int = 8
    decimals: int | None = None
    least: float | None = None
    most: float | None = None
    columns: str = ""
    good: bool = False
    levels: tuple[float, float] | None = None
    dashed: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()

    def sized(self, width: int, height: int = 8) -> "Show":
        """The same in another size, for another dashboard."""
        return replace(self, width=width, height=height)


def panel_of(show: Show, number: int) -> AnyPanel:
    """The panel, with a number that no other has."""
    panel = _KINDS[show.kind](show).id(number).title(show.title).datasource(SOURCE).unit(show.unit)
    panel.span(show.width).height(show.height)
    for at, (expression, legend) in enumerate(show.queries):
        panel.with_target(_query(show, expression, legend, chr(ord("A") + at)))
    if show.about:
        panel.description(show.about)
    if show.decimals is not None:
        panel.decimals(show.decimals)
    if show.least is not None:
        panel.min(show.least)
    if show.most is not None:
        panel.max(show.most)
    if show.alerts:
        panel.links([_runbook(alert) for alert in show.alerts])
    return panel


def _query(show: Show, expression: str, legend: str, name: str) -> Dataquery:
    query = Dataquery().expr(expression).datasource(SOURCE).ref_id(name)
    if show.kind == "matrix":
        return query.format(PromQueryFormat.TABLE).instant()
    return query.legend_format(legend).range()


def _runbook(alert: str) -> dashboard.DashboardLink:
    link = dashboard.DashboardLink(alert).type(models.DashboardLinkType.LINK)
    return link.url(f"{RUNBOOKS}{alert}.md").target_blank(True)  # noqa: FBT003 - the builder's way


def _figure(show: Show) -> stat.Panel:
    panel = stat.Panel().color_mode(common_models.BigValueColorMode.VALUE)
    panel.graph_mode(common_models.BigValueGraphMode.AREA)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if show.levels is not None:
        orange, red = show.levels
        steps = [(None, "green"), (orange, "orange"), (red, "red")]
        panel.thresholds(
            dashboard.ThresholdsConfig()
            .mode(models.ThresholdsMode.ABSOLUTE)
            .steps([models.Threshold(value=value, color=color) for value, color in steps])
        )
    return panel


def _lines(show: Show) -> timeseries.Panel:
    panel = timeseries.Panel()
    panel.legend(
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)  # noqa: FBT003 - the builder's way
    )
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    if show.kind == "steps":
        panel.line_interpolation(common_models.LineInterpolation.STEP_AFTER)
    if "bars" in show.kind:
        panel.draw_style(common_models.GraphDrawStyle.BARS)
    if show.kind not in {"lines", "steps"}:
        panel.fill_opacity(60 if "bars" in show.kind else 30)
    if "stacked" in show.kind:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    for pattern in show.dashed:
        dash = models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [4, 4]})
        panel.override_by_regexp(pattern, [dash])
    return panel


def _matrix(show: Show) -> table.Panel:
    scheme = models.FieldColorModeId.CONTINUOUS_RD_YL_GR if show.good else models.FieldColorModeId.CONTINUOUS_GR_YL_RD
    panel = table.Panel().color_scheme(dashboard.FieldColor().mode(scheme))
    panel.align(common_models.FieldTextAlignment.CENTER).cell_height(common_models.TableCellHeight.SM)
    gradient = common_models.TableCellBackgroundDisplayMode.GRADIENT
    panel.cell_options(common_models.TableColoredBackgroundCellOptions(mode=gradient))
    matrix = {
        "columnField": show.columns,
        "rowField": "generation",
        "valueField": "Value",
        "emptyValue": "null",
    }
    return panel.with_transformation(models.DataTransformerConfig(id_val="groupingToMatrix", options=matrix))


def _states(_: Show) -> statetimeline.Panel:
    options = {value: models.ValueMappingResult(text=text, color=color) for value, (text, color) in STATES.items()}
    return statetimeline.Panel().mappings([models.ValueMap(options=options)])


_KINDS: Final[dict[Kind, Callable[[Show], AnyPanel]]] = {
    "figure": _figure,
    "matrix": _matrix,
    "states": _states,
    "lines": _lines,
    "steps": _lines,
    "bars": _lines,
    "stacked bars": _lines,
    "stacked": _lines,
}
