"""Pairs that tf-models-official makes of real text, and its loader on our masked records.

It runs in the interpreter that BERTZOO_MODEL_GARDEN names; see test_model_garden.py.
"""

import os
import pathlib
import subprocess

import numpy as np
import pytest

from bertzoo.corpus.documents import read_documents
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.corpus.reader import RecordReader
from bertzoo.corpus.rows import make_rows
from bertzoo.corpus.tokenized import tokenize_documents
from bertzoo.preprocessing.packing import PackingForm
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

PYTHON = os.environ.get("BERTZOO_MODEL_GARDEN")
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="BERTZOO_MODEL_GARDEN names no interpreter with tf-models-official"
)
DATA = pathlib.Path(__file__).parents[1] / "data"
VOCABULARY = DATA / "bert-base-uncased" / "vocab.txt"

MAKE_PAIRS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import random
import numpy as np
from official.nlp.data import create_pretraining_data as create
from official.nlp.tools import tokenization

vocabulary, text, target = sys.argv[1:]
# Without its masks, which draw from the same generator.
create.create_masked_lm_predictions = lambda tokens, *rest, **named: (tokens, [], [])
tokenizer = tokenization.FullTokenizer(vocabulary, do_lower_case=True)
instances = create.create_training_instances(
    [text], tokenizer, create.get_processor_text_fn(False, True), 64, 3, 0.2, 0.15, 20,
    random.Random(99))
rows = np.zeros((len(instances), 64), np.int32)
segments = np.zeros_like(rows)
for row, instance in enumerate(instances):
    ids = tokenizer.convert_tokens_to_ids(instance.tokens)
    rows[row, :len(ids)] = ids
    segments[row, :len(ids)] = instance.segment_ids
labels = np.array([instance.is_random_next for instance in instances])
np.savez(target, rows=rows, segments=segments, labels=labels)
"""

LOAD = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
from official.nlp.data import pretrain_dataloader as loader

pattern, v2, target = sys.argv[1:]
config = loader.BertPretrainDataConfig(
    input_path=pattern, global_batch_size=7, is_training=False, drop_remainder=False,
    seq_length=64, max_predictions_per_seq=9, use_v2_feature_names=v2 == "garden")
batches = list(loader.BertPretrainDataLoader(config).load())
np.savez(target, **{key: np.concatenate([b[key] for b in batches]) for key in batches[0]})
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Real sentences, twelve a document."""
    sentences = (DATA / "wikigold" / "sentences.txt").read_text(encoding="utf-8").splitlines()
    path = tmp_path_factory.mktemp("text") / "text.txt"
    documents = ["\n".join(sentences[i : i + 12]) for i in range(0, len(sentences), 12)]
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def run(code, *arguments):
    result = subprocess.run(
        [PYTHON, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return dict(np.load(arguments[-1]))


def test_pairs_are_those_of_the_model_garden(text, tmp_path):
    theirs = run(MAKE_PAIRS, VOCABULARY, text, tmp_path / "pairs.npz")
    tokenizer = WordPieceTokenizer(VOCABULARY)
    documents = tokenize_documents(read_documents(str(text)), tokenizer)
    form = PackingForm(tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id)
    ours = make_rows(documents, "next_sentence", 99, 64, form, 0.2, passes=3)
    assert len(ours.labels) > 300
    assert (ours.token_ids == theirs["rows"]).all()
    assert (ours.labels == theirs["labels"]).all()
    places = np.arange(64)
    segments = (places >= ours.first_lengths[:, None]) & (places < ours.lengths[:, None])
    assert (segments == theirs["segments"]).all()


@pytest.mark.parametrize("feature_names", ["bert", "garden"])
def test_the_model_gardens_loader_reads_our_records(text, tmp_path, feature_names):
    options = RecordOptions(
        masked=True, sequence_length=64, max_predictions=9, feature_names=feature_names
    )
    prepare_records(
        WordPieceTokenizer(VOCABULARY), [str(text)], str(tmp_path / "records"), options, workers=1
    )
    pattern = tmp_path / "records" / "records-*.tfrecord"
    theirs = run(LOAD, pattern, feature_names, tmp_path / "loaded.npz")
    reader = RecordReader(str(tmp_path / "records"), shuffle=False)
    ours = next(reader.batches(reader.num_examples))
    names = {"token_ids": "input_word_ids", "padding_mask": "input_mask",
             "segment_ids": "input_type_ids", "mask_positions": "masked_lm_positions",
             "mask_labels": "masked_lm_ids", "mask_weights": "masked_lm_weights"}  # fmt: skip
    for name, key in names.items():
        assert (ours[name] == theirs[key]).all(), name
    assert (ours["next_sentence_labels"] == theirs["next_sentence_labels"][:, 0]).all()
