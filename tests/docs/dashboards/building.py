"""The four dashboards, and the files that they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from tests.docs.dashboards.learning import CLASSIFIER, KNOWLEDGE
from tests.docs.dashboards.parts import PARTS
from tests.docs.dashboards.queries import of
from tests.docs.dashboards.rounds import ROUNDS
from tests.docs.dashboards.serving import SERVING
from tests.docs.dashboards.showing import SOURCE, Show, panel_of
from tests.docs.dashboards.streams import MEMORY, TEXT

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"
INSTANCES: Final = 'label_values({__name__=~"riverkeep_part_state|riverkeep_serving_generation"}, instance)'
VERSIONS: Final = Show(
    "Versions",
    (
        (f"count by (version, python) ({of('riverkeep_build_info')})", "daemon {{version}}, Python {{python}}"),
        (
            f"count by (version, python) ({of('riverkeep_serving_build_info')})",
            "serving {{version}}, Python {{python}}",
        ),
    ),
    kind="figure",
    about="How many daemons and serving processes run which version.",
    width=6,
    height=4,
)
Row = tuple[str, Sequence[Show]]


def _chosen(rows: Sequence[Show], *titles: str, width: int, height: int = 8) -> list[Show]:
    """Panels of other dashboards, in a size of their own."""
    by_title = {show.title: show for show in rows}
    return [by_title[title].sized(width, height) for title in titles]


OVERVIEW: Final[Sequence[Row]] = (
    (
        "How it stands",
        [
            *_chosen(KNOWLEDGE, "Serving generation", "Forgetting", "Fresh text until a round", width=6, height=4),
            VERSIONS,
            *_chosen(TEXT, "Lag", "Paused partitions", width=8),
            *_chosen(ROUNDS, "Rounds that wait for a person", width=8),
            *_chosen(ROUNDS, "Verdicts of the gate in an hour", width=8),
            *_chosen(SERVING, "Requests", "Latency", width=8),
        ],
    ),
    ("Parts and disk", PARTS),
)
DASHBOARDS: Final[dict[str, Sequence[Row]]] = {
    "overview": OVERVIEW,
    "learning": (
        ("Knowledge", KNOWLEDGE),
        ("Classifier (without data for a language model)", CLASSIFIER),
        ("Rounds and gate", ROUNDS),
    ),
    "streams": (("Text", TEXT), ("Memory", MEMORY)),
    "serving": (("Serving", SERVING),),
}


def build(name: str) -> str:
    """A dashboard as JSON, ending in a newline."""
    made = dashboard.Dashboard(f"Riverkeep: {name.capitalize()}").uid(f"riverkeep-{name}").tags(["riverkeep"])
    made.refresh("30s").time("now-24h", "now").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    made.variables([_source(), _instance(), _runbooks()]).annotation(_Swaps()).link(_others())
    number = 0
    for title, shows in DASHBOARDS[name]:
        number += 1
        made.with_row(dashboard.Row(title).id(number))
        for show in shows:
            number += 1
            made.with_panel(panel_of(show, number))
    return json.dumps(made.build(), cls=JSONEncoder, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _source() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").type("prometheus").label("Data source")


def _instance() -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable("instance").label("Instance").datasource(SOURCE)
    variable.query({"query": INSTANCES, "refId": "instance"}).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.multi(True).include_all(True)  # noqa: FBT003 - the builder's way
    return variable.current(models.VariableOption(text="All", value="$__all"))


def _runbooks() -> dashboard.TextBoxVariable:
    """Where the pages are: whoever has put them somewhere writes that here."""
    variable = dashboard.TextBoxVariable("runbooks").label("Runbooks at").default_value("docs/runbooks/")
    return variable.description("The address of docs/runbooks/, where panels link to what to do.")


class _Annotation(models.AnnotationQuery):
    """With a title, which Grafana's Prometheus knows and the SDK does not."""

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"titleFormat": "swap"}


class _Swaps(Builder[models.AnnotationQuery]):
    """A line through all panels where a serving process went over to another generation."""

    def build(self) -> models.AnnotationQuery:
        swapped = f"changes({of('riverkeep_serving_generation')}[1m]) > 0"
        return _Annotation(name="Swaps", datasource=SOURCE, icon_color="blue", expr=swapped)


def _others() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Riverkeep").type(models.DashboardLinkType.DASHBOARDS).tags(["riverkeep"])
    return link.as_dropdown(True).keep_time(True).include_vars(True)  # noqa: FBT003 - the builder's way


def write() -> None:
    """Put them where they are committed."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(build(name), encoding="utf-8")
