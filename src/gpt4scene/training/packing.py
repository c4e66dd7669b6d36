"""``scene_packing: auto``: how many questions share a pack, by the questions of a step and by memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transformers import AutoConfig, TrainingArguments

from gpt4scene.data.packs import PackDataset
from gpt4scene.families.registry import shape_of
from gpt4scene.files.run_folder import MARK
from gpt4scene.files.whole import read_json
from gpt4scene.model.loading import meta_model
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.checkpointing import options_of, pack_size
from gpt4scene.training.fitting import free_bytes, kernels_of, setup_of
from gpt4scene.training.launch_files import deepspeed_content
from gpt4scene.training.memory import PackSize, largest_pack
from gpt4scene.training.processes import gather_all, on_first
from gpt4scene.types import EncodedSample


def branches_of(
    config: TrainConfig, arguments: TrainingArguments, folder: Path, rows: PackDataset, checkpoint: Path | None
) -> int:
    """Return the most questions of one pack; every process calls this, before a weight is loaded.

    It is what the settings say, or with ``auto`` what ``checkpoint`` was trained with. Without one, it is the questions
    of a step and process, or as many as the memory of the smallest device holds by the estimate. Without an accelerator
    nothing is estimated. With plain attention on one it is 1: whole score matrices are kept.
    """
    said, questions = config.tuning.scene_packing, config.rows_per_step
    if said != "auto":
        return said
    if checkpoint is not None:
        return on_first(lambda: read_json(checkpoint / MARK)["branches"])
    free = gather_all(None if arguments.device.type == "cpu" else free_bytes(arguments.device))
    known = [size for size in free if size is not None]
    if len(known) < len(free) or questions == 1:
        return questions
    if config.model.flash_attn == "disabled":
        return 1
    model = shape_of(AutoConfig.from_pretrained(folder))
    kernels, _ = kernels_of(config, meta_model(folder), arguments.device)
    fused = kernels is not None and kernels.both
    setup = setup_of(config, model, arguments.world_size, deepspeed=deepspeed_content(config), fused=fused)
    pack = on_first(lambda: widest_pack(rows, questions))
    answers = 2 if config.tuning.stage == "dpo" else 1
    most = largest_pack(model, setup, pack, min(known), most=questions * answers, every=recomputed_in_packs(config))
    return max(1, most // answers)


def recomputed_in_packs(config: TrainConfig) -> int:
    """Return which layers are taken to be computed again where ``auto`` sizes packs: all, unless the settings say."""
    if config.tuning.disable_gradient_checkpointing:
        return 0
    return options_of(config).get("every_n_layers") or 1


def widest_pack(rows: PackDataset, branches: int) -> PackSize:
    """Return what ``pack_size`` does, with the images that rows have of their own beside those of their scene."""
    pack, groups, encoder = pack_size(rows, branches), rows.groups, rows.encoder
    own = {row: groups.own_images(row) for row, key in enumerate(groups.keys) if key in groups.parents}
    if not own:
        return pack
    grids = []
    for row in sorted(own, key=lambda row: -own[row])[:branches]:
        shown = rows.rows[row]
        sample = shown if isinstance(shown, EncodedSample) else encoder.encode(shown)
        grids += sample.grids[-own[row] :]
    return replace(
        pack,
        branch=pack.branch + -(-sum(map(encoder.image_length, grids)) // pack.branches),
        patches=pack.patches + sum(map(encoder.vision.patches, grids)),
    )
