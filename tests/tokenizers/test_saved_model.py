"""The tokenizer inside a SavedModel: only ops of stock TensorFlow Serving, and the same answers."""

import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

BERT = pathlib.Path(__file__).parents[1] / "data" / "bert-base-uncased" / "vocab.txt"
# The ops of tensorflow-text that every stock TensorFlow Serving from 2.13 to 2.20 links and that
# the tokenizer may use.
ALLOWED_TEXT_OPS = {
    "FastBertNormalize",
    "FastWordpieceTokenizeWithOffsets",
    "TFText>ByteSplitByOffsets",
}
TEXTS = ["Hello wörld, ΟΔΟΣ!", "", "ก" * 150, "中文 [MASK]", "a" * 300, "İ\u200b\u0301 ok"]


class Servable(tf.Module):
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(self, text):
        ids, starts, ends = self.tokenizer.tokenize_with_offsets(text)
        return {
            "ids": ids.to_tensor(self.tokenizer.pad_id),
            "starts": starts.to_tensor(),
            "ends": ends.to_tensor(),
            "plain": self.tokenizer(text).to_tensor(),
            "continues": self.tokenizer.continues_word(ids).to_tensor(),
            "text": self.tokenizer.detokenize(ids),
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servable")
    module = Servable(WordPieceTokenizer(BERT, special_tokens_in_text=True))
    tf.saved_model.save(module, folder)
    return folder, module


def saved_nodes(folder):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    return [*graph.node, *(node for f in graph.library.function for node in f.node_def)]


def test_only_ops_that_stock_servers_link_are_used(exported):
    folder, _ = exported
    used = {node.op for node in saved_nodes(folder)}
    core = set(dir(tf.raw_ops))
    assert used - core == ALLOWED_TEXT_OPS
    forbidden = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaCallModule")
    assert not used.intersection(forbidden)
    assert not any("HashTable" in op or "Variable" in op for op in used)


def test_the_ops_on_strings_and_bytes_are_pinned_to_the_cpu(exported):
    _, module = exported
    graph = module.tokenize.get_concrete_function().graph.as_graph_def()
    functions = (node for function in graph.library.function for node in function.node_def)
    names = ("Fast", "TFText", "Regex", "StaticRegex", "DecodeRaw", "Unicode", "Cumsum", "Gather")
    devices = {
        node.op: node.device for node in [*graph.node, *functions] if node.op.startswith(names)
    }
    assert set(devices) >= ALLOWED_TEXT_OPS | {"DecodeRaw", "Cumsum"}
    assert {device for device in devices.values() if "CPU:0" not in device} == set()


def test_the_model_is_in_the_file_once(exported):
    folder, _ = exported
    # 1.7 MB of WordPiece model, 0.25 MB of table and 0.4 MB of tokens; no assets.
    assert (folder / "saved_model.pb").stat().st_size < 4_000_000
    assert list((folder / "assets").iterdir()) == []


@pytest.mark.long
def test_a_fresh_process_without_bertzoo_gives_the_same_answers(exported):
    folder, module = exported
    program = (
        "import json, sys; import tensorflow as tf, tensorflow_text\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "out = model.tokenize(tf.constant(json.loads(sys.argv[2])))\n"
        "assert 'bertzoo' not in sys.modules\n"
        "print(json.dumps({k: [x.decode() for x in v.numpy()] if v.dtype == tf.string\n"
        "                  else v.numpy().tolist() for k, v in out.items()}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    answer = json.loads(result.stdout.splitlines()[-1])
    expected = module.tokenize(tf.constant(TEXTS))
    for key, value in expected.items():
        value = value.numpy()
        value = [x.decode() for x in value] if value.dtype == object else value.tolist()
        assert answer[key] == value, key
    assert 103 in answer["ids"][3]
    assert answer["text"][0] == "hello world , οδος !"
