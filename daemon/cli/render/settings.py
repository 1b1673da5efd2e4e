"""The settings in force, as a person sees them."""

import json

from rich.text import Text

from daemon.cli.render.screen import console, table
from daemon.control.answers.settings import SettingLine, SettingsAnswer
from daemon.control.printable import inline

STYLES = {"default": "dim", "chosen": "cyan", "earlier": "yellow"}
ORIGINS = {
    "default": "default",
    "chosen": "chosen by what was found here",
    "earlier": "was written, and is not any more",
}


def print_settings(facts: SettingsAnswer) -> None:
    """Each value and where it came from."""
    where = f"of {facts['file']} and the environment" if facts["file"] else "of the environment alone"
    console.print(Text(f"In force in the running daemon, {where}." if facts["running"] else f"Settings {where}."))
    if facts["mistakes"]:
        console.print(Text(f"What is written now cannot be taken over: {facts['mistakes']}", "red"))
    rows = table("setting", "value", "from", fixed=("setting",))
    for line in facts["settings"]:
        style = STYLES.get(line["origin"], "")
        rows.add_row(Text(line["key"], style), Text(_value(line), style), Text(_origin(line), style))
    console.print(rows if facts["settings"] else "No setting is called so, or below that name.")
    if any(line["waits"] for line in facts["settings"]):
        console.print(Text("What waits was written since: a reload (SIGHUP) or a restart takes it over.", "yellow"))


def _value(line: SettingLine) -> str:
    value = line["value"]
    return '"none"' if value is None else inline(json.dumps(value, ensure_ascii=False))


def _origin(line: SettingLine) -> str:
    place = inline(line["place"]) or ORIGINS[line["origin"]]
    return f"{place}; another waits" if line["waits"] else place
