"""Readers behind an OpenAI-compatible server (vLLM, Ollama, llama.cpp, hosted ones), through LangChain's chat model."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rsrag.config import Settings
from rsrag.errors import ConfigError, MissingExtra, ReaderError
from rsrag.models import pictures
from rsrag.models.base import ModelRow, Prompt
from rsrag.models.streaming import Put, Stopped, pieces
from rsrag.plain import clipped, without_controls

if TYPE_CHECKING:
    from PIL import Image

_ATTEMPTS = 3
_CHARACTERS_PER_TOKEN = 16
_REFUSED = {400, 413, 415, 422}
_BUSY = {408, 409, 429, 500, 502, 503, 504}
_NO_STREAM = ("text/html", "application/json")
"""Types of bodies that hold no stream of events."""
_ABOUT_IMAGES = re.compile(r"image|picture|multi-?modal|vision", re.IGNORECASE)


class EndpointReader:
    """A model at ``endpoint_url``; the pictures travel as JPEG data URLs, without metadata.

    A server that takes one picture a request (vLLM without ``--limit-mm-per-prompt``) says so with an error; from then
    on all pictures travel on one contact sheet.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        """Check the settings; nothing is sent before the first question.

        Raises:
            ConfigError: no URL or model name, or a URL that is none.
        """
        try:
            parts = urlsplit(settings.endpoint_url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"endpoint_url is no URL: {error}", hint="such as http://localhost:8000/v1") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "the reader 'endpoint' needs the setting endpoint_url", hint="such as http://localhost:8000/v1"
            )
        if parts.username or parts.password:
            raise ConfigError("endpoint_url must not hold a user or password", hint="set endpoint_api_key")
        if not settings.endpoint_model:
            raise ConfigError("the reader 'endpoint' needs the setting endpoint_model")
        self.name = settings.endpoint_model
        self._host = parts.hostname
        self._where = f"{self._host}:{port}" if port else self._host
        self.fingerprint = f"endpoint:{self._where}:{self.name}"
        self._settings = settings
        self._one_picture = False

    def read(self, prompt: Prompt) -> Iterator[str]:
        """Pieces of the answer as the server sends them.

        Refused connections, 429 and 5xx are tried again, twice at most, as long as nothing has come.

        Raises:
            MissingExtra: langchain-openai is not installed.
            ReaderError: the server refused or failed, sent something else than an answer, pointed to another server, or
                nothing came within ``endpoint_timeout`` seconds.
        """
        types: list[str] = []
        chat = self._chat(types)
        return pieces(
            lambda put: self._ask(chat, prompt, put, types),
            name=f"{self.name} at {self._where}",
            seconds=self._settings.endpoint_timeout,
            characters=_CHARACTERS_PER_TOKEN * prompt.max_tokens,
            cancel=chat.root_client.close,
        )

    def _chat(self, types: list[str]) -> Any:
        """A client with connections of its own: closing it must not end those of other questions.

        Args:
            types: gets the content type of every response.
        """

        def look(response: Any) -> None:
            types.append(response.headers.get("content-type", "").partition(";")[0].strip().lower())
            self._stay(response)

        try:
            from langchain_openai import ChatOpenAI
            from openai import DefaultHttpxClient
        except ImportError as error:
            raise MissingExtra("the reader 'endpoint'", extra="endpoint", package=error.name) from error
        return ChatOpenAI(
            model=self.name,
            base_url=self._settings.endpoint_url,
            # Never the key of another service that happens to be in the environment.
            api_key=self._settings.endpoint_api_key or "none",
            timeout=self._settings.endpoint_timeout,
            max_retries=0,
            temperature=0.0,
            use_responses_api=False,
            cache=False,
            openai_proxy="",  # a proxy and a client exclude each other
            http_client=DefaultHttpxClient(
                event_hooks={"response": [look]}, proxy=os.environ.get("OPENAI_PROXY") or None
            ),
        )

    def _stay(self, response: Any) -> None:
        """Refuse to be sent to another host: it would get the pictures and the evidence."""
        if response.has_redirect_location:
            target = urlsplit(str(response.url.join(response.headers["location"])))
            if target.hostname != self._host:
                raise ReaderError(
                    f"{self.name} at {self._where} points to another server: {clipped(target.netloc, 300)}",
                    hint="set endpoint_url to it, if it is the one you mean",
                )

    def _ask(self, chat: Any, prompt: Prompt, put: Put, types: Sequence[str]) -> None:
        try:
            self._answer(chat, prompt, put, types)
        finally:
            chat.root_client.close()

    def _answer(self, chat: Any, prompt: Prompt, put: Put, types: Sequence[str]) -> None:
        images = pictures.chosen(prompt.pictures)
        attempt = 0
        while True:
            sent = self._sent(images)
            came = False

            def hand_over(text: str) -> None:
                nonlocal came
                came = came or bool(text)
                put(text)

            try:
                self._stream(chat, prompt, sent, hand_over)
                return
            except (Stopped, ReaderError):
                raise
            except Exception as error:  # the client raises its own, httpx's and ValueError
                if isinstance(error.__cause__, ReaderError):
                    raise error.__cause__ from None
                if came:
                    raise self._failure(error, len(sent)) from None
                if isinstance(error, ValueError) and "No generation chunks" in str(error):
                    if types and types[-1] in _NO_STREAM:
                        raise ReaderError(
                            f"{self.name} at {self._where} answered with {types[-1]} instead of a stream of events",
                            hint="check endpoint_url, which often ends in /v1",
                        ) from None
                    return  # LangChain's word for a stream that ends without an event: an empty answer
                if len(sent) > 1 and _about_images(error):
                    self._one_picture = True
                    continue
                attempt += 1
                if attempt >= _ATTEMPTS or not _passing(error):
                    raise self._failure(error, len(sent)) from None
            put("")
            time.sleep(0.25 * 2**attempt * random.uniform(0.5, 1.0))

    def _sent(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        return [pictures.contact_sheet(images)] if self._one_picture and len(images) > 1 else list(images)

    def _stream(self, chat: Any, prompt: Prompt, images: Sequence[Image.Image], put: Put) -> None:
        sheet = self._one_picture and len(prompt.pictures) > 1
        user = f"{pictures.SHEET_NOTE}\n\n{prompt.user}" if sheet else prompt.user
        content: Any = user
        if images:
            parts = [{"type": "image_url", "image_url": {"url": pictures.data_url(image)}} for image in images]
            content = [*parts, {"type": "text", "text": user}]
        messages = [("system", prompt.system), ("human", content)]
        full, came = False, False
        for chunk in chat.stream(messages, **self._limit(prompt.max_tokens)):
            text = _text(chunk.content)
            came = came or bool(text)
            full = full or chunk.response_metadata.get("finish_reason") == "length"
            put(text)
        if full and not came:
            raise ReaderError(f"{self.name} at {self._where} gave no answer in {prompt.max_tokens} tokens")
        if full:
            raise Stopped(f"after {prompt.max_tokens} tokens")

    def _limit(self, tokens: int) -> dict[str, Any]:
        """The limit under the name that the server knows: OpenAI renamed it, others ignore the new name."""
        if self._host.endswith("openai.com"):
            return {"max_tokens": tokens}  # sent as max_completion_tokens
        return {"extra_body": {"max_tokens": tokens}}

    def _failure(self, error: Exception, sent: int) -> ReaderError:
        status = _status(error)
        said = without_controls(str(getattr(error, "message", "") or error))
        if self._settings.endpoint_api_key:
            said = said.replace(self._settings.endpoint_api_key, "•••")
        what = f"answered {status}" if status else "failed"
        hint = None
        if status in (401, 403):
            hint = "check endpoint_api_key"
        elif status == 404:
            hint = "check endpoint_url and endpoint_model"
        elif sent and _about_images(error):
            hint = "the model there may not take pictures"
        elif status is None and _passing(error):
            hint = "is the server running?"
        return ReaderError(f"{self.name} at {self._where} {what}: {clipped(said, 300)}", hint=hint)


def _status(error: Exception) -> int | None:
    """HTTP status of a refusal, also of one that arrives as an event within a stream that began with 200."""
    body = getattr(error, "body", None)
    code = getattr(error, "status_code", None) or (body.get("code") if isinstance(body, dict) else None)
    return code if isinstance(code, int) else None


def _about_images(error: Exception) -> bool:
    return _status(error) in _REFUSED and bool(_ABOUT_IMAGES.search(str(error)))


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return False
    return isinstance(error, openai.APIConnectionError) or _status(error) in _BUSY


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict) and part.get("type") == "text")
