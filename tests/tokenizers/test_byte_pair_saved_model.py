"""Byte-level BPE inside a SavedModel: only ops of stock TensorFlow Serving, the same answers."""

import json
import pathlib
import subprocess
import sys

import keras
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.byte_pair import BytePairTokenizer

FOLDER = pathlib.Path(__file__).parents[1] / "data" / "roberta-base-cut"
# Linked by every stock TensorFlow Serving from 2.13 to 2.20.
ALLOWED_TEXT_OPS = {
    "SentencepieceOp", "SentencepieceTokenizeOp", "TFText>ByteSplitByOffsets",
}  # fmt: skip
TEXTS = ["Hello wörld, it's!", "", "ก" * 150, "中文 \n<mask> x", "a" * 300, "\0 \u3000b", "</s>"]


class Servable(tf.Module):
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.resources = tokenizer.resources

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(self, text):
        ids, starts, ends = self.tokenizer.tokenize_with_offsets(text)
        return {
            "ids": ids.to_tensor(self.tokenizer.pad_id),
            "starts": starts.to_tensor(),
            "ends": ends.to_tensor(),
            "plain": self.tokenizer(text).to_tensor(),
            "text": self.tokenizer.detokenize(ids),
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servable")
    tokenizer = BytePairTokenizer(
        FOLDER / "vocab.json", FOLDER / "merges.txt", special_tokens_in_text=True
    )
    module = Servable(tokenizer)
    tf.saved_model.save(module, folder)
    return folder, module


def nodes(folder):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    return [*graph.node, *(node for f in graph.library.function for node in f.node_def)]


def test_only_ops_that_stock_servers_link_are_used(exported):
    used = {node.op for node in nodes(exported[0])}
    assert used - set(dir(tf.raw_ops)) == ALLOWED_TEXT_OPS
    assert not used & {"PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaCallModule"}
    # The table is filled once: none that grows with the texts.
    assert not any("Mutable" in op or "Variable" in op for op in used)


def test_the_model_is_in_the_file_once(exported):
    folder, _ = exported
    assert (folder / "saved_model.pb").stat().st_size < 1_500_000
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
        capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    answer = json.loads(result.stdout.splitlines()[-1])
    for key, value in module.tokenize(tf.constant(TEXTS)).items():
        value = value.numpy()
        value = [x.decode() for x in value] if value.dtype == object else value.tolist()
        assert answer[key] == value, key
    assert answer["text"][:2] == TEXTS[:2]
    assert module.tokenizer.mask_id in answer["ids"][3]


@pytest.mark.long
def test_a_preprocessor_is_saved_with_its_table(exported, tmp_path):
    preprocessor = Preprocessor(exported[1].tokenizer, sequence_length=16)
    archive = keras.export.ExportArchive()
    archive.track(preprocessor)
    archive.add_endpoint(
        "serve", lambda text: preprocessor(text), [tf.TensorSpec([None], tf.string)]
    )
    archive.write_out(tmp_path, verbose=False)
    served = tf.saved_model.load(tmp_path).serve(tf.constant(TEXTS))
    for key, value in preprocessor(tf.constant(TEXTS)).items():
        assert served[key].numpy().tolist() == value.numpy().tolist(), key
