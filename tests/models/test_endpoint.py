"""The endpoint reader against a real HTTP server on loopback."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from chat_server import (
    ChatServer,
    answers_whole,
    drops,
    endless,
    fails,
    fails_within,
    hangs,
    keeps_alive,
    one_image_only,
    points_to,
    runs_out,
    says,
)

from rsrag.config import Settings
from rsrag.errors import ConfigError, DegradedResult, ReaderError
from rsrag.models.base import ModelRow, Prompt, Reader
from rsrag.models.endpoint import EndpointReader

pytest.importorskip("langchain_openai")

KEY = "sk-secret-0123456789"
ROW = ModelRow("endpoint", "reader", "endpoint", "")
PROMPT = Prompt("You answer.", "Evidence: a lake.\nQuestion: what?", "what?", (), max_tokens=50)


def reader(server: ChatServer, **changes: Any) -> EndpointReader:
    values: dict[str, Any] = {
        "endpoint_url": server.url,
        "endpoint_model": "m",
        "endpoint_api_key": KEY,
        "endpoint_timeout": 20.0,
        **changes,
    }
    return EndpointReader(ROW, Settings(**values))


def pictured(number: int) -> Prompt:
    rng = np.random.default_rng(3)
    shapes = [(1200, 900, 3), (60, 80, 3), (500, 500, 3)]
    pictures = tuple(rng.integers(0, 256, shapes[i % 3], dtype=np.uint8) for i in range(number))
    return Prompt(PROMPT.system, PROMPT.user, PROMPT.question, (), pictures, max_tokens=50)


def images_of(request: dict[str, Any]) -> list[Any]:
    from PIL import Image

    parts = [p for p in request["body"]["messages"][-1]["content"] if p["type"] == "image_url"]
    head = "data:image/jpeg;base64,"
    assert all(p["image_url"]["url"].startswith(head) for p in parts)
    return [Image.open(io.BytesIO(base64.b64decode(p["image_url"]["url"].removeprefix(head)))) for p in parts]


def test_an_answer_streams_in_pieces() -> None:
    with ChatServer(says("A ", "lake", " [1].")) as server:
        asked = reader(server)
        assert isinstance(asked, Reader)
        assert list(filter(None, asked.read(PROMPT))) == ["A ", "lake", " [1]."]
        (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == f"Bearer {KEY}"
    body = request["body"]
    assert body["model"] == "m"
    assert body["stream"] is True
    assert body["temperature"] == 0
    assert body["max_tokens"] == 50
    assert body["messages"] == [
        {"role": "system", "content": PROMPT.system},
        {"role": "user", "content": PROMPT.user},
    ]


def test_pictures_travel_small_few_and_without_metadata() -> None:
    with ChatServer(says("ok")) as server:
        assert "".join(reader(server).read(pictured(9))) == "ok"
        images = images_of(server.requests[0])
        text = server.requests[0]["body"]["messages"][-1]["content"][-1]
    assert [image.size for image in images] == [(576, 768), (80, 60), (448, 448), (336, 448), (80, 60)]
    assert all(not image.getexif() and image.format == "JPEG" for image in images)
    assert text == {"type": "text", "text": PROMPT.user}


def test_a_server_that_takes_one_picture_gets_a_contact_sheet_from_then_on() -> None:
    with ChatServer(one_image_only) as server:
        asked = reader(server)
        assert "".join(asked.read(pictured(4))) == "1 picture"
        assert len(server.requests) == 2
        (sheet,) = images_of(server.requests[1])
        assert sheet.size[0] > 1000
        assert "labelled Q" in server.requests[1]["body"]["messages"][-1]["content"][-1]["text"]
        assert "".join(asked.read(pictured(2))) == "1 picture"
        assert len(server.requests) == 3
        assert "".join(asked.read(pictured(1))) == "1 picture"
        (single,) = images_of(server.requests[3])
        assert single.size == (576, 768)


def test_a_refusal_within_the_stream_is_understood_too() -> None:
    with ChatServer(fails_within(400, "You may provide at most 1 image(s)"), says("ok")) as server:
        assert "".join(reader(server).read(pictured(3))) == "ok"
        assert [len(images_of(request)) for request in server.requests] == [3, 1]
    with ChatServer(fails_within(503, "warming up"), says("ok")) as server:
        assert "".join(reader(server).read(PROMPT)) == "ok"


def test_a_model_without_eyes_is_told_apart() -> None:
    with ChatServer(fails(400, "this model does not accept image input")) as server:
        with pytest.raises(ReaderError, match="may not take pictures"):
            list(reader(server).read(pictured(1)))
        assert len(server.requests) == 1


def test_a_wrong_key_is_said_once_and_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with ChatServer(fails(401, f"Incorrect API key provided: {KEY}")) as server:
        with pytest.raises(ReaderError, match=r"answered 401.*check endpoint_api_key") as caught:
            list(reader(server).read(PROMPT))
        assert len(server.requests) == 1
        shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {vars(caught.value)} {reader(server)!r}"
    assert KEY not in shown
    assert "•••" in shown
    assert KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(status: int) -> None:
    with ChatServer(fails(status, "busy"), fails(status, "busy"), says("ok")) as server:
        assert "".join(reader(server).read(PROMPT)) == "ok"
        assert len(server.requests) == 3


def test_tries_are_bounded_and_other_faults_are_not_tried_again() -> None:
    with ChatServer(fails(500, "broken")) as server:
        with pytest.raises(ReaderError, match=r"answered 500: .*broken"):
            list(reader(server).read(PROMPT))
        assert len(server.requests) == 3
    with ChatServer(fails(404, "no such model")) as server:
        with pytest.raises(ReaderError, match="check endpoint_url and endpoint_model"):
            list(reader(server).read(PROMPT))
        assert len(server.requests) == 1


def test_a_server_that_hangs_is_given_up() -> None:
    with ChatServer(hangs()) as server:
        with pytest.raises(ReaderError, match=r"gave no answer in 0\.5 s"):
            list(reader(server, endpoint_timeout=0.5).read(PROMPT))
        assert len(server.requests) == 1


def test_comments_that_keep_the_line_open_do_not_fool_the_time_limit() -> None:
    with ChatServer(keeps_alive) as server:
        with pytest.raises(ReaderError, match=r"gave no answer in 0\.7 s"):
            list(reader(server, endpoint_timeout=0.7).read(PROMPT))
        assert server.left.wait(10)


def test_an_endless_answer_is_cut_and_the_line_closed() -> None:
    with ChatServer(endless) as server:
        with pytest.warns(DegradedResult, match="was cut after 800 characters"):
            assert len("".join(reader(server).read(PROMPT))) == 800
        assert server.left.wait(10)


@pytest.mark.parametrize("pieces", [(), ("",)])
def test_an_empty_answer_is_an_abstention(pieces: tuple[str, ...]) -> None:
    with ChatServer(says(*pieces)) as server:
        assert "".join(reader(server).read(PROMPT)) == ""


def test_a_line_that_breaks_in_the_middle_is_an_error_and_nothing_is_asked_twice() -> None:
    with ChatServer(drops("half ")) as server:
        answer = reader(server).read(PROMPT)
        assert next(answer) == "half "
        with pytest.raises(ReaderError, match="failed"):
            list(answer)
        assert len(server.requests) == 1


def test_no_server_at_all() -> None:
    with ChatServer(says()) as server:
        url = server.url
        asked = reader(server)
    with pytest.raises(ReaderError, match="is the server running"):
        list(asked.read(PROMPT))
    assert asked.fingerprint == f"endpoint:{url.split('/')[2]}:m"


def test_keys_of_other_services_in_the_environment_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    with ChatServer(says("ok")) as server:
        assert "".join(reader(server, endpoint_api_key="").read(PROMPT)) == "ok"
        assert "another-service" not in str(server.requests[0]["headers"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"endpoint_url": ""}, "endpoint_url"),
        ({"endpoint_url": "localhost:8000"}, "endpoint_url"),
        ({"endpoint_url": "ftp://localhost/v1"}, "endpoint_url"),
        ({"endpoint_url": "http://localhost:80a/v1"}, "endpoint_url is no URL"),
        ({"endpoint_url": "http://[::1/v1"}, "endpoint_url is no URL"),
        ({"endpoint_url": "http://user:pass@localhost/v1"}, "must not hold a user"),
        ({"endpoint_model": ""}, "endpoint_model"),
    ],
)
def test_settings_are_checked_before_anything_is_sent(changes: dict[str, str], reason: str) -> None:
    values = {"endpoint_url": "http://localhost:1/v1", "endpoint_model": "m", **changes}
    with pytest.raises(ConfigError, match=reason) as caught:
        EndpointReader(ROW, Settings(**values))  # type: ignore[arg-type]
    assert "pass@" not in str(caught.value)


def test_a_question_that_ran_out_of_time_does_not_end_the_next_one() -> None:
    with ChatServer(hangs(), says("ok")) as server:
        asked = reader(server, endpoint_timeout=0.5)
        with pytest.raises(ReaderError, match="gave no answer"):
            list(asked.read(PROMPT))
        assert "".join(asked.read(PROMPT)) == "ok"


def test_nothing_goes_to_another_server_that_the_one_named_points_to() -> None:
    with ChatServer(says("other")) as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost") + "/chat/completions"
        with ChatServer(points_to(elsewhere)) as server:
            with pytest.raises(ReaderError, match="points to another server: localhost"):
                list(reader(server).read(PROMPT))
            assert len(server.requests) == 1
        assert other.requests == []


def test_a_redirect_within_the_server_is_followed() -> None:
    with ChatServer(points_to("/v2/chat/completions"), says("ok")) as server:
        assert "".join(reader(server).read(PROMPT)) == "ok"
        assert server.requests[1]["path"] == "/v2/chat/completions"


@pytest.mark.parametrize(
    ("content_type", "text"),
    [("text/html; charset=utf-8", "<html>Sign in</html>"), ("application/json", '{"error": {"message": "no model"}}')],
)
def test_a_page_is_no_empty_answer(content_type: str, text: str) -> None:
    reason = r"instead of a stream of events .*/v1"
    with ChatServer(answers_whole(content_type, text)) as server, pytest.raises(ReaderError, match=reason):
        list(reader(server).read(PROMPT))


def test_an_answer_that_ran_out_of_tokens_is_said_to_be_cut() -> None:
    with ChatServer(runs_out("A lake of")) as server, pytest.warns(DegradedResult, match="was cut after 50 tokens"):
        assert "".join(reader(server).read(PROMPT)) == "A lake of"
    with ChatServer(runs_out()) as server, pytest.raises(ReaderError, match="gave no answer in 50 tokens"):
        list(reader(server).read(PROMPT))


def test_a_proxy_for_openai_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(says("ok")) as proxy:
        monkeypatch.setenv("OPENAI_PROXY", proxy.url.removesuffix("/v1"))
        assert "".join(reader(proxy, endpoint_url="http://model.invalid/v1").read(PROMPT)) == "ok"
