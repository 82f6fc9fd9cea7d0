"""Answers to questions on passages, SQuAD 1.1 and 2.0 (Devlin et al. 2018, 4.2 and 4.3)."""

from __future__ import annotations

from bertzoo import reports
from bertzoo.metrics import squad
from bertzoo.readers.squad import read_squad
from bertzoo.tasks.question_answerer import QuestionAnswerer
from bertzoo.training.finetuning.kinds import WindowKind


class QuestionAnswering(WindowKind):
    """A part of a passage for each question; predictions are the arrays of `predict`."""

    metric_names = ("f1", "exact")

    def __init__(self, recipe):
        super().__init__(recipe)
        # Whether any file has questions without an answer (SQuAD 2.0).
        self.may_be_none = False

    def read(self, path, part):
        """Return a column of `SquadExample`s."""
        questions = read_squad(path)
        self.may_be_none |= any(one.is_impossible for one in questions)
        return {"question": questions}

    def groups(self, examples):
        """Return the article of each question: what is asked of one, answers other questions."""
        return [one.title or one.context for one in examples["question"]]

    def has_labels(self, examples):
        """Return whether every question has an answer or says that there is none."""
        return all(one.answers or one.is_impossible for one in examples["question"])

    def make(self, train):
        """Return a `QuestionAnswerer` with a new head, unless the recipe keeps the old one."""
        model, options = self.recipe.model, self.model_options()
        task = QuestionAnswerer.from_preset(model.preset, new_head=not model.keep_head, **options)
        # A head that is kept may have a threshold, which was tuned.
        if self.may_be_none and task.null_threshold is None:
            task.null_threshold = 0.0
        return task

    def inputs(self, examples):
        """Return the questions; their answers are in them."""
        return examples["question"], None

    def predict(self, task, examples):
        """Return the arrays of `QuestionAnswerer.predict`."""
        size = self.recipe.evaluation.batch_size
        return task.predict(examples["question"], batch_size=size, verbose=0)

    def score(self, task, examples, predictions):
        """Return exact match and F1 of the official scripts, in percent."""
        golds = self._golds(examples)
        scores = squad.squad_scores(golds, predictions["answer"].tolist())
        if task.null_threshold is not None:
            best = predictions["answers"][:, 0].tolist()
            scores |= squad.best_thresholds(golds, best, predictions["null_score"].tolist())
        counts = ("total", "has_answer", "no_answer")
        return {name: value for name, value in scores.items() if name not in counts}

    def tune(self, task, dev):
        """Choose the threshold of no answer on dev."""
        if task.null_threshold is not None:
            task.tune_threshold(dev["question"], batch_size=self.recipe.evaluation.batch_size)

    def rows(self, task, examples, predictions):
        """Return id, question, answer and where it stands."""
        return [
            {
                "id": one.id,
                "question": one.question,
                "answer": predictions["answer"][row],
                "score": float(predictions["score"][row]),
                "start": int(predictions["start"][row]),
                "end": int(predictions["end"][row]),
                "no_answer_probability": float(predictions["no_answer_probability"][row]),
            }
            for row, one in enumerate(examples["question"])
        ]

    def mistakes(self, task, examples, predictions):
        """Return the questions whose answer is not exactly one of the expected."""
        exact, f1 = squad.question_scores(self._golds(examples), predictions["answer"].tolist())
        return [
            {
                "id": one.id,
                "expected": " | ".join(dict.fromkeys(answer.text for answer in one.answers)),
                "got": predictions["answer"][row],
                "f1": float(f1[row]),
                "question": one.question,
                "context": one.context,
            }
            for row, one in enumerate(examples["question"])
            if not exact[row]
        ]

    def baseline(self, task, train, examples):
        """Return the metrics of saying that nothing has an answer."""
        scores = squad.squad_scores(self._golds(examples), [""] * len(examples))
        return {name: scores[name] for name in self.metric_names}

    def official(self, task, examples, predictions, folder):
        """Write the predictions of the official scripts, the n best, and the odds of no answer."""
        answers = {}
        for row, one in enumerate(examples["question"]):
            count = int(predictions["count"][row])
            best = zip(
                predictions["answers"][row][:count], predictions["scores"][row][:count], strict=True
            )
            answers[one.id] = {
                "text": predictions["answer"][row],
                "nbest": [{"text": text, "probability": float(p)} for text, p in best],
                "null_odds": None
                if task.null_threshold is None
                else float(predictions["null_score"][row]),
            }
        reports.write_squad(folder, answers)

    def _golds(self, examples):
        return [[answer.text for answer in one.answers] for one in examples["question"]]
