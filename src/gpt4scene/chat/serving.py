"""Images of scenes for the page: by scene and number, so that no path is ever asked for."""

from __future__ import annotations

from typing import Any

from gpt4scene.chat.numbers import kind_of
from gpt4scene.chat.visits import Scenes
from gpt4scene.errors import DataError
from gpt4scene.files.prepared import PreparedScene

PLACE = "scene-images"
"""What the addresses of images begin with, relative to the page."""


def addresses_of(key: str, scene: PreparedScene) -> list[str]:
    """Return the addresses of a scene's images, in the order of ``scene.images``."""
    return [f"{PLACE}/{key}/{number}" for number in range(len(scene.images))]


def image_routes(scenes: Scenes) -> list[Any]:
    """Return the routes that give the images of ``scenes``."""
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def image(request: Request) -> Response:
        number = int(request.path_params["number"])
        try:
            images = scenes.get(request.path_params["key"]).images
        except DataError:
            images = ()
        if number >= len(images) or not images[number].is_file():
            return PlainTextResponse("there is no such image", status_code=404)
        headers = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
        return FileResponse(images[number], media_type=kind_of(images[number]), headers=headers)

    return [Route(f"/{PLACE}/{{key:str}}/{{number:int}}", image)]
