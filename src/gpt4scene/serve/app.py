"""The server's addresses: chat completions, the list of models, health and metrics, with errors in OpenAI's form."""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gpt4scene.inference.served import OURS
from gpt4scene.serve.chat import Chat
from gpt4scene.serve.refusals import Refusal
from gpt4scene.serve.replies import Reply

METRICS_FORM = "text/plain; version=0.0.4; charset=utf-8"


def build_app(chat: Chat, key: str | None) -> FastAPI:
    """Return the application around ``chat``. With a ``key``, whoever asks under ``/v1`` must send it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def allowed(request: Request) -> None:
        if key is not None and not _holds(request.headers.get("authorization", ""), key):
            raise Refusal(401, "the API key is missing or wrong: Authorization: Bearer <key>", code="invalid_api_key")

    only_allowed = [Depends(allowed)]

    @app.post("/v1/chat/completions", dependencies=only_allowed)
    async def completions(request: Request) -> Response:
        try:
            return Reply(await chat.take(request))
        except ClientDisconnect:
            chat.metrics.ended("disconnected")
            return Response(status_code=499)  # nobody reads it

    @app.get("/v1/models", dependencies=only_allowed)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(chat)]}

    @app.get("/v1/models/{name:path}", dependencies=only_allowed)
    async def model(name: str) -> dict[str, Any]:
        if name != chat.model:
            raise Refusal(404, f"the only model here is '{chat.model}'", param="model", code="model_not_found")
        return _model(chat)

    @app.get("/health")
    async def health() -> Response:
        if chat.engine.alive and not chat.places.closed:
            return JSONResponse({"status": "ok"})
        state = "stopping" if chat.engine.alive else "the engine has failed; start the server again"
        return JSONResponse({"status": state}, status_code=503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(chat.metrics.page(), media_type=METRICS_FORM)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        if request.method == "POST":
            chat.metrics.ended(refusal.outcome)
        return JSONResponse(refusal.body, status_code=refusal.status, headers=refusal.headers)

    @app.exception_handler(HTTPException)
    async def no_such_address(request: Request, error: HTTPException) -> Response:
        refusal = Refusal(error.status_code, f"{request.method} {request.url.path[:100]}: {error.detail}")
        return JSONResponse(refusal.body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        refusal = Refusal(500, f"the request failed inside the server ({type(error).__name__})", outcome="failed")
        chat.metrics.ended("failed")
        return JSONResponse(refusal.body, status_code=500)

    _show_state(chat)
    return app


def _holds(header: str, key: str) -> bool:
    """Whether the header holds the key; takes as long for a wrong one as for the right one."""
    kind, _, given = header.partition(" ")
    return hmac.compare_digest(given.strip().encode(), key.encode()) and kind.lower() == "bearer"


def _model(chat: Chat) -> dict[str, Any]:
    return {
        "id": chat.model,
        "object": "model",
        "created": int(chat.started),
        "owned_by": OURS,
        "max_model_len": chat.bounds.context,
    }


def _show_state(chat: Chat) -> None:
    """Let the metrics look at what server and engine hold now."""
    engine, images = chat.scheduler, chat.images
    chat.metrics.look_at(
        {
            "gpt4scene_answers_waiting": ("Answers that have no token yet.", lambda: engine.waiting),
            "gpt4scene_answers_running": ("Answers that grow now.", lambda: engine.running),
            "gpt4scene_answers_taken": ("Answers of requests under way.", lambda: chat.places.taken),
            "gpt4scene_body_bytes": ("Bytes of bodies that are read now.", lambda: chat.bytes.held),
            "gpt4scene_image_bytes": ("Bytes of images that are kept.", lambda: images.bytes),
            "gpt4scene_images": ("Images that are kept.", lambda: len(images)),
            "gpt4scene_prefix_bytes": ("Bytes of prefixes kept.", lambda: engine.statistics().prefix_bytes),
            "gpt4scene_prefixes": ("Scenes whose prefix is kept.", lambda: engine.statistics().prefixes),
        },
        {
            "gpt4scene_images_decoded": ("Images that were decoded.", lambda: images.decoded),
            "gpt4scene_images_found": ("Images that were here already.", lambda: images.found),
            "gpt4scene_prefix_hits": ("Prefixes found again.", lambda: engine.statistics().prefix_hits),
            "gpt4scene_prefix_misses": ("Prefixes computed.", lambda: engine.statistics().prefix_misses),
        },
    )
