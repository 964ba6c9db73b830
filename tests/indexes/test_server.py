"""The server class where no server answers, or answers badly; what it promises otherwise is in test_contract.py."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrag.errors import ConfigError, ForeignIndex, IndexFailure, IndexUnavailable, MissingExtra
from rsrag.indexes.base import CollectionSpec, Point
from rsrag.indexes.calls import Retry
from rsrag.indexes.edge import EdgeIndex
from rsrag.indexes.open import open_index

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")

from qdrant_client import QdrantClient, models

from rsrag.indexes.server import ServerIndex

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
]
SPEC = CollectionSpec("tiles", {"image": 4}, keywords=("kind",), numbers=("cloud",))
KEY = "k3y-0f-the-archive"
QUICK = Retry(attempts=3, first_wait=0.001)
Answer = tuple[int, dict[str, Any]]


class Server:
    """An HTTP server on loopback that answers with what a test says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str, dict[str, str]], Answer]) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def _any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.append(f"{self.command} {self.path}")
                status, body = answer(self.path, dict(self.headers))
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, dict[str, str]], Answer]], Server]]:
    started: list[Server] = []

    def start(answer: Callable[[str, dict[str, str]], Answer]) -> Server:
        started.append(Server(answer))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def _exists(is_there: bool) -> Answer:
    return 200, {"result": {"exists": is_there}, "status": "ok", "time": 0.0}


def test_a_busy_server_is_asked_again(serve: Any) -> None:
    answers = iter([(503, {}), (429, {}), _exists(False)])
    server = serve(lambda *_: next(answers))
    index = ServerIndex(server.url, prefer_grpc=False, retry=QUICK)
    assert index.count("tiles") == 0
    assert server.asked == ["GET /collections/rsrag_tiles/exists"] * 3
    index.close()


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_no_server(grpc: bool) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = QdrantClient(
        host="127.0.0.1", port=port, grpc_port=port, prefer_grpc=grpc, timeout=2, check_compatibility=False, https=False
    )
    index = ServerIndex(f"http://127.0.0.1:{port}", retry=QUICK, client=client)
    with pytest.raises(IndexUnavailable, match=rf"127\.0\.0\.1:{port}.*tried 3 times") as caught:
        index.ensure(SPEC)
    assert "server running" in str(caught.value)
    index.close()
    client.close()


def test_a_failure_that_will_not_pass_is_reported_at_once(serve: Any) -> None:
    server = serve(lambda *_: (400, {"status": {"error": "wrong shape of things"}}))
    index = ServerIndex(server.url, prefer_grpc=False, retry=QUICK)
    with pytest.raises(IndexFailure, match="wrong shape of things") as caught:
        index.drop("tiles")
    assert not isinstance(caught.value, IndexUnavailable)
    assert len(server.asked) == 1
    index.close()


@pytest.mark.parametrize("status", [401, 403, 503])
def test_the_key_is_sent_and_never_shown(serve: Any, status: int) -> None:
    keys: list[str | None] = []

    def echo(_: str, headers: dict[str, str]) -> Answer:
        keys.append({name.lower(): value for name, value in headers.items()}.get("api-key"))
        return status, {"status": {"error": f"got {headers}"}}

    server = serve(echo)
    url = server.url.replace("://", "://someone:s3cret-w0rd@")
    index = open_index(url, api_key=KEY, prefer_grpc=False, retry=QUICK)
    with pytest.raises(IndexFailure) as caught:
        index.count("tiles")
    assert keys[0] == KEY
    shown = "".join(traceback.format_exception(caught.value)) + repr(index) + repr(caught.value)
    assert KEY not in shown and "s3cret-w0rd" not in shown
    assert ("index_api_key" in shown) == (status != 503)
    index.close()


def test_settings_of_a_new_collection_reach_the_server(serve: Any) -> None:
    bodies: list[dict[str, Any]] = []
    client = QdrantClient(":memory:")

    class Watched:
        def __getattr__(self, name: str) -> Any:
            def call(*given: Any, **options: Any) -> Any:
                if name == "create_collection":
                    bodies.append(dict(options))
                    options.pop("shard_number")
                    options.pop("replication_factor")
                return getattr(client, name)(*given, **options)

            return call

    index = ServerIndex("http://127.0.0.1:1", shard_number=6, replication_factor=2, client=Watched())
    index.ensure(SPEC)
    assert (bodies[0]["shard_number"], bodies[0]["replication_factor"]) == (6, 2)
    assert bodies[0]["metadata"]["rsrag"]["schema"] == 1
    client.close()


def test_every_filtered_field_gets_an_index() -> None:
    client = QdrantClient(":memory:")
    made: dict[str, str] = {}

    class Watched:
        def __getattr__(self, name: str) -> Any:
            if name == "create_payload_index":
                return lambda _, field_name, field_schema, wait: made.update({field_name: field_schema.value})
            return getattr(client, name)

    ServerIndex("http://127.0.0.1:1", client=Watched()).ensure(SPEC)
    numbers = ["_where.west", "_where.south", "_where.east", "_where.north", "_when.start", "_when.end", "cloud"]
    assert made == dict.fromkeys(numbers, "float") | {"_where.centre": "geo", "kind": "keyword"}
    client.close()


def test_archives_share_a_server_by_prefix() -> None:
    client = QdrantClient(":memory:")
    ours = ServerIndex("http://127.0.0.1:1", client=client)
    theirs = ServerIndex("http://127.0.0.1:1", client=client, prefix="other_")
    ours.ensure(SPEC)
    theirs.ensure(CollectionSpec("tiles", {"image": 7}))
    ours.drop("tiles")
    assert [c.name for c in client.get_collections().collections] == ["other_tiles"]
    client.close()


def test_a_collection_of_another_archive_is_neither_used_nor_dropped() -> None:
    client = QdrantClient(":memory:")

    def index(archive: str | None) -> ServerIndex:
        return ServerIndex("http://127.0.0.1:1", client=client, archive=archive)

    index("first").ensure(SPEC)
    point = Point(str(uuid.uuid4()), {"image": np.ones(4, np.float32)}, {"kind": "a", "cloud": 1.0})
    index("first").upsert("tiles", [point])
    second = index("second")
    for call in (
        lambda: second.ensure(SPEC),
        lambda: second.drop("tiles"),
        lambda: second.upsert("tiles", [point]),
        lambda: second.delete("tiles", [point.id]),
        lambda: second.ids("tiles"),
    ):
        with pytest.raises(ForeignIndex, match=r"'rsrag_tiles'.*another archive.*index_prefix"):
            call()
    assert list(index("first").ids("tiles")) == [point.id]
    index("first").drop("tiles")
    second.ensure(SPEC)
    with pytest.raises(ForeignIndex):
        index("first").ensure(SPEC)
    client.close()


def test_a_collection_without_a_name_belongs_to_the_first_archive_that_opens_it() -> None:
    client = QdrantClient(":memory:")
    ServerIndex("http://127.0.0.1:1", client=client).ensure(SPEC)
    ServerIndex("http://127.0.0.1:1", client=client, archive="first").ensure(SPEC)
    with pytest.raises(ForeignIndex):
        ServerIndex("http://127.0.0.1:1", client=client, archive="second").ensure(SPEC)
    # Another filter key is added, and the name stays.
    more = CollectionSpec("tiles", {"image": 4}, keywords=("kind", "sensor"), numbers=("cloud",))
    ServerIndex("http://127.0.0.1:1", client=client).ensure(more)
    with pytest.raises(ForeignIndex):
        ServerIndex("http://127.0.0.1:1", client=client, archive="second").ensure(SPEC)
    client.close()


def test_a_collection_of_somebody_else_is_left_alone() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("rsrag_tiles", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    index = ServerIndex("http://127.0.0.1:1", client=client)
    for call in (lambda: index.ensure(SPEC), lambda: index.ids("tiles")):
        with pytest.raises(IndexFailure, match=r"does not say what it holds.*1\.16"):
            call()
    client.close()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(MissingExtra, match=r"rsrag\[qdrant\]"):
        open_index("http://127.0.0.1:1")


def test_opening_by_location(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'grpc'"):
        open_index("grpc://127.0.0.1:6334")
    for wrong in ("localhost:6333", "10.0.0.1:6333/"):  # someone forgot the scheme
        with pytest.raises(ConfigError, match="no URL of a Qdrant server"):
            open_index(wrong, api_key=None)
    with pytest.raises(ConfigError, match="no URL"):
        open_index(str(folder / "index"), api_key="secret")
    own = open_index(str(folder / "own"), api_key=None)
    assert isinstance(own, EdgeIndex)
    own.close()
    index = open_index(str(folder / "index"))
    assert isinstance(index, EdgeIndex)
    index.close()
    server = open_index("https://127.0.0.1:1", prefer_grpc=False)
    assert isinstance(server, ServerIndex)
    server.close()


def test_waits_grow_and_are_spread() -> None:
    retry = Retry(attempts=4, first_wait=1.0)
    for failures, middle in ((1, 1.0), (2, 2.0), (3, 4.0)):
        waits = [retry.wait(failures, None) for _ in range(50)]
        assert middle / 2 <= min(waits) < max(waits) <= middle * 1.5
    assert retry.wait(1, 7.0) == 7.0
    assert retry.wait(1, 900.0) == 20.0
