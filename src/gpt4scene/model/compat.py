"""Every workaround for a version of somebody else's library, dated, with the condition for its removal."""

from __future__ import annotations

import torch

SLOW_CONV3D = ("2.9.",)


def check_versions(torch_version: str | None = None) -> None:
    """Raise ``ValueError`` on library versions that are known to ruin a run.

    torch 2.9.x: its Conv3d, which embeds the patches, is 10 to 20 times slower. Seen in 2026; remove when nobody
    installs 2.9 any more.
    """
    version = torch_version or torch.__version__
    if version.startswith(SLOW_CONV3D):
        raise ValueError(
            f"torch {version} embeds picture patches 10 to 20 times slower than other versions; install another one"
        )
