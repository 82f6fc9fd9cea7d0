"""A task of every kind on every kind of tokenizer, and what each answers by its own methods.

`answers_of_task` goes by `predict`, `entities`, `fill` and so on, which sort and batch for
themselves; `answers_of_outputs` reads what a signature gave. Both are lists of rows, each a pair:
what must be the same, and numbers that may differ in the last bits.
"""

import pathlib

import keras
import numpy as np

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.serving import c_api, graph_file
from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.multiple_choice import MultipleChoice
from bertzoo.tasks.question_answerer import QuestionAnswerer
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder
from bertzoo.tasks.token_classifier import TokenClassifier
from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from bertzoo.tokenizers.sentence_piece import SentencePieceTokenizer
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

# N texts  C classes  T length

DATA = pathlib.Path(__file__).parents[1] / "data"
LENGTH = 24
SIZES = {
    "num_layers": 2, "hidden_dim": 20, "num_heads": 4, "intermediate_dim": 37,
    "max_sequence_length": LENGTH,
    # Wide, so that outputs of random weights differ visibly between texts.
    "initializer_range": 0.3,
}  # fmt: skip
LABELS = ("bad", "good", "größer")
KINDS = {
    "single_label": (TextClassifier, {"labels": LABELS}),
    "multi_label": (
        TextClassifier,
        {"labels": LABELS, "problem": "multi_label", "thresholds": (0.5, 0.4, 0.6)},
    ),
    "regression": (TextClassifier, {"num_classes": 1}),
    "pairs": (TextClassifier, {"labels": LABELS}),
    "embeddings": (TextEmbedder, {}),
    "entities": (TokenClassifier, {"labels": ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")}),
    "answers": (QuestionAnswerer, {"null_threshold": 0.0}),
    "choices": (MultipleChoice, {}),
    "fills": (MaskedLM, {}),
}
FAMILIES = ("wordpiece", "byte_pair", "sentence_piece")
# Scripts, controls, empty and long ones, words that look like special tokens.
TEXTS = (
    "A good film, and the cast was great.", "", " ", "Größe ΟΔΟΣ İstanbul naïve café 中文",
    "👩‍👩‍👧 in paris", "a\0b\tc\r\nd", "[CLS] [SEP] <s> </s>", "the sea and the fire in 1999 " * 9,
)  # fmt: skip


def make_task(kind, family, dtype=None):
    """Return a task with random weights.

    Args:
        kind: One of `KINDS`.
        family: One of `FAMILIES`.
        dtype: Of the encoder and the head; None for float32.
    """
    keras.utils.set_random_seed(21)
    preprocessor, config = _FAMILIES[family]()
    task_class, head = KINDS[kind]
    return task_class.from_backbone(Backbone(config, dtype=dtype), preprocessor, **head)


def _wordpiece():
    tokenizer = WordPieceTokenizer(DATA / "bert-base-uncased" / "vocab.txt")
    config = BackboneConfig(vocabulary_size=len(tokenizer.vocabulary), **SIZES)
    return Preprocessor(tokenizer, sequence_length=LENGTH), config


def _byte_pair():
    folder = DATA / "roberta-base-cut"
    tokenizer = BytePairTokenizer(folder / "vocab.json", folder / "merges.txt")
    config = BackboneConfig(
        vocabulary_size=2261, position_offset=2, num_segments=1, pooler=False,
        layer_norm_epsilon=1.0e-5, **SIZES,
    )  # fmt: skip
    return Preprocessor(tokenizer, sequence_length=LENGTH, num_segments=1), config


def _sentence_piece():
    tokenizer = SentencePieceTokenizer(DATA / "albert-tiny" / "spiece.model")
    config = BackboneConfig(vocabulary_size=1000, embedding_dim=12, num_groups=1, **SIZES)
    return Preprocessor(tokenizer, sequence_length=LENGTH), config


_FAMILIES = {
    "wordpiece": _wordpiece, "byte_pair": _byte_pair, "sentence_piece": _sentence_piece,
}  # fmt: skip


def inputs_of(kind, task, texts):
    """Return the inputs of `serving_default` for texts, as lists of strings by name."""
    texts = list(texts)
    others = texts[1:] + texts[:1]
    if kind == "pairs":
        return {"text": texts, "text_pair": others}
    if kind == "answers":
        return {"text": others, "text_pair": texts}
    if kind == "choices":
        return {"text": texts, "choices": [list(row) for row in zip(others, texts, strict=True)]}
    if kind == "fills":
        # Masks in each, and in front: `fill` refuses texts without, and masks that are cut away.
        mask = task.tokenizer.config.mask_token
        return {"text": [f"the {mask} of {mask} {text.replace(mask, '')}" for text in texts]}
    return {"text": texts}


def answers_of_task(kind, task, inputs, batch_size=32):
    """Return for each text what must be the same and what may differ in the last bits."""
    return _OF_TASK[kind](task, inputs, batch_size)


def answers_of_outputs(kind, outputs):
    """Return the same of the arrays that `serving_default` gave."""
    return _OF_OUTPUTS[kind](outputs)


def largest_difference(got, want, tolerance):
    """Return the largest difference of two lists of rows, and how many rows are other answers.

    Other answers are allowed where they are as good: their numbers must be within `tolerance`, too.
    """
    assert len(got) == len(want)
    largest, others = 0.0, 0
    for row, ((same, numbers), (wanted, wanted_numbers)) in enumerate(zip(got, want, strict=True)):
        numbers, wanted_numbers = np.array(numbers, float), np.array(wanted_numbers, float)
        assert numbers.shape == wanted_numbers.shape, (row, same, wanted)
        difference = float(np.abs(numbers - wanted_numbers).max(initial=0.0))
        assert difference <= tolerance, (row, difference, same, wanted)
        largest = max(largest, difference)
        others += same != wanted
    return largest, others


def softmax(logits):
    """Return probabilities, in float64."""
    logits = np.asarray(logits, float)
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


# === What the task says ===


def _classes(task, inputs, batch_size):
    texts = inputs["text"]
    if "text_pair" in inputs:
        texts = list(zip(texts, inputs["text_pair"], strict=True))
    probabilities = softmax(task.predict(texts, batch_size=batch_size, verbose=0))
    return [(LABELS[row.argmax()], row) for row in probabilities]


def _many_classes(task, inputs, batch_size):
    logits = np.asarray(task.predict(inputs["text"], batch_size=batch_size, verbose=0), float)
    probabilities = 1 / (1 + np.exp(-logits))
    thresholds = KINDS["multi_label"][1]["thresholds"]
    return [((row >= thresholds).tolist(), row) for row in probabilities]


def _numbers(task, inputs, batch_size):
    return [((), row) for row in task.predict(inputs["text"], batch_size=batch_size, verbose=0)]


def _entities(task, inputs, batch_size):
    found = task.entities(inputs["text"], batch_size=batch_size)
    return [([(e.text, e.label, e.start, e.end) for e in row], [e.score for e in row])
            for row in found]  # fmt: skip


def _answers(task, inputs, batch_size):
    found = task.answer(inputs["text"], inputs["text_pair"], batch_size=batch_size)
    return [((a.text, a.start, a.end), (a.score, a.no_answer)) for a in found]


def _choices(task, inputs, batch_size):
    rows = list(zip(inputs["text"], inputs["choices"], strict=True))
    probabilities = softmax(task.predict(rows, batch_size=batch_size, verbose=0))
    return [(row.argmax(), row) for row in probabilities]


def _fills(task, inputs, batch_size):
    found = task.fill(inputs["text"], batch_size=batch_size)
    return [([[fill.token for fill in place] for place in _places(row)],
             [[fill.score for fill in place] for place in _places(row)])
            for row in found]  # fmt: skip


def _places(fills):
    return fills if isinstance(fills[0], list) else [fills]


_OF_TASK = {
    "single_label": _classes, "multi_label": _many_classes, "regression": _numbers,
    "pairs": _classes, "embeddings": _numbers, "entities": _entities, "answers": _answers,
    "choices": _choices, "fills": _fills,
}  # fmt: skip


# === What the signature says ===


def _class_rows(out):
    return [(label.decode(), row)
            for label, row in zip(out["label"], out["probabilities"], strict=True)]  # fmt: skip


def _entity_rows(out):
    rows = []
    for row, count in enumerate(out["entity_count"]):
        spans = [
            (out["entity_text"][row, i].decode(), out["entity_label"][row, i].decode(),
             int(out["entity_start"][row, i]), int(out["entity_end"][row, i]))
            for i in range(count)
        ]  # fmt: skip
        rows.append((spans, out["entity_score"][row, :count]))
        assert not out["entity_end"][row, count:].any()
    return rows


def _answer_rows(out):
    keys = ("answer", "start", "end", "score", "no_answer_probability")
    return [((text.decode(), int(start), int(end)), (score, none))
            for text, start, end, score, none in zip(*(out[key] for key in keys), strict=True)
            ]  # fmt: skip


def _fill_rows(out):
    rows = []
    for row, count in enumerate(out["fill_count"]):
        tokens = [[token.decode() for token in place] for place in out["fill_token"][row, :count]]
        rows.append((tokens, out["fill_score"][row, :count]))
    return rows


_OF_OUTPUTS = {
    "single_label": _class_rows,
    "multi_label": lambda out: [
        ((chosen == 1).tolist(), row)
        for chosen, row in zip(out["selected"], out["probabilities"], strict=True)
    ],
    "regression": lambda out: [((), [value]) for value in out["score"]],
    "pairs": _class_rows,
    "embeddings": lambda out: [((), row) for row in out["embedding"]],
    "entities": _entity_rows,
    "answers": _answer_rows,
    "choices": lambda out: list(zip(out["choice"], out["probabilities"], strict=True)),
    "fills": _fill_rows,
}


# === Through TensorFlow's C API ===


def c_api_run(folder, inputs, signature="serving_default"):
    """Return (feeds, outputs by name) of a signature for lists by input name."""
    signature = graph_file.read(folder).signatures[signature]
    feeds = {signature.inputs[key].tensor: string_array(value) for key, value in inputs.items()}
    return feeds, {key: info.tensor for key, info in signature.outputs.items()}


def run_by_c_api(folder, batches, server="2.13", signature="serving_default"):
    """Return the outputs of a signature for each of several inputs, in one process."""
    runs = [c_api_run(folder, inputs, signature) for inputs in batches]
    tensors = [(feeds, list(outputs.values())) for feeds, outputs in runs]
    answer = c_api.run(folder, tensors, server)
    assert answer["error"] is None
    found = []
    for (_, outputs), result in zip(runs, answer["results"], strict=True):
        assert "error" not in result, result
        found.append({key: result["outputs"][tensor] for key, tensor in outputs.items()})
    return found


def string_array(value):
    """Return lists of strings, one or two deep, as an object array of bytes."""
    array = np.array(value, dtype=object)
    flat = [text.encode() if isinstance(text, str) else text for text in array.ravel()]
    made = np.empty(array.size, dtype=object)
    made[:] = flat
    return made.reshape(array.shape)
