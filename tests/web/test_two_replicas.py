"""The whole story through nginx on two replicas, one of which is killed in the middle of an answer."""

import json
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bot.engine.scripted import first_rule
from bot.types import Message
from tests.parts import TEMPLATES
from tests.replicas.conftest import Redis, free_port, nginx
from tests.store.conftest import empty_schema
from tests.web import story
from tests.web.conftest import serving

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


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Completions)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def test_the_whole_story_with_a_replica_killed_in_the_middle_of_an_answer(endpoint, tmp_path, new_page):
    redis, names = Redis(), ("a", "b")
    with ExitStack() as stack:
        database = stack.enter_context(empty_schema())
        redis.start()
        stack.callback(redis.kill)
        ports = {name: free_port() for name in names}

        def serve(name):
            return stack.enter_context(
                serving(
                    BOT_DATA=str(tmp_path / "data"), BOT_PORT=str(ports[name]), BOT_DATABASE_URL=database,
                    BOT_REDIS_URL=redis.url, BOT_TOKEN_SECRET="k" * 48, BOT_ENGINE="http", BOT_MODEL="rules",
                    BOT_ENGINE_URL=endpoint, BOT_ENGINE_KEY=name,
                )
            )  # fmt: skip

        running = {name: serve(name) for name in names}
        front = stack.enter_context(nginx(Path(tmp_path / "nginx"), *ports.values()))

        def kill_who_answers(shopper):
            draft = shopper.get_by_test_id("draft")
            expect(draft).to_contain_text("$14.95")
            [answering] = Completions.asked
            running[answering][0].kill()
            Completions.go.set()
            said = shopper.get_by_test_id("message").filter(has_text="$14.95")
            expect(said).to_have_count(1, timeout=60_000)
            expect(draft).to_have_count(0)
            assert len(Completions.asked) == 2 and set(Completions.asked) == set(names)
            serve(answering)

        code = running["b"][2].partition("#")[2]
        story.tell(new_page, front, f"{front}/desk#{code}", meanwhile=kill_who_answers)
