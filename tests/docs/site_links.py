"""A hook of mkdocs: links that lead out of `docs/`, into the checkout, have nowhere to lead on the site.

Their text stays, with the file's path where the text does not name it.
"""

import re
from typing import Any, Final

OUTSIDE: Final = re.compile(r"(?<!!)\[([^\]]*)\]\(\.\./([^)\s#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page's text, without those links; mkdocs calls this."""
    return OUTSIDE.sub(_named, markdown)


def _named(link: "re.Match[str]") -> str:
    text, path = link[1], link[2]
    return text if path in text else f"{text} (`{path}`)"
