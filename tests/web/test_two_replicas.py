"""The whole story through nginx on two replicas, one of which is killed in the middle of an answer."""

from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import expect

from tests.replicas.conftest import Redis, free_port, nginx
from tests.store.conftest import empty_schema
from tests.web import story
from tests.web.completions import Completions
from tests.web.conftest import serving


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
