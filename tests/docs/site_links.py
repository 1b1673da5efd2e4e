"""A hook of mkdocs: links that lead out of `docs/`, into the checkout, have nowhere to lead on the site.

Their text stays, with the file's path where the text does not name it.
"""

import re
from posixpath import dirname, join, normpath
from typing import Any, Final

UPWARD: Final = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)\s#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A page's text, without those links; mkdocs calls this."""
    return without_links_outside(markdown, page.file.src_uri)


def without_links_outside(markdown: str, source: str) -> str:
    """The same, of the page at `source` within `docs/`."""

    def named(link: "re.Match[str]") -> str:
        path = normpath(join("docs", dirname(source), link[2]))
        if path.startswith("docs/"):
            return link[0]
        return link[1] if path in link[1] else f"{link[1]} (`{path}`)"

    return UPWARD.sub(named, markdown)
