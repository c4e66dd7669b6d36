"""Rows of two answers, in LLaMA-Factory's form, and rows of plain text."""

import json
from dataclasses import replace

import pytest

from gpt4scene.data.conversations import Columns, Tags
from gpt4scene.data.datasets import load_conversations
from gpt4scene.data.encoding import Encoder, RowTooLong
from gpt4scene.data.groups import group_rows
from gpt4scene.data.packs import PackDataset
from gpt4scene.data.pairs import alpaca_pair, sharegpt_pair
from gpt4scene.data.plain_text import TextEncoder, plain_text
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import DataError
from gpt4scene.training.run_data import screen
from gpt4scene.types import IGNORED, Conversation, Origin, Turn

COLUMNS = Columns(chosen="chosen", rejected="rejected")
HERE = Origin("d", "f.json", 3)
MESSAGE = {"from": "gpt", "value": "Yes."}
TALK = {"conversations": [{"from": "human", "value": "Is it red?"}]}
PAIR = TALK | {"chosen": MESSAGE, "rejected": {"from": "gpt", "value": "No."}}
TEXTS = {"instruction": "Is it", "input": "red?", "chosen": "Yes.", "rejected": "No."}


def test_both_forms_give_the_conversation_with_the_chosen_answer():
    row = sharegpt_pair(PAIR, COLUMNS, Tags(), HERE)
    assert row.turns == (Turn("user", "Is it red?"), Turn("assistant", "Yes.")) and row.rejected == "No."
    row = alpaca_pair(TEXTS, COLUMNS, Tags(), HERE)
    assert row.turns == (Turn("user", "Is it\nred?"), Turn("assistant", "Yes.")) and row.rejected == "No."
    other = {"messages": [{"role": "user", "content": "Is it red?"}]}
    other |= {side: {"role": "assistant", "content": text} for side, text in (("chosen", "Yes."), ("rejected", "No."))}
    tags = Tags("role", "content", "user", "assistant")
    assert sharegpt_pair(other, COLUMNS, tags, HERE).rejected == "No.", "the list of messages in the other style"
    assert sharegpt_pair(other, COLUMNS, Tags(), HERE).rejected == "No.", "answers in the style of the messages"
    moved = replace(COLUMNS, chosen="output")
    assert alpaca_pair({"instruction": "?", "output": "Yes.", "rejected": "No."}, moved, Tags(), HERE).rejected == "No."


@pytest.mark.parametrize(
    ("read", "row", "words"),
    [
        (sharegpt_pair, TALK | {"chosen": MESSAGE}, "no answer under 'rejected'"),
        (sharegpt_pair, PAIR | {"chosen": "Yes."}, "'chosen' must be one message with 'from' and 'value'"),
        (sharegpt_pair, PAIR | {"rejected": {"from": "human", "value": "No."}}, "'rejected' is said by 'human'"),
        (sharegpt_pair, PAIR | {"rejected": MESSAGE}, "are the same answer"),
        (sharegpt_pair, PAIR | {"conversations": [*TALK["conversations"], MESSAGE]}, "must take turns"),
        (sharegpt_pair, {"chosen": MESSAGE, "rejected": MESSAGE}, "no list of messages"),
        (sharegpt_pair, PAIR | {"weight": 2}, "rows can't be weighed"),
        (sharegpt_pair, PAIR | {"rejected": {"from": "gpt", "value": "<image>"}}, "assistant message holds <image>"),
        (sharegpt_pair, [], "the row is no object"),
        (alpaca_pair, TEXTS | {"chosen": MESSAGE}, "'chosen' must be a text"),
        (alpaca_pair, TEXTS | {"output": "Maybe."}, "'output' holds a third answer"),
        (alpaca_pair, TEXTS | {"rejected": " "}, "assistant message is empty"),
        (plain_text, {"instruction": "a", "output": "b"}, "'output' holds something"),
        (plain_text, {"instruction": "a", "images": ["b.png"]}, "'images' holds something"),
        (plain_text, {"instruction": " "}, "no text under 'instruction'"),
        (plain_text, {"instruction": ["a"]}, "is no text"),
        (plain_text, "a", "no object with keys"),
    ],
)
def test_wrong_rows_are_refused(read, row, words):
    with pytest.raises(DataError, match=rf"f\.json, row 3.*{words}"):
        read(row, COLUMNS, Tags(), HERE)


@pytest.mark.parametrize(
    ("entry", "stage", "words"),
    [
        ({}, "dpo", "holds no preference pairs, which stage: dpo needs"),
        ({"ranking": True}, "dpo", "columns.chosen is missing"),
        ({"ranking": True, "columns": {"chosen": "c", "rejected": "r"}}, "sft", "which stage: sft can't use"),
        ({"ranking": "yes"}, "dpo", "ranking must be true or false"),
        ({"formatting": "sharegpt"}, "pt", "stage: pt learns plain text"),
        ({"ranking": True, "columns": {"chosen": "c", "rejected": "c"}}, "dpo", "are both 'c'"),
        ({"ranking": True, "columns": {"chosen": "output", "rejected": "c"}}, "dpo", "no rows in x"),
    ],
)
def test_a_data_set_must_fit_the_stage(tmp_path, entry, stage, words):
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"x": {"file_name": "a.json"} | entry}))
    with pytest.raises(DataError, match=words):
        load_conversations(["x"], tmp_path, stage=stage)


def test_a_pair_is_two_branches_of_the_scene(tokenizer, rule, images):
    """Also where a turn before the last image was answered: of a pair, nothing before the two answers is learned."""
    turns = (Turn("user", "<image>A?"), Turn("assistant", "B."), Turn("user", "<image><image>C?"))
    rows = [
        Conversation((*turns, Turn("assistant", "D.")), images, HERE, "A longer answer."),
        Conversation((Turn("user", "E?"), Turn("assistant", "F.")), (), HERE, "G."),
    ]
    encoder = Encoder(tokenizer, TEMPLATES["qwen2_vl"], rule, mask_history=True)
    assert group_rows(rows, encoder).keys == (0, -1), "the second rides along"
    pack = PackDataset(rows, encoder).pack([0, 1])
    assert len(pack.branches) == 4 and pack.apart == 2 and len(pack.images) == 3
    learned = [tokenizer.decode(one.labels_L[one.labels_L != IGNORED]) for one in pack.branches]
    assert learned == [f"{text}<|im_end|>" for text in ("D.", "A longer answer.", "F.", "G.")]
    sample = encoder.encode(rows[0])
    longest = max(len(one.ids_L) for one in sample.answers)
    assert longest == len(sample.answers[1].ids_L) <= encoder.length_bound(rows[0])
    tight = Encoder(tokenizer, TEMPLATES["qwen2_vl"], rule, cutoff_len=longest - 1, mask_history=True)
    with pytest.raises(RowTooLong):
        tight.encode(rows[0])


def test_answers_that_differ_in_thoughts_alone_are_refused_where_these_are_left_out(tokenizer, rule):
    thoughts = [f"<think>\n{thought}\n</think>\n\nYes." for thought in ("It is.", "I guess.")]
    row = Conversation((Turn("user", "Is it?"), Turn("assistant", thoughts[0])), (), HERE, thoughts[1])
    with_them, without = (
        Encoder(tokenizer, TEMPLATES["qwen3_vl"].told(enabled), rule, mask_history=True) for enabled in (True, False)
    )
    assert screen([row], with_them).rows == [row]
    with pytest.raises(DataError, match=r"row 3.*both answers are the same once thoughts are left out"):
        screen([row], without)


def test_texts_are_learned_whole_and_without_a_template(tokenizer, rule):
    encoder = TextEncoder(tokenizer, TEMPLATES["qwen2_vl"], rule, cutoff_len=30)
    row = plain_text({"instruction": "A room.", "input": "Red <image>."}, Columns(), Tags(), HERE)
    sample = encoder.encode(row)
    assert tokenizer.decode(sample.ids_L) == "A room.\nRed <image>." + tokenizer.eos_token
    assert sample.labels_L[0] == IGNORED and (sample.labels_L[1:] == sample.ids_L[1:]).all()
    assert encoder.prefix_key(row) is None and len(sample.ids_L) <= encoder.length_bound(row)
    for text, words in (("word " * 40, "cutoff_len is 30"), ("a <|image_pad|>", r"holds <\|image_pad\|>")):
        with pytest.raises(DataError, match=words):
            encoder.encode(plain_text({"instruction": text}, Columns(), Tags(), HERE))
