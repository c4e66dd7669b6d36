"""From what ``feature_cache`` says to a cache of features on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gpt4scene.files.features import FeatureFolder
from gpt4scene.model.features import FeatureCache
from gpt4scene.settings.feature_cache import FeatureCacheChoice

SHARE = 8
"""One part in so many of the free memory is taken where nothing is said."""
MOST = 16 * 10**9
_CGROUP = Path("/sys/fs/cgroup")


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


def free_memory(group: Path = _CGROUP) -> int:
    """Return the bytes of memory that programs may still take, under the limit of a container where there is one."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:  # no control group of the second version: no limit
        return free
    return min(free, max(0, int(limit) - int(used))) if limit.isdecimal() and used.isdecimal() else free
