"""Packs whose images need not be decoded, because what the vision tower makes of them is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch.utils.data import Sampler
from transformers import Trainer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from gpt4scene import talk
from gpt4scene.data.packs import PackDataset, WithoutPixels
from gpt4scene.data.sampling import PackSampler, StepSampler
from gpt4scene.files.contents import Contents
from gpt4scene.model.feature_choice import open_features
from gpt4scene.model.recompute import draws
from gpt4scene.model.tower import Tower
from gpt4scene.settings.feature_cache import feature_cache

Key = tuple[int, ...] | None


def sharded(trainer: Trainer) -> bool:
    """Return whether no process holds all weights of the model."""
    return bool(trainer.is_fsdp_enabled) or is_deepspeed_zero3_enabled()


def keep_features(tower: Tower, said: str | bool, processes: int, say: Callable[[str], None]) -> str:
    """Give ``tower`` the cache that ``feature_cache: said`` asks for in each of ``processes``; return a word on it.

    There is none where the tower or its merger learns, or has dropout (of an adapter that is gone on with, frozen
    there), where no process holds all of it (every process must run it in every step, or none), and where transformers
    has no way to take features.
    """
    choice = feature_cache(said)
    if choice.off:
        return "off"
    reason = ""
    if any(part.requires_grad for part in tower.module.parameters()):
        reason = "the vision tower or its merger is trained"
    elif draws(tower.module):
        reason = "adapters in the vision tower have dropout, so that features differ from step to step"
    elif not tower.whole:
        reason = "the vision tower is shared out among the processes"
    elif not tower.can_keep:
        reason = "this version of transformers takes no features for this family; 5.23 does"
    if reason:
        if said not in ("auto", True):
            talk.note(f"feature_cache: {said} has no effect: {reason}", say)
        return f"off: {reason}"
    tower.cache = cache = open_features(choice, lambda sentence: talk.note(sentence, say), processes)
    assert cache is not None
    place = "" if choice.folder is None else f" and {choice.folder}"
    return f"{cache.memory / 1e9:.1f} GB of memory in each process{place}"


class KnownImages(Sampler[Key]):
    """Yields the keys of another sampler; those of packs without an unknown image become ``WithoutPixels``.

    A loader asks for keys in the main process, where the features are, some packs ahead of their turn. Features that
    are dropped until then are computed again from the files.

    Args:
        sampler: of the keys.
        dataset: that takes the keys; it then says in its batches what the image files held.
        tower: with its cache. Without one, the keys stay as they are.
    """

    def __init__(self, sampler: StepSampler | PackSampler, dataset: PackDataset, tower: Tower) -> None:
        self._sampler, self._dataset, self._tower = sampler, dataset, tower
        dataset.contents = Contents() if tower.cache is not None else None

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Key]:
        for key in self._sampler:
            known = self._tower.cache is not None and key and self._tower.knows_files(self._dataset.images(key))
            yield WithoutPixels(key) if known and key else key
