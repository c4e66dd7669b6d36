"""The worked example of docs/families.md: one file and one line, and a checkpoint of the family is trained in packs."""

import os
import re
import shutil
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np
from PIL import Image
from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.families.registry import FAMILIES, shape_of
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import check_checkpoint, load_model, load_tokenizer
from gpt4scene.types import Conversation, Origin, Turn

folder = tiny_model.build(sys.argv[1] + "/model", "qwen2_5_vl")
check_checkpoint(folder)
model = load_model(folder)
assert shape_of(model.config).parameters == sum(one.numel() for one in model.parameters())
image = sys.argv[1] + "/0.png"
Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(image)
encoder = Encoder(load_tokenizer(folder), TEMPLATES[FAMILIES["qwen2_5_vl"].template], image_rule(folder, 112))
rows = [
    encoder.encode(
        Conversation((Turn("user", "<image>" + ask), Turn("assistant", say)), (image,), Origin("d", "f", n))
    )
    for n, (ask, say) in enumerate((("What?", "A chair."), ("Where is the lamp?", "There.")))
]
together = row_losses(model, collate(make_pack(rows), encoder), encoder.vision)
apart = [row_losses(model, collate(make_pack([row]), encoder), encoder.vision)[0] for row in rows]
assert max(abs(float(one) - float(two)) for one, two in zip(together, apart)) < 1e-4
print("as one by one")
"""


@pytest.mark.slow
def test_one_file_and_one_line_are_enough(root, tmp_path):
    shutil.copytree(root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    page = (root / "docs" / "families.md").read_text(encoding="utf-8")
    file, line = re.findall(r"```(?:python|text)\n(.*?)```", page, re.DOTALL)
    folder = tmp_path / "src" / "gpt4scene" / "families"
    registry = (folder / "registry.py").read_text(encoding="utf-8")
    assert registry.count(line) == 1 and registry.count("    qwen2_5_vl,\n") == 1

    def run():
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "HF_HUB_OFFLINE": "1"}
        words = [sys.executable, "-c", SCRIPT, str(tmp_path)]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    (folder / "qwen2_5_vl.py").unlink()
    bare = registry.replace(line, "").replace("    qwen2_5_vl,\n", "")
    (folder / "registry.py").write_text(bare, encoding="utf-8")
    assert "model family 'qwen2_5_vl' is not known" in run().stderr
    (folder / "qwen2_5_vl.py").write_text(file, encoding="utf-8")
    (folder / "registry.py").write_text(registry, encoding="utf-8")
    done = run()
    assert done.returncode == 0 and "as one by one" in done.stdout, done.stderr
