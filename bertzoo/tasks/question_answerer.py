"""Where in a passage the answer to a question stands (Devlin et al. 2018, 4.2 and 4.3)."""

import collections.abc
import dataclasses
import typing

import keras
import numpy as np
import tensorflow as tf

from bertzoo import checkpoints
from bertzoo.metrics import squad
from bertzoo.models import networks
from bertzoo.optimizers.adamw import AdamW
from bertzoo.postprocessing import answers as decoding
from bertzoo.tasks import datasets
from bertzoo.tasks.questions import answer_labels, read_questions
from bertzoo.tasks.task import Task
from bertzoo.tasks.windowed import Examples, Windowed, WindowRows, packed_windows
from bertzoo.tokenizers import offsets
from bertzoo.tokenizers.base import as_texts

# B questions  W windows  T tokens


class Answer(typing.NamedTuple):
    """An answer to a question.

    Args:
        text: Its characters, as they stand in the passage; "" for no answer.
        score: Its probability among the n best.
        start: Its first character (code point); 0 for no answer.
        end: One past its last; 0 for no answer.
        no_answer: The probability that the passage has no answer; 0 where every question has one.
    """

    text: str
    score: float
    start: int
    end: int
    no_answer: float


@keras.saving.register_keras_serializable(package="bertzoo")
class QuestionAnswerer(Windowed, Task):
    """Answer questions with a part of a passage, of any length; train on such answers.

    Questions are a dict of columns, `question` and `context`, with `answer` and maybe
    `answer_start` to train; or a list of `SquadExample`, as `readers.squad.read_squad` gives. Long
    passages are read in windows that overlap. Where some questions have no answer (SQuAD 2.0), give
    `null_threshold=0.0`: then `""` is an answer, and `tune_threshold` finds the best threshold.

    `answer` gives an `Answer`, `predict` the same as arrays (for a dict of ids: the network's
    `start_logits` and `end_logits`, `[B, T]`), `score` exact match and F1 of the official scripts.
    It is compiled with AdamW at 5e-5 and the mean of the cross-entropies of start and end.

    Example:
    >>> answerer = QuestionAnswerer.from_preset("bert_toy")
    >>> questions = {"question": ["where is it?"], "context": ["it is in paris."]}
    >>> history = answerer.fit({**questions, "answer": ["paris"]}, verbose=0)
    >>> found = answerer.answer("where is it?", "it is in paris.")
    >>> "it is in paris."[found.start : found.end] == found.text
    True
    """

    head_kind = "question_answerer"

    def __init__(self, network, preprocessor=None, *, name=None):
        super().__init__(network, preprocessor, name=name)
        self.compile()

    @classmethod
    def from_preset(
        cls,
        source,
        load_weights=True,
        dtype=None,
        format=None,
        sequence_length=None,
        padding="bucketed",
        new_head=False,
        null_threshold=None,
    ):
        """Load an answerer; or, with `new_head`, an encoder under a new, random head.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy; `mixed_bfloat16` for training, `bfloat16` for inference only.
            format: Name of the checkpoint format, where it should not be found by inspection.
            sequence_length: Longest row; None for what the checkpoint says. SQuAD's is 384.
            padding: Of the `Preprocessor`: `bucketed`, `longest` or `fixed`.
            new_head: Whether to put a new head on the encoder.
            null_threshold: See `null_threshold` of the answerer; None for the checkpoint's.

        Raises:
            ValueError: Without `new_head`, if the checkpoint has no such head; the message names
                the heads that it has. Also if files are missing or do not match.
        """
        source = checkpoints.open_source(source, format=format)
        head = None
        if new_head:

            def head(config):
                return networks.new_head(config, cls.head_kind, null_threshold=null_threshold)

        elif null_threshold is not None and cls.head_kind in source.heads:
            changed = source.heads[cls.head_kind].replace(null_threshold=null_threshold)
            source = dataclasses.replace(source, heads={**source.heads, cls.head_kind: changed})
        return cls._load(source, head, load_weights, dtype, format, sequence_length, padding)

    @property
    def null_threshold(self):
        """A question has no answer where the score of that, less the best answer's, is larger.

        None where every question has one. A preset keeps it.
        """
        return self.network.head.null_threshold

    @null_threshold.setter
    def null_threshold(self, value):
        value = None if value is None else float(value)
        self.network.head = self.network.head.replace(null_threshold=value)

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", **kwargs):
        """Compile as `keras.Model.compile` does; what is `auto` is chosen for fine-tuning.

        Args:
            optimizer: `auto` for AdamW at 5e-5 (Devlin et al. 2018, 4.2).
            loss: `auto` for the mean of the cross-entropies of start and end.
            metrics: `auto` for the accuracy of each.
            **kwargs: As for `keras.Model.compile`; `jit_compile` is False by default, as batches
                come in several lengths.
        """
        names = ("start_logits", "end_logits")
        if isinstance(optimizer, str) and optimizer == "auto":
            optimizer = AdamW(5.0e-5, weight_decay=0.01)
        if isinstance(loss, str) and loss == "auto":
            loss = {
                name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in names
            }
            kwargs = {"loss_weights": dict.fromkeys(names, 0.5), **kwargs}
        if isinstance(metrics, str) and metrics == "auto":
            metrics = {
                name: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")] for name in names
            }
        kwargs = {"jit_compile": False, **kwargs}
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    # === Answers ===

    def answer(self, question, context, top_k=1, batch_size=None):
        """Return the answer to a question from a passage, or the best ones.

        Args:
            question: A question, or a list of them.
            context: A passage, or a list of as many.
            top_k: How many answers, 20 at most. With more than one, the best come first, no answer
                among them where there may be none.
            batch_size: Most windows at once; None for 32.

        Returns:
            An `Answer`, or with `top_k` above 1 a list of them; for a list of questions a list of
            these.

        Example:
        >>> answerer = QuestionAnswerer.from_preset("bert_toy")
        >>> len(answerer.answer("who sat?", "the cat sat on the mat.", top_k=3))
        3
        """
        if not 1 <= top_k <= decoding.N_BEST:
            raise ValueError(f"top_k must be between 1 and {decoding.N_BEST}; got {top_k}.")
        if isinstance(question, str) != isinstance(context, str):
            raise ValueError("give one question and one passage, or a list of each.")
        if isinstance(question, str):
            return self.answer([question], [context], top_k, batch_size)[0]
        examples = read_questions({"question": question, "context": context})
        found = self._answered(examples, batch_size, self.null_threshold)
        if top_k == 1:
            return [_answer(found, row) for row in range(len(examples))]
        may_be_none = self.null_threshold is not None
        return [_best(found, row, may_be_none)[:top_k] for row in range(len(examples))]

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Return the answers to questions as a dict of arrays, those of `respond`.

        Args:
            x: Questions, as for `fit`, without answers; or a dict of ids or a dataset of them,
                which give logits as for `keras.Model.predict`.
            batch_size: Most windows at once; None for 32.
            verbose: Of `keras.Model.predict`, for ids.
            steps: Of the same.
            callbacks: Of the same.
        """
        self._refuse_string_datasets(x)
        if not self._reads(x):
            options = {"verbose": verbose, "steps": steps, "callbacks": callbacks}
            return super().predict(x, batch_size=batch_size, **options)
        return self._answered(read_questions(x), batch_size, self.null_threshold)

    def score(self, x, batch_size=None):
        """Return exact match and F1 as SQuAD's official scripts, in percent.

        Args:
            x: Questions with answers, as for `fit`.
            batch_size: Most windows at once; None for 32.

        Returns:
            The dict of `metrics.squad.squad_scores`; where there may be no answer, with the best
            thresholds of `metrics.squad.best_thresholds`.
        """
        examples = self._examples(x, None, None)
        found = self._answered(examples, batch_size, self.null_threshold)
        golds = _golds(examples)
        result = squad.squad_scores(golds, found["answer"].tolist())
        if self.null_threshold is None:
            return result
        best = _best_texts(found)
        return result | squad.best_thresholds(golds, best, found["null_score"].tolist())

    def tune_threshold(self, x, metric="f1", batch_size=None):
        """Set `null_threshold` to what is best on a development set, as the official script.

        Args:
            x: Questions with answers, some of them with none.
            metric: `f1` or `exact`.
            batch_size: Most windows at once; None for 32.

        Returns:
            The threshold.
        """
        if metric not in ("f1", "exact"):
            raise ValueError(f"metric must be f1 or exact; got {metric!r}.")
        examples = self._examples(x, None, None)
        found = self._answered(examples, batch_size, 0.0)
        best = squad.best_thresholds(
            _golds(examples), _best_texts(found), found["null_score"].tolist()
        )
        self.null_threshold = best[f"best_{metric}_threshold"]
        return self.null_threshold

    def respond(self, text, text_pair=None):
        """Return the answers to questions on passages, in the graph: what a server runs.

        Args:
            text: The questions, string tensor `[B]`.
            text_pair: The passages, string `[B]`.

        Returns:
            A dict of dense tensors, see `postprocessing.answers.decode`.
        """
        if text_pair is None:
            raise ValueError("an answerer reads pairs: the question, and its passage as text_pair.")
        self._need_graph()
        question, context = (tf.convert_to_tensor(t, "string") for t in (text, text_pair))
        context = offsets.drop_invalid_bytes(context)
        windows = self.preprocessor.windows(context, question)
        logits = self.run_network(windows.features, training=False)
        return self._decode(logits, windows, context, self.null_threshold)

    # === Inside ===

    def _decode(self, logits, windows, context, null_threshold):
        start, end = logits["start_logits"], logits["end_logits"]
        return decoding.decode(start, end, windows, context, null_threshold)

    def _answered(self, examples, batch_size, null_threshold):
        """Return the dict of `decode` for all examples as arrays; alike lengths together."""
        self._need_strings()
        size = batch_size or datasets.BATCH_SIZE
        order = sorted(range(len(examples)), key=lambda row: -len(examples[row].context))
        parts = []
        for start in range(0, len(order), size):
            context, windows = self._windows([examples[row] for row in order[start : start + size]])
            found = self._decode(self._outputs(windows, size), windows, context, null_threshold)
            parts.append({key: value.numpy() for key, value in found.items()})
        if not parts:
            raise ValueError("expected at least one question; got none.")
        result = {}
        for key in parts[0]:
            values = np.concatenate([part[key] for part in parts])
            result[key] = np.empty_like(values)
            result[key][order] = values
            if values.dtype == object:
                texts = [text.decode() for text in result[key].ravel()]
                result[key] = np.array([*texts, None], dtype=object)[:-1].reshape(values.shape)
        return result

    def _reads(self, x):
        if isinstance(x, collections.abc.Mapping):
            return "token_ids" not in x
        return isinstance(x, list | tuple) or (hasattr(x, "to_dict") and hasattr(x, "columns"))

    def _examples(self, x, y, sample_weight):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "answers come with their questions, in the columns `answer` or `answers`; y and "
                "sample_weight are for ids."
            )
        examples = read_questions(x)
        for row, example in enumerate(examples):
            name = f"row {row} (question {example.id})"
            if not example.answers and not example.is_impossible:
                raise ValueError(f"{name} has no answer and does not say that there is none.")
            if example.is_impossible and self.null_threshold is None:
                raise ValueError(
                    f"{name} has no answer, and this answerer is made for questions that have one: "
                    "set its null_threshold, to 0.0 at first."
                )
        return examples

    def _windows(self, examples):
        context = offsets.drop_invalid_bytes(as_texts([one.context for one in examples]))
        return context, self.preprocessor.windows(context, [one.question for one in examples])

    def _rows(self, examples):
        _, windows = self._windows(examples)
        packed, _ = packed_windows(windows)
        return WindowRows(packed, None, answer_labels(windows, examples))


def _golds(examples: Examples):
    return [[answer.text for answer in example.answers] for example in examples]


def _best_texts(found):
    return found["answers"][:, 0].tolist()


def _answer(found, row):
    columns = (found[key][row] for key in ("answer", "score", "start", "end"))
    text, score, start, end = columns
    none = float(found["no_answer_probability"][row])
    return Answer(text, float(score), int(start), int(end), none)


def _best(found, row, may_be_none):
    none = float(found["no_answer_probability"][row])
    columns = (
        found[key][row][: found["count"][row]] for key in ("answers", "scores", "starts", "ends")
    )
    answers = [
        Answer(text, float(score), int(start), int(end), none)
        for text, score, start, end in zip(*columns, strict=True)
    ]
    if may_be_none:
        answers.append(Answer("", none, 0, 0, none))
        answers.sort(key=lambda answer: -answer.score)
    return answers
