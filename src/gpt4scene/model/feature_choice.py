"""From what ``feature_cache`` says to a cache of features on this machine."""

from __future__ import annotations

from collections.abc import Callable

from gpt4scene.files.features import FeatureFolder
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.machine_memory import free_memory
from gpt4scene.settings.feature_cache import FeatureCacheChoice

SHARE = 8
"""One part in so many of the free memory is taken where nothing is said."""
MOST = 16 * 10**9


def open_features(
    choice: FeatureCacheChoice, say: Callable[[str], None], processes: int = 1, most: int = MOST
) -> FeatureCache | None:
    """Return the cache that was chosen, or None where it is off.

    ``processes`` of this machine share the memory that ``auto`` takes, ``most`` bytes for each at most.
    """
    if choice.off:
        return None
    memory = min(most, free_memory() // SHARE // processes) if choice.memory is None else choice.memory
    folder = None if choice.folder is None else FeatureFolder(choice.folder, choice.folder_limit)
    return FeatureCache(memory, folder, say)
