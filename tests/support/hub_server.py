"""A model hub on loopback: enough of its API for the client to list a repository and fetch files of one commit."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        hub = self.server
        hub.paths.append(path)
        headers: dict[str, str] = {}
        status, body = 404, b"{}"
        if path.startswith(f"/api/models/{hub.repository}/revision/"):
            siblings = [{"rfilename": name} for name in sorted(hub.files)]
            about = {
                "id": hub.repository,
                "modelId": hub.repository,
                "sha": hub.commit,
                "siblings": siblings,
                "tags": [],
            }
            status, body = 200, json.dumps({**about, "private": False, "downloads": 0, "likes": 0}).encode()
        elif path.startswith(f"/api/models/{hub.repository}/tree/"):
            rows = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in sorted(hub.files.items())
            ]
            status, body = 200, json.dumps(rows).encode()
        elif path.startswith(f"/{hub.repository}/resolve/{hub.commit}/"):
            content = hub.files.get(path.split(f"/resolve/{hub.commit}/", 1)[1])
            if content is not None:
                status, body = 200, content
                headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": hub.commit}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json" if path.startswith("/api/") else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


class HubServer(ThreadingHTTPServer):
    """One repository with some files; ``paths`` holds what was asked for."""

    daemon_threads = True

    def __init__(self, repository: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.files = files
        self.commit = COMMIT
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        """What HF_ENDPOINT takes."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()
