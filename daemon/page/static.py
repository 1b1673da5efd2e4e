"""The files that pages are drawn with: of this package, under addresses that change with what is in them."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "static"
KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_GOOD: Final = "public, max-age=31536000, immutable"


class StaticFiles:
    """All of them, read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._contents: Mapping[str, bytes] = {
            path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in KINDS
        }
        self._versions = {name: sha256(content).hexdigest()[:12] for name, content in self._contents.items()}

    def address(self, name: str) -> str:
        """Where the file of that name is, as it is now."""
        return f"/static/{name}?v={self._versions[name]}"

    async def answer(self, request: Request) -> Response:
        """A file; kept by browsers for good under its version's address. Raises HTTPException."""
        name = request.path_params["name"]
        if name not in self._contents:
            raise HTTPException(404, "There is no such file.")
        is_this_version = request.query_params.get("v") == self._versions[name]
        kind = KINDS[Path(name).suffix]
        headers = {"cache-control": FOR_GOOD if is_this_version else "no-cache"}
        return Response(self._contents[name], headers=headers, media_type=kind)
