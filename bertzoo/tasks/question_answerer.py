"""Where in a passage the answer to a question begins and ends (Devlin et al. 2018, 4.2)."""

import keras

from bertzoo.tasks.task import Task


@keras.saving.register_keras_serializable(package="bertzoo")
class QuestionAnswerer(Task):
    """`start_logits` and `end_logits`, `[B, T]`, of a dict of ids, for models with such a head.

    Strings are not read in this release; `preprocessor` makes ids of (question, passage) pairs.

    Example:
    >>> answerer = QuestionAnswerer.from_preset("bert_toy")
    >>> sorted(answerer({"token_ids": np.array([[2, 7, 3, 9, 3]])}))
    ['end_logits', 'start_logits']
    """

    head_kind = "question_answerer"
    no_texts = "long passages are not yet cut into windows"
