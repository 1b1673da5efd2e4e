"""What a program says of its models, asked of a real process over HTTP; its models are made up."""

import sys
import threading
from pathlib import Path

from serving.processes.program import Program
from serving.processes.settings import EngineProcessSettings
from serving.settings import ServingSettings

LISTING = """
import http.server, json, sys

class Lists(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        listed = [{"id": "whole", "max_model_len": 96}, {"id": "adapter", "max_model_len": None, "parent": "whole"}]
        body = json.dumps({"data": listed}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Lists).serve_forever()
"""


def test_an_adapter_has_as_much_room_as_the_model_that_it_was_put_into(tmp_path: Path) -> None:
    """The card that vLLM has of an adapter does not say: a prompt near the limit would be let in, and fail there."""
    command = (sys.executable, "-c", LISTING, "{model}", "{port}")
    settings = ServingSettings(engine="command", engine_process=EngineProcessSettings(command=command))
    program = Program(settings, tmp_path, "whole", tmp_path / "output.log", adapter_rank=8)
    try:
        lengths = [program.until_ready(name, threading.Event()).longest for name in ("whole", "adapter")]
    finally:
        program.process.end()
    assert lengths == [96, 96]
