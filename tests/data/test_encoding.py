import pickle
from pathlib import Path

import numpy as np
import pytest

from gpt4scene.data.encoding import Encoder, RowTooLong
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import DataError
from gpt4scene.types import IGNORED, Conversation, Origin, Question, Turn

TEMPLATE = TEMPLATES["qwen2_vl"]


def reference_ids(tokenizer, conversation, grids, merge=2):
    """The whole rendered row tokenised at once, pads multiplied afterwards."""
    text = "".join(segment.text for segment in TEMPLATE.render(conversation.turns))
    counts = iter(rows * columns // merge**2 for _, rows, columns in grids)
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    ids = []
    for token in tokenizer.encode(text, add_special_tokens=False):
        ids += [pad] * next(counts) if token == pad else [token]
    return ids


def test_ids_equal_the_whole_row_tokenised_at_once(encoder, tokenizer, make_row, images):
    row = make_row(images, "\n\nWhat is left of the bed?\n", "The door. It is open.")
    sample = encoder.encode(row)
    assert sample.ids_L.tolist() == reference_ids(tokenizer, row, sample.grids)
    end = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    assert sample.ids_L[sample.cut - 1] == end and end not in sample.ids_L[sample.cut :]


def test_labels_are_the_answer_and_its_end_mark(encoder, tokenizer, make_row, images):
    sample = encoder.encode(make_row(images, "Which?", "The red one."))
    learned = sample.labels_L[sample.labels_L != IGNORED]
    assert tokenizer.decode(learned) == "The red one.<|im_end|>"
    assert np.array_equal(sample.ids_L[sample.labels_L != IGNORED], learned)


def test_images_of_three_shapes_cost_their_grids(encoder, tokenizer, make_row, images):
    sample = encoder.encode(make_row(images, "Which?", "That."))
    pads = (sample.ids_L == tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum()
    assert sample.grids == ((1, 6, 8), (1, 8, 4), (1, 4, 4))
    assert pads == 12 + 8 + 4


def test_no_pixel_is_decoded(encoder, make_row, images):
    for path in images:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])
    assert len(encoder.encode(make_row(images, "Which?", "That.")).grids) == 3


def test_rows_of_a_scene_share_their_key_and_prefix(encoder, make_row, images):
    one, two = make_row(images, "Which?", "A."), make_row(images, "Where to?", "B, C.", 1)
    other = make_row(images[:2], "Which?", "A.", 2)
    assert encoder.prefix_key(one) == encoder.prefix_key(two) != encoder.prefix_key(other)
    first, second = encoder.encode(one), encoder.encode(two)
    assert first.cut == second.cut > 0
    assert np.array_equal(first.ids_L[: first.cut], second.ids_L[: second.cut])


def test_words_before_the_images_part_the_prefixes(encoder, images):
    def row(lead):
        turns = (Turn("user", lead + "<image>" * 3 + "Which?"), Turn("assistant", "A."))
        return Conversation(turns, images, Origin("demo", "d.json", 0))

    assert encoder.prefix_key(row("Look: ")) != encoder.prefix_key(row(""))


def test_an_answer_before_the_last_image_shares_nothing(encoder, images):
    turns = (Turn("user", "<image>A?"), Turn("assistant", "Yes."), Turn("user", "<image><image>B?"))
    row = Conversation((*turns, Turn("assistant", "No.")), images, Origin("demo", "d.json", 0))
    sample = encoder.encode(row)
    assert sample.cut == 0 and encoder.prefix_key(row) is None and len(sample.grids) == 3
    assert encoder.length_bound(row) == len(sample.ids_L)


def test_a_row_without_images_has_no_prefix(encoder, make_row):
    sample = encoder.encode(make_row((), "Hello?", "Hi."))
    assert sample.cut == 0 and sample.grids == ()


def test_train_on_prompt_learns_words_behind_the_cut_only(tokenizer, rule, make_row, images):
    encoder = Encoder(tokenizer, TEMPLATE, rule, train_on_prompt=True)
    sample = encoder.encode(make_row(images, "Which one is it?", "That."))
    assert (sample.labels_L[: sample.cut + 1] == IGNORED).all()
    text = tokenizer.decode(sample.labels_L[sample.labels_L != IGNORED])
    assert "one is it?<|im_end|>" in text and text.endswith("That.<|im_end|>") and "assistant" not in text


def test_mask_history_learns_the_last_answer_only(tokenizer, rule):
    turns = (Turn("user", "A?"), Turn("assistant", "Yes."), Turn("user", "B?"), Turn("assistant", "No."))
    row = Conversation(turns, (), Origin("demo", "d.json", 0))
    sample = Encoder(tokenizer, TEMPLATE, rule, mask_history=True).encode(row)
    assert tokenizer.decode(sample.labels_L[sample.labels_L != IGNORED]) == "No.<|im_end|>"
    with pytest.raises(ValueError, match="exclude each other"):
        Encoder(tokenizer, TEMPLATE, rule, mask_history=True, train_on_prompt=True)


def test_a_longer_row_is_an_error_that_names_it(tokenizer, rule, make_row, images):
    row = make_row(images, "Which?", "That.", 41)
    length = len(Encoder(tokenizer, TEMPLATE, rule).encode(row).ids_L)
    assert len(Encoder(tokenizer, TEMPLATE, rule, cutoff_len=length).encode(row).ids_L) == length
    with pytest.raises(RowTooLong, match=rf"demo\.json, row 41.*{length} tokens.*cutoff_len is {length - 1}"):
        Encoder(tokenizer, TEMPLATE, rule, cutoff_len=length - 1).encode(row)


@pytest.mark.parametrize("answer", ["Yes.", "Ünïcödé 椅子 <OBJ012>.", ""])
def test_length_bound_is_never_too_small(encoder, make_row, images, answer):
    row = make_row(images, "Which?", answer)
    assert encoder.length_bound(row) >= len(encoder.encode(row).ids_L)


def test_mark_count_and_control_tokens_are_checked(encoder, make_row, images):
    row = make_row(images, "Which?", "That.", 5)
    with pytest.raises(DataError, match="row 5.*3 <image> marks, but 2 images"):
        encoder.encode(Conversation(row.turns, images[:2], row.origin))
    with pytest.raises(DataError, match=r"row 6.*user message holds <\|image_pad\|>"):
        encoder.encode(make_row(images, "Which <|image_pad|>?", "That.", 6))


def question(images, prompt):
    return Question("scanqa", 3, "scene0011_00", prompt, images)


def test_a_question_is_the_row_up_to_its_answer(encoder, make_row, images):
    sample = encoder.encode_question(question(images, "Which?"))
    row = encoder.encode(make_row(images, "Which?", "That."))
    assert row.ids_L[: len(sample.ids_L)].tolist() == sample.ids_L.tolist()
    assert row.labels_L[len(sample.ids_L)] != IGNORED and (sample.labels_L == IGNORED).all()
    assert sample.cut == row.cut


def test_marks_in_a_question_are_kept(encoder, tokenizer, images):
    sample = encoder.encode_question(question(images, "Top: <image> views: <image><image> Which?"))
    text = tokenizer.decode(sample.ids_L)
    assert "<|im_end|>\n<|im_start|>user\nTop: <|vision_start|>" in text
    assert text.endswith(" Which?<|im_end|>\n<|im_start|>assistant\n")
    with pytest.raises(DataError, match="row 3.*scene0011_00.*1 <image> marks, but its scene has 3"):
        encoder.encode_question(question(images, "<image>Which?"))


def test_a_tokenizer_of_another_family_is_refused(rule):
    class Words:
        def encode(self, text, *, add_special_tokens):
            return [1] * len(text)

    with pytest.raises(ValueError, match="needs the token <|vision_start|>"):
        Encoder(Words(), TEMPLATE, rule)


def test_an_encoder_travels_to_worker_processes(encoder, make_row, images):
    row = make_row(images, "Which?", "That.")
    expected = encoder.encode(row).ids_L
    assert np.array_equal(pickle.loads(pickle.dumps(encoder)).encode(row).ids_L, expected)


@pytest.mark.parametrize(
    ("limits", "named", "not_named"),
    [
        ({"image_resolution": 112}, "lower image_resolution, show fewer images than 3, or", "pixels"),
        ({"image_resolution": None, "image_max_pixels": 10000}, "lower image_max_pixels, show fewer", "resolution"),
        (
            {"image_resolution": 112, "image_max_pixels": 9000},
            "lower image_resolution or image_max_pixels",
            "set image",
        ),
        ({"image_resolution": None}, "set image_max_pixels, show fewer images", "lower"),
        ({"image_resolution": 112, "image_min_pixels": 9}, "lower image_resolution, show", "image_min_pixels"),
        ({"image_resolution": 112, "image_min_pixels": 20000}, "lower image_min_pixels, show", "image_max_pixels"),
    ],
)
def test_a_row_that_is_too_long_names_the_limits_that_apply(tokenizer, images, make_row, limits, named, not_named):
    row = make_row(images, "What?", "That.")
    vision = VisionRule(**limits)
    length = len(Encoder(tokenizer, TEMPLATES["qwen2_vl"], vision).encode(row).ids_L)
    with pytest.raises(RowTooLong) as error:
        Encoder(tokenizer, TEMPLATES["qwen2_vl"], vision, cutoff_len=length - 1).encode(row)
    assert named in str(error.value) and not_named not in str(error.value)
    assert "raise cutoff_len" in str(error.value) and "skip_bad_rows" in str(error.value)


@pytest.mark.parametrize("shown", [0, 3])
def test_a_text_that_is_too_long_alone_is_to_be_shortened(tokenizer, rule, images, make_row, shown):
    row = make_row(images[:shown], "What? " * 50, "That.")
    with pytest.raises(RowTooLong, match=r"raise cutoff_len, shorten the text, which alone has \d+ tokens, or set"):
        Encoder(tokenizer, TEMPLATES["qwen2_vl"], rule, cutoff_len=40).encode(row)
