"""A small HTTP server on loopback that speaks enough of /v1/chat/completions, with the faults of real ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """Records each request and lets the next reply of the script answer it; the last one answers all further ones."""

    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.requests.append({"path": self.path, "headers": headers, "body": body})
            reply = self.server.script[min(len(self.server.requests), len(self.server.script)) - 1]
        try:
            reply(self, body)
        except (BrokenPipeError, ConnectionResetError):
            self.server.left.set()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def begin_stream(self) -> None:
        """Status and headers of a stream of events; the end of the connection is the end of the body."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, text: str) -> None:
        """One piece of the answer."""
        delta = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
        self.raw(f"data: {json.dumps(chunk)}\n\n")

    def raw(self, text: str) -> None:
        """Bytes as they are."""
        self.wfile.write(text.encode())
        self.wfile.flush()


class ChatServer(ThreadingHTTPServer):
    """Serves a script of replies; ``requests`` holds what came."""

    daemon_threads = True

    def __init__(self, *script: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.left = threading.Event()
        self.release = threading.Event()

    @property
    def url(self) -> str:
        """What the setting endpoint_url takes."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release.set()
        self.shutdown()
        self.server_close()


def says(*pieces: str) -> Reply:
    """A normal streamed answer."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        handler.begin_stream()
        for piece in pieces:
            handler.event(piece)
        handler.raw("data: [DONE]\n\n")

    return reply


def fails(status: int, message: str) -> Reply:
    """An error in OpenAI's format."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        content = json.dumps({"error": {"message": message, "type": "error", "code": status}}).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def fails_within(status: int, message: str) -> Reply:
    """An error as an event of a stream that began well, as vLLM sends it."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        handler.begin_stream()
        handler.raw(f"data: {json.dumps({'error': {'message': message, 'type': 'error', 'code': status}})}\n\n")

    return reply


def hangs(*pieces: str) -> Reply:
    """Some pieces, then silence."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        handler.begin_stream()
        for piece in pieces:
            handler.event(piece)
        handler.server.release.wait(30)

    return reply


def keeps_alive(handler: Handler, body: dict[str, Any]) -> None:
    """Comments for ever, never an answer: a timeout between bytes does not notice."""
    handler.begin_stream()
    while not handler.server.release.wait(0.02):
        handler.raw(": still working\n\n")


def endless(handler: Handler, body: dict[str, Any]) -> None:
    """An answer without end."""
    handler.begin_stream()
    while True:
        handler.event("lake " * 20)


def answers_whole(content_type: str, text: str) -> Reply:
    """A body that is no stream of events, with status 200."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        content = text.encode()
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def points_to(url: str) -> Reply:
    """A redirect that asks for the same request once more."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        handler.send_response(307)
        handler.send_header("Location", url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return reply


def runs_out(*pieces: str) -> Reply:
    """Some pieces, then the limit of tokens is reached."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        handler.begin_stream()
        for piece in pieces:
            handler.event(piece)
        end = [{"index": 0, "delta": {}, "finish_reason": "length"}]
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": end}
        handler.raw(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")

    return reply


def drops(*pieces: str) -> Reply:
    """Some pieces, then the connection breaks off in the middle of an event."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for piece in pieces:
            handler.event(piece)
        handler.close_connection = True

    return reply


def one_image_only(handler: Handler, body: dict[str, Any]) -> None:
    """Refuses several pictures in vLLM's words, otherwise tells how many came."""
    content = body["messages"][-1]["content"]
    images = [] if isinstance(content, str) else [part for part in content if part["type"] == "image_url"]
    if len(images) > 1:
        fails(400, "At most 1 image(s) may be provided in one request.")(handler, body)
    else:
        says(f"{len(images)} picture")(handler, body)
