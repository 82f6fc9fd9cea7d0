"""SQuAD files of both versions, and what is wrong in which question."""

import copy
import gzip
import json

import pytest

from bertzoo.readers import squad

CONTEXT = "Café Anna opened in Rome in 1900."
DATA = {
    "version": "v2.0",
    "data": [
        {
            "title": "Anna",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "a1", "question": "Where?", "is_impossible": False,
                         "answers": [{"text": "Rome", "answer_start": 20},
                                     {"text": "in Rome", "answer_start": 17}]},
                        {"id": "a2", "question": "Who?", "is_impossible": True, "answers": [],
                         "plausible_answers": [{"text": "Anna", "answer_start": 5}]},
                        {"id": "a3", "question": "When?"},
                    ],
                }
            ],
        }
    ],
}  # fmt: skip


def test_questions_of_both_versions_are_read(tmp_path):
    path = tmp_path / "dev.json.gz"
    path.write_bytes(gzip.compress(json.dumps(DATA).encode()))
    first, second, third = squad.read_squad(path)
    assert first == squad.SquadExample(
        "Where?", CONTEXT, (squad.GoldAnswer("Rome", 20), squad.GoldAnswer("in Rome", 17)), "a1",
        False, "Anna",
    )  # fmt: skip
    assert (second.answers, second.is_impossible) == ((), True)
    assert (third.answers, third.is_impossible) == ((), False)  # a test set keeps its answers


def changed(change):
    data = copy.deepcopy(DATA)
    change(data["data"][0]["paragraphs"][0])
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(lambda p: p["qas"][0]["answers"][1].update(answer_start=3)),
         r"dev.json, question a1: the answer 'in Rome' is not in its context at character 3, "
         "where 'é Anna ' stands"),
        (changed(lambda p: p["qas"][0]["answers"][0].update(text="")), "a1: the answer ''"),
        (changed(lambda p: p["qas"][0]["answers"][0].update(answer_start="20")),
         "question a1: answer_start should be a number; got '20'"),
        (changed(lambda p: p["qas"][0].update(is_impossible=True)),
         "question a1: is_impossible is true, and it has the answer"),
        (changed(lambda p: p["qas"][1].pop("id")), "paragraph 0: expected SQuAD's key `id`"),
        (changed(lambda p: p["qas"][1].update(question=None)), "question a2: `question` should be"),
        (changed(lambda p: p.pop("context")), "article 0, paragraph 0: expected .* `context`"),
        ({"data": {}}, "dev.json: `data` should be a list; got dict"),
        ({"data": []}, "dev.json has no questions"),
        ([1], "dev.json: expected SQuAD's key `data`; got list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_question(tmp_path, data, message):
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message):
        squad.read_squad(path)


def test_what_is_no_json_is_named(tmp_path):
    path = tmp_path / "dev.json"
    path.write_text('{"data": [')
    with pytest.raises(ValueError, match="is not JSON"):
        squad.read_squad(path)
