"""What ``gpt4scene demo`` can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class DemoArguments(Arguments):
    """What the demo can be told; the defaults take under ten minutes on two cores."""

    out: str = key("folder that receives everything", "outputs/demo")
    rooms: int = key("rooms to learn from", 6, least=2)
    held_out: int = key("rooms that are only asked about", 2, least=1)
    frames: int = key("marked frames of each room, besides the bird's-eye view", 8, least=1)
    image_width: int = key("width of the rendered frames in pixels", 480, least=64, also=("picture_width",))
    image_resolution: int = key("longest side of the images that the model sees", 112, least=28)
    epochs: float = key("passes over the training rows", 110)
    questions_per_step: int = key("questions of one room that share a training step", 18, least=1)
    learning_rate: float = key("highest learning rate", 1e-3)
    seed: int = key("seed of rooms, model and training", 0)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        above = [f"--{name} must be above 0" for name in ("epochs", "learning_rate") if getattr(self, name) <= 0]
        return [*super().problems(), *above]

    def settings(self) -> dict:
        """What a finished step must have been made with to be kept."""
        return {name: value for name, value in asdict(self).items() if name != "out"}
