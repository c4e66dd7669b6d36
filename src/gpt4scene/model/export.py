"""Writing a plain checkpoint, with LoRA adapters merged in: what transformers, old and new, and vLLM load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import HfApi, save_torch_state_dict
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import PreTrainedModel

from gpt4scene import talk
from gpt4scene.errors import DataError
from gpt4scene.families.family import check_template
from gpt4scene.families.registry import family_of
from gpt4scene.files.whole import whole_folder, write_json
from gpt4scene.model.adapter_chain import chain, check_chain, merge_all
from gpt4scene.model.folder import (
    ModelFolder,
    base_of_adapter,
    check_adapter_folder,
    local_folder,
    save_processor_files,
)
from gpt4scene.model.loading import load_merged, load_tokenizer, meta_model
from gpt4scene.model.released import released_config, released_name, write_released_tokenizer
from gpt4scene.settings.arguments import Arguments, key
from gpt4scene.settings.methods import adapter_names

Layout = Literal["released", "current"]


def export(
    base: Path,
    adapters: Sequence[Path],
    out: str | Path,
    *,
    dtype: str = "auto",
    shard_gb: int = 5,
    layout: Layout = "released",
) -> Path:
    """Write ``base`` with ``adapters`` merged one after the other, tokenizer and processor files, to ``out``.

    ``out`` must be missing or empty; it appears whole or not at all. Weights keep the base's precision unless ``dtype``
    says otherwise, in files of at most ``shard_gb`` gigabytes. ``released`` names tensors and config entries as the
    family's own checkpoints do, ``current`` as transformers 5 does. Returns ``out``. ``DataError`` where an adapter
    does not fit, was trained on another base, or changes no weight.
    """
    with whole_folder(out) as partial:
        adapters = chain(adapters)
        if adapters[1:]:
            check_chain(adapters[1:], meta_model(base), base)
        folder = ModelFolder(base, adapters[0] if adapters else None)
        model = load_merged(folder, dtype=dtype if dtype == "auto" else getattr(torch, dtype))
        model = merge_all(model, adapters[1:])
        _save(model, partial, f"{shard_gb}GB", layout)
        load_tokenizer(base).save_pretrained(partial)
        save_processor_files(base, partial)
        if layout == "released":
            write_released_tokenizer(partial)
    return Path(out)


def merge_adapter(adapter: str | Path, out: str | Path, base: str | Path | None = None, dtype: str = "auto") -> Path:
    """Write ``base`` plus ``adapter`` as one checkpoint to ``out`` and return it; see ``export``.

    ``base`` is the checkpoint that the adapter names when left out.
    """
    check_adapter_folder(Path(adapter))
    return export(local_folder(base) if base else base_of_adapter(Path(adapter)), [Path(adapter)], out, dtype=dtype)


def _save(model: PreTrainedModel, folder: Path, shard: str, layout: Layout) -> None:
    """Save weights and config in ``layout``."""
    family = family_of(model.config)
    if layout == "current":
        model.save_pretrained(folder, max_shard_size=shard, save_original_format=False)
        return
    if family.released_names or family.released_swapped:
        tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
        weights = {
            released_name(family, name): one.transpose(-1, -2).contiguous()
            if name.endswith(family.released_swapped)
            else one
            for name, one in model.state_dict().items()
            if name not in tied
        }
        save_torch_state_dict(weights, folder, max_shard_size=shard, metadata={"format": "pt"})
        model.config.save_pretrained(folder)
        if model.generation_config is not None:
            model.generation_config.save_pretrained(folder)
    else:
        model.save_pretrained(folder, max_shard_size=shard, save_original_format=False)
    content = model.config.to_diff_dict() | {"architectures": [type(model).__name__]}
    write_json(folder / "config.json", released_config(family, content), indent=2)


@dataclass(frozen=True)
class ExportArguments(Arguments):
    """What to merge; every field is a flag of ``gpt4scene export``."""

    out: str = key("checkpoint folder to write", also=("export_dir",))
    adapter: tuple[str, ...] = key(
        "LoRA output folder, or several, merged in this order", (), also=("adapter_name_or_path",)
    )
    model: str | None = key(
        "base checkpoint; the one that the adapter names when left out", None, also=("model_name_or_path",)
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "number format of the weights; auto keeps it", "auto", also=("infer_dtype",)
    )
    shard_gb: int = key("largest file of weights in gigabytes", 5, least=1, also=("export_size",))
    layout: Layout = key(
        "names of tensors and config entries: released (what every transformers and vLLM reads) or current (those of "
        "transformers 5)",
        "released",
    )
    template: str | None = key("chat template of the training; refused where the model's family has another", None)
    hub_model_id: str | None = key("name on the model hub, for --upload", None, also=("export_hub_model_id",))
    upload: bool = key("upload the folder as --hub_model_id once it is written, with the token in HF_TOKEN", False)

    @property
    def adapters(self) -> list[Path]:
        """The folders of the adapters in their order; names may also be separated by commas."""
        return [Path(one) for name in self.adapter for one in adapter_names(name)]

    def problems(self) -> list[str]:
        """Return a sentence for every value that cannot be."""
        wrong = [] if self.adapters or self.model else ["--adapter is missing; name one, or a checkpoint with --model"]
        if self.upload and not self.hub_model_id:
            wrong.append("--upload needs --hub_model_id, the name on the model hub")
        try:
            validate_repo_id(self.hub_model_id or "someone/model")
        except HFValidationError as error:
            wrong.append(f"--hub_model_id '{self.hub_model_id}' is no name of the hub ({error})")
        return [*super().problems(), *wrong]


def main(arguments: ExportArguments) -> int:
    """Write the checkpoint that the arguments ask for; return 0 when done."""
    for adapter in arguments.adapters:
        check_adapter_folder(adapter)
    base = local_folder(arguments.model) if arguments.model else base_of_adapter(arguments.adapters[0])
    if arguments.template:
        check_template(family_of(meta_model(base).config), arguments.template)
    out = export(
        base,
        arguments.adapters,
        arguments.out,
        dtype=arguments.dtype,
        shard_gb=arguments.shard_gb,
        layout=arguments.layout,
    )
    talk.result(f"wrote {out}", path=str(out))
    if arguments.hub_model_id and arguments.upload:
        address = str(_upload(out, arguments.hub_model_id))
        talk.result(f"uploaded to {address}", uploaded=address)
    elif arguments.hub_model_id:
        talk.result(f"not uploaded: add --upload to send {out} to {arguments.hub_model_id}", uploaded=None)
    return 0


def _upload(folder: Path, name: str) -> str:
    """Upload a folder to the model hub and return its address; ``DataError`` where that fails."""
    try:
        hub = HfApi()
        address = hub.create_repo(name, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder)
        return str(address)
    except Exception as error:  # those of the HTTP library among them, which differs by the hub's version
        shown = " ".join(str(error).split())[:200]
        raise DataError(f"{folder} was not uploaded to {name} ({shown}); the folder is complete") from error
