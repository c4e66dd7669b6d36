"""Every workaround for a version of somebody else's library, dated, with the condition for its removal."""

from __future__ import annotations

import torch

SLOW_CONV3D = ("2.9.",)


def check_versions() -> None:
    """Raise ``ValueError`` on library versions that are known to ruin a run.

    torch 2.9.x: its Conv3d, which embeds the patches, is 10 to 20 times slower. Seen in 2026; remove when nobody
    installs 2.9 any more.
    """
    version = torch.__version__
    if version.startswith(SLOW_CONV3D):
        raise ValueError(
            f"torch {version} embeds image patches 10 to 20 times slower than other versions; install another one"
        )


def keep_used_renamings(model: torch.nn.Module) -> None:
    """Make ``model`` save its weights under the key names that they were loaded from.

    transformers 5.23 reverses the renamings of loading when it saves. Under DeepSpeed ZeRO-3 it keeps all known ones,
    used or not, so that ``model.layers`` comes out as ``model.model.layers`` and nothing can load the file. Seen in
    2026-11; remove when a ZeRO-3 checkpoint has the same keys as any other without this.
    """
    renamings = vars(model).get("_weight_conversions")
    if renamings:
        vars(model)["_weight_conversions"] = [renaming for renaming in renamings if renaming.was_used()]
