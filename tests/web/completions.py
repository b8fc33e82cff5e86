"""A chat completions endpoint for the engine `http`."""

import json
import threading
from http.server import BaseHTTPRequestHandler

from bot.engine.scripted import first_rule
from bot.types import Message
from tests.parts import TEMPLATES

HEADS = {t.texts["nearest"] for t in TEMPLATES.values()}


class Completions(BaseHTTPRequestHandler):
    """A chat completions endpoint that says the nearest rule twice, and halts between until `go` is set."""

    go = threading.Event()
    asked = []
    """Keys of those who asked, in order."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(self.headers["Authorization"].removeprefix("Bearer "))
        rule = first_rule([Message(m["role"], m["content"]) for m in body["messages"]], HEADS)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self.tell(f"{rule}\n{rule[:5]}")
            self.go.wait(120)
            self.tell(rule[5:])
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # Who asked was killed.

    def tell(self, text):
        self.wfile.write(f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass
