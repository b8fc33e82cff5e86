"""Pages of a headless Chromium, and the server as people start it."""

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import pytest
from playwright.sync_api import expect, sync_playwright

from bot.settings import ROOT
from tests.web.completions import Completions

CHROMIUM = os.environ.get("SHOPTALK_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
expect.set_options(timeout=30_000)  # a busy machine takes its time


@contextmanager
def serving(**environment):
    """`bot serve` in a process of its own: (process, address, the desk's sign-in address)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "serve"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "BOT_PORT": "0", "PYTHONUNBUFFERED": "1", **environment},
    )  # fmt: skip
    try:
        address = desk = ""
        for line in process.stdout:
            if match := re.search(r"Shop page +(http\S+)", line):
                address = match[1]
            if match := re.search(r"desk +(http\S+)", line):
                desk = match[1]
            if "API documentation" in line:
                break
        assert address and desk, "the server did not say where to look"
        yield process, address, desk
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        process.stdout.close()


@pytest.fixture
def endpoint():
    Completions.go.clear()
    Completions.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Completions)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    if not os.path.exists(CHROMIUM):
        pytest.skip("No Chromium; install Debian's package chromium.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser):
    """Makes pages that may talk to this machine only, and fail on a script error."""
    contexts, wrong = [], []

    def make(**values):
        context = browser.new_context(**values)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda r: wrong.append(r.url) if not re.match(r"(https?|wss?)://127\.|data:|blob:", r.url) else None,
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert not wrong
