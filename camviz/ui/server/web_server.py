"""How the app is served: headers on every response, uploads in memory alone, and a warm start."""

from __future__ import annotations

import base64
import hashlib
import importlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from camviz.ui.server.streamlit_internals import inline_scripts


def _hashed(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


# Streamlit makes styles as it goes, and loads the scripts of components, such as camviz's viewer, from blobs. What the
# app's own scripts evaluate is allowed, because programs that drive a browser do that in every page.
_POLICY = {
    "default-src": "'self'",
    "script-src": " ".join(["'self'", "blob:", "'unsafe-eval'", *map(_hashed, inline_scripts())]),
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "media-src": "'self' blob:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'self'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{kind} {sources}" for kind, sources in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}
_ENCODED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class SafeHeaders:
    """Puts `HEADERS` on every response: a page may load nothing from other hosts, and no other site may frame it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_ENCODED]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


MIDDLEWARE = [Middleware(SafeHeaders)]


@asynccontextmanager
async def warmed_up(_: st.App) -> AsyncIterator[None]:
    """While the server runs: uploads never touch the disk, and what the first visit needs is loaded before it comes."""
    MultiPartParser.spool_max_size = 2**40  # Streamlit refuses what is larger than its own limit
    # Imports alone: the first page prepares the server, once its own libraries are loaded too.
    threading.Thread(target=importlib.import_module, args=("camviz.ui.page_frame",), daemon=True).start()
    yield
