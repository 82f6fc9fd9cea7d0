"""The functions of a servable, by signature name: what a client may call.

Only core TensorFlow ops are used here, and what the tokenizers use; every output is a dense
float32, int32 or string tensor whose first dimension is the batch.
"""

import tensorflow as tf

from bertzoo.postprocessing import labels
from bertzoo.preprocessing import packing

# B batch  T length  P predictions  K fills of one place  C classes

# Names of the inputs of `serving_ids`: token ids, mask, segments. None means that the mask is not
# an input: it is found in the graph.
INPUT_NAMES = {
    "bertzoo": ("token_ids", None, "segment_ids"),
    "keras_hub": ("token_ids", "padding_mask", "segment_ids"),
    "hugging_face": ("input_ids", "attention_mask", "token_type_ids"),
    "garden": ("input_word_ids", "input_mask", "input_type_ids"),
}
_STRINGS = [None]


def derived_mask(token_ids, pad_id, start_id):
    """Return the int32 mask `[B, T]` of ids alone: 1 for tokens, 0 for padding.

    A server that pads requests to join them (`pad_variable_length_inputs`) repeats a tensor's first
    element: ids then end in start tokens, and a mask of ones in ones. What comes after a second
    start token is therefore padding.

    >>> ids = tf.constant([[2, 7, 3, 2, 2], [2, 7, 8, 9, 3]])
    >>> derived_mask(ids, pad_id=0, start_id=2).numpy().tolist()
    [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    """
    starts = tf.cumsum(tf.cast(tf.equal(token_ids, start_id), tf.int32), axis=1)
    is_token = tf.not_equal(token_ids, pad_id) & (starts <= 1)
    return tf.cast(is_token, tf.int32)


def text_function(task, is_pair):
    """Return `respond` of a task as a function of strings: `text` `[B]`, and `text_pair` `[B]`.

    A multiple choice has `choices` `[B, K]` in the place of `text_pair`.
    """
    specs = [tf.TensorSpec(_STRINGS, tf.string, name="text")]
    if task.head_kind == "multiple_choice":
        specs.append(tf.TensorSpec([None, None], tf.string, name="choices"))
    elif is_pair:
        specs.append(tf.TensorSpec(_STRINGS, tf.string, name="text_pair"))

    def respond(*texts):
        return task.respond(*texts)

    return tf.function(respond, input_signature=specs, autograph=False)


def ids_function(task, input_names="bertzoo"):
    """Return the network of a task as a function of int32 ids `[B, T]`; see `INPUT_NAMES`."""
    names = ids_inputs(task, input_names)
    specs = [tf.TensorSpec([None, None], tf.int32, name=name) for name in names.values()]

    def run(*tensors):
        features = dict(zip(names, tensors, strict=True))
        tokenizer = task.tokenizer
        # Before anything else runs, so that the client gets these words and no others.
        with tf.control_dependencies(_id_checks(features, task.backbone.config)):
            features = {name: tf.identity(feature) for name, feature in features.items()}
        mask = derived_mask(features["token_ids"], tokenizer.pad_id, tokenizer.start_id)
        if "padding_mask" in features:
            mask *= tf.cast(tf.not_equal(features["padding_mask"], 0), tf.int32)
        return ids_outputs(task, {**features, "padding_mask": mask})

    return tf.function(run, input_signature=specs, autograph=False)


def _id_checks(features, config):
    # On CPU a table refuses some of these, on GPU and under XLA it gives another row's vector.
    ids, longest = features["token_ids"], config.max_sequence_length
    limits = {"token_ids": config.vocabulary_size, "segment_ids": config.num_segments}
    check = tf.debugging
    checks = [
        check.assert_less_equal(tf.shape(ids)[1], longest, f"rows have at most {longest} tokens")
    ]
    for name, feature in features.items():
        shapes = tf.shape(feature), tf.shape(ids)
        checks.append(check.assert_equal(*shapes, f"{name} needs the shape of the ids"))
        if name in limits:
            message = f"{name} are 0 to {limits[name] - 1}"
            checks.append(check.assert_non_negative(feature, message))
            checks.append(check.assert_less(feature, limits[name], message))
    return checks


def ids_inputs(task, input_names="bertzoo"):
    """Return our name of each input of `serving_ids` and the name that clients give it.

    >>> ids_inputs(TextEmbedder.from_preset("bert_toy"), "hugging_face")["padding_mask"]
    'attention_mask'
    """
    if input_names not in INPUT_NAMES:
        raise ValueError(
            f"input_names must be one of {', '.join(INPUT_NAMES)}; got {input_names!r}."
        )
    ours = ("token_ids", "padding_mask", "segment_ids")
    names = dict(zip(ours, INPUT_NAMES[input_names], strict=True))
    if not task.backbone.config.num_segments:
        names.pop("segment_ids")
    names = {ours: theirs for ours, theirs in names.items() if theirs is not None}
    return names


def ids_outputs(task, features):
    """Return the named outputs of `serving_ids` for a dict of ids with their mask.

    Those of `respond`, where they need no text. A token classifier gives `probabilities`
    `[B, T, C]`, a question answerer `start_logits` and `end_logits` `[B, T]`, a multiple choice the
    `logit` `[B]` of each row, which is a question and one of its choices.
    """
    if task.head_kind == "masked_lm":
        return task.fills_of_ids(features)
    outputs = task.run_network(features, training=False)
    if task.head_kind in ("text_embedder", "text_classifier"):
        return task.answers(outputs)
    if isinstance(outputs, dict):
        return dict(outputs)
    if task.head_kind == "multiple_choice":
        return {"logit": tf.reshape(outputs, [-1])}
    return {"probabilities": tf.nn.softmax(outputs, axis=-1)}


def tokenize_function(task):
    """Return the preprocessor of a task as a function of `text`: packed ids, and where they stand.

    Its outputs are the inputs of `serving_ids`, and `starts` and `ends`, int32 `[B, T]`: code
    points of the text, -1 for special tokens and padding.
    """
    preprocessor = task.preprocessor
    no_place = packing.PackingForm(start=-1, end=-1, pad=-1)

    def run(text):
        ids, *places = preprocessor.tokenizer.tokenize_with_offsets(text)
        ids = tf.cast(ids, tf.int32)
        longest = preprocessor.sequence_length
        features = preprocessor.pad(*packing.pack(ids, None, preprocessor.form, longest))
        length = tf.shape(features["token_ids"])[1]
        for name, ragged in zip(("starts", "ends"), places, strict=True):
            rows = packing.pack(tf.cast(ragged, tf.int32), None, no_place, longest)
            features[name] = packing.pad(*rows, length, no_place, 0)["token_ids"]
        return features

    return tf.function(
        run, input_signature=[tf.TensorSpec(_STRINGS, tf.string, name="text")], autograph=False
    )


def example_function(text_function, outputs):
    """Return a function of texts as the Classification and Regression APIs ask: tf.Examples in.

    Args:
        text_function: From `text_function`; an Example has its inputs as features. It is called,
            not traced again, so the graph has it once.
        outputs: A function from the dict of `respond` to the outputs that the API allows.
    """
    keys = [spec.name for spec in text_function.input_signature]
    # Without a default: an Example that lacks its text is refused.
    features = {key: tf.io.FixedLenFeature([], tf.string) for key in keys}

    def run(inputs):
        parsed = tf.io.parse_example(inputs, features)
        return outputs(text_function(*(parsed[key] for key in keys)))

    specs = [tf.TensorSpec(_STRINGS, tf.string, name="inputs")]
    return tf.function(run, input_signature=specs, autograph=False)


def classes_and_scores(names):
    """Return a function that gives `classes` and `scores` `[B, C]`, all that classify may give."""

    def outputs(response):
        scores = response["probabilities"]
        classes = tf.tile(tf.constant(names)[None, :], [tf.shape(scores)[0], 1])
        return {"classes": classes, "scores": scores}

    return outputs


def example_functions(task, text_function):
    """Return the functions `classify` or `regress` of a task, where it can have them."""
    head = task.network.head
    if task.head_kind != "text_classifier":
        return {}
    if head.problem != "regression":
        outputs = classes_and_scores(labels.label_names(head))
        return {"classify": example_function(text_function, outputs)}
    if head.num_outputs > 1:  # the Regression API has one number an Example
        return {}
    return {"regress": example_function(text_function, lambda r: {"outputs": r["score"]})}
