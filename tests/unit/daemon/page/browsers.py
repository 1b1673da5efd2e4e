"""A browser without a screen: it keeps cookies, sends what browsers send, and finds the forms on a page."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from daemon.admin.app import create_app
from daemon.admin.token import Token
from daemon.control.audited import AuditedControl
from daemon.control.protocol import Control
from daemon.page.app import with_page
from memory.store import Store

TOKEN = "a-token-of-the-test"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "sec-fetch-site": "same-origin"}
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class PageInFront:
    """The admin surface with its page, on a control.

    Args:
        control: answers.
        store: keeps the audit log; None: nobody does.
        scheme: http or https.
    """

    def __init__(
        self,
        control: object,
        store: Store | None = None,
        *,
        scheme: str = "http",
        closing: Callable[[], bool] = lambda: False,
    ) -> None:
        self.registry, self.token = CollectorRegistry(), Token(TOKEN)
        answering = cast("Control", control if store is None else AuditedControl(cast("Control", control), store))
        app = with_page(
            create_app(answering, self.registry, self.token), answering, self.registry, lambda: self.token.text, closing
        )
        self._app, self.desk = app, app.desk
        self._scheme = scheme

    def browser(self) -> "Browser":
        """One that nobody has signed in."""
        return Browser(TestClient(self._app, base_url=f"{self._scheme}://testserver", follow_redirects=False))


class Browser:
    """Asks as a browser does."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, **headers: str) -> Any:
        """A page, without following where it leads."""
        return self.client.get(path, headers={**HTML, **headers})

    def send(self, path: str, fields: Mapping[str, str], **headers: str) -> Any:
        """A form, as it is given."""
        return self.client.post(path, data=dict(fields), headers={**HTML, **headers})

    def send_pairs(self, path: str, fields: Sequence[tuple[str, str]]) -> Any:
        """A form of which a name may come several times, as boxes that are ticked do."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self.client.post(path, content=urlencode(fields), headers={**HTML, **kind})

    def form_token(self, path: str = "/sign-in") -> str:
        """The token in the forms of a page."""
        found = FORM_TOKEN.search(self.get(path).text)
        assert found is not None
        return found[1]

    def sign_in(self, token: str = TOKEN, *, name: str = "", to: str = "/") -> Any:
        """Fill in the form."""
        fields = {"form_token": self.form_token(), "token": token, "name": name, "to": to}
        return self.send("/sign-in", fields)

    def signed_in(self, name: str = "ada") -> "Browser":
        """The same, with somebody signed in."""
        assert self.sign_in(name=name).status_code == 303
        return self

    def act(self, action: str, **fields: str) -> Any:
        """Press the button on the page that asks."""
        return self.send(f"/act/{action}", {"form_token": self.form_token("/rounds"), "step": "do", **fields})
