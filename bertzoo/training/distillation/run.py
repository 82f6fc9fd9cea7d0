"""A distillation from a recipe to a preset and a table beside the teacher."""

import gc
import pathlib

import keras

from bertzoo import losses
from bertzoo.config import BackboneConfig
from bertzoo.models import loading
from bertzoo.optimizers import AdamW, WarmupPolynomial
from bertzoo.training.distillation import comparison, models, stored
from bertzoo.training.distillation.objective import STORED, Distillation
from bertzoo.training.distillation.recipe import TEXT
from bertzoo.training.distillation.same_words import check_same_labels, check_same_words
from bertzoo.training.distillation.stage_losses import losses_of, teaches_words, trains_words
from bertzoo.training.distillation.tasks import TaskData, ids_of
from bertzoo.training.distillation.texts import text_sources
from bertzoo.training.loop import Loop, Phase
from bertzoo.training.sources import ArraySource
from bertzoo.training.step import TrainStep
from bertzoo.training.strategy import make_replicas

HELD_OUT_BATCHES = 20


def plan(recipe):
    """Return what a recipe would do, as name -> value."""
    teacher = BackboneConfig.from_preset(recipe.teacher.preset)
    student = models.student_config(recipe.student, teacher)
    sizes = [teacher.parameter_count()] + ([] if student is None else [student.parameter_count()])
    found = {
        "task": recipe.task,
        "teacher": recipe.teacher.preset,
        "teacher_parameters": sizes[0],
        "student_parameters": sizes[1] if student is not None else "a BiLSTM",
    }
    if student is not None:
        found["student_is_smaller_by"] = f"{100 * (1 - sizes[1] / sizes[0]):.1f} %"
        found["student"] = student.to_dict(defaults=False)
    for number, stage in enumerate(recipe.stages, start=1):
        length = f"{stage.steps} steps" if stage.steps else f"{stage.epochs:g} epochs"
        terms = " + ".join(f"{loss.weight:g} {loss.name}" for loss in losses_of(stage))
        found[f"stage_{number}"] = f"{length} of {stage.batch_size} rows: {terms}"
    return {**found, "output": recipe.output}


def run(recipe, *, resume=False, force=False):
    """Run, or go on running, and return the results; see `Recipe.run`."""
    replicas = make_replicas(recipe.strategy)
    folder = pathlib.Path(recipe.output).expanduser()
    keras.utils.set_random_seed(recipe.training.seed)
    examples = None if recipe.task == TEXT else TaskData(recipe, folder)
    made = Models(recipe, replicas, examples)
    data = TextRun(made) if examples is None else TaskRun(made, folder)
    for number, stage in enumerate(recipe.stages, start=1):
        with replicas.scope():
            objective = Distillation(made.network, data.teacher, losses_of(stage))
            optimizer = optimizer_of(stage, data.source.num_examples)
        phase = Phase(
            stage.num_steps(data.source.num_examples),
            stage.batch_size,
            data.source,
            accumulation=stage.accumulation,
            held_out=data.held_out,
            held_out_batches=data.held_out_batches(stage.batch_size),
            tokens_per_row=data.length,
        )
        loop = Loop(
            objective,
            optimizer,
            replicas,
            [phase],
            folder / f"stage_{number}",
            recipe.training,
            {**recipe.to_dict(), "stage": number},
        )
        # A later stage begins by itself where the one before has ended.
        last = loop.run(resume and number == 1, force)
    if not replicas.is_chief:
        return last
    return finish(recipe, folder, made, data, last)


def finish(recipe, folder, made, data, last):
    """Measure both, write the table and the preset, and return the results."""
    folder.mkdir(parents=True, exist_ok=True)
    made.recall_teacher()
    metrics = {"teacher": data.measure("teacher"), "student": data.measure("student")}
    networks = {"teacher": made.teacher.network, "student": made.network}
    found = comparison.compare(networks, metrics)
    comparison.write(folder, found)
    made.save(folder, passage(recipe, found), metrics["student"])
    kept = comparison.retained(found)
    return {
        **{f"student_{name}": value for name, value in metrics["student"].items()},
        **{f"teacher_{name}": value for name, value in metrics["teacher"].items()},
        **{f"retained_{name}": value for name, value in kept.items()},
        "loss": last.get("loss"),
        "table": "\n" + comparison.as_text(found),
        "preset": str(folder / made.saved_as),
    }


def passage(recipe, found):
    """Return what the model card says of the run."""
    stages = [
        f"- stage {number}: " + ", ".join(f"{x.weight:g} x {x.name}" for x in losses_of(stage))
        for number, stage in enumerate(recipe.stages, start=1)
    ]
    about = f"Distilled from `{recipe.teacher.preset}` on {recipe.task}."
    return "\n".join([about, "", *stages, "", comparison.as_text(found)])


def save_encoder(task, directory):
    """Write a task's encoder and vocabulary as a preset without a head."""
    tokenizer = task.tokenizer
    loading.save_preset(
        directory,
        task.backbone.config,
        {},
        loading.weights_of(task.backbone),
        tokenizer=tokenizer.config.replace(sequence_length=task.preprocessor.sequence_length),
        files=tokenizer.files(),
        info=dict(task._info),
    )


def optimizer_of(stage, num_rows):
    """Return the optimizer of a stage."""
    steps = stage.num_steps(num_rows)
    schedule = WarmupPolynomial(
        stage.learning_rate,
        steps=steps,
        warmup_steps=round(stage.warmup * steps),
        power=0.0 if stage.decay == "constant" else 1.0,
        restarted=True,
    )
    return AdamW(
        schedule, weight_decay=stage.weight_decay, beta_2=stage.beta_2, epsilon=stage.epsilon
    )


class Models:
    """Teacher and student of a recipe, on all replicas."""

    def __init__(self, recipe, replicas, examples=None):
        self.recipe, self.replicas, self.examples = recipe, replicas, examples
        self.length = recipe.sequence_length
        if recipe.text is not None:
            self.length = recipe.text.sequence_length
        self.dtype = models.dtype_of(recipe.training.precision)
        self.recall_teacher()
        with replicas.scope():
            self.student = models.make_student(
                recipe.task, recipe.student, self.teacher, self.length, self.dtype
            )
        self.is_task = hasattr(self.student, "network")
        self.network = self.student.network if self.is_task else self.student
        self.saved_as = "preset" if self.is_task else "student.keras"
        if recipe.student.freeze_positions:
            self.student.backbone.embeddings.position.trainable = False
        if self.is_task:
            check_same_words(self.student.tokenizer, self.teacher.tokenizer)
            check_same_labels(self.network.head, self.teacher.network.head)

    teacher = None

    def recall_teacher(self):
        """Load the teacher, unless it is here."""
        if self.teacher is not None:
            return
        with self.replicas.scope():
            if self.examples is not None:
                self.teacher = self.examples.teacher()
            else:
                preset, guesses = self.recipe.teacher.preset, teaches_words(self.recipe)
                self.teacher = models.load_task(
                    TEXT, preset, self.length, self.dtype, new_head=not guesses
                )

    def release_teacher(self):
        """Free the teacher's memory: its answers are stored."""
        self.teacher = None
        gc.collect()

    def save(self, folder, passage, metrics):
        """Write the student: a preset, or for a BiLSTM a `.keras` file beside its vocabulary."""
        if self.is_task:
            of = self.teacher if self.recipe.student.config is not None else self.student
            self.student.note_origin(of, f"Student of {self.recipe.teacher.preset}.")
            # What the teacher reached, and on what, is said of no student.
            for fact in ("metrics", "description", "training_data"):
                self.student._info.pop(fact, None)
            measured = {f"dev {name}": round(value, 4) for name, value in metrics.items()}
            self.student.describe(training=passage, **({"metrics": measured} if measured else {}))
            if self.recipe.text is None or trains_words(self.recipe):
                self.student.save_to_preset(folder / self.saved_as)
            else:  # a head for words that no loss has seen would only seem to be one
                save_encoder(self.student, folder / self.saved_as)
            return
        self.network.save(folder / self.saved_as)
        for name, content in self.teacher.tokenizer.files().items():
            (folder / name).write_bytes(content)


class TextRun:
    """Rows of unlabelled text, masked anew in each epoch."""

    def __init__(self, made):
        recipe = made.recipe
        self.made, self.recipe, self.replicas = made, recipe, made.replicas
        self.teacher = made.teacher.network
        self.length = recipe.text.sequence_length
        self.source, self.held_out = text_sources(
            recipe.text, made.teacher.preprocessor, recipe.training.seed
        )

    def held_out_batches(self, batch_size):
        """Return how many batches an evaluation takes."""
        if self.held_out is None:
            return 0
        return min(HELD_OUT_BATCHES, -(-self.held_out.num_examples // batch_size))

    def measure(self, name):
        """Return the accuracy of a model's guesses on the held-out rows; more is better."""
        network = self.teacher if name == "teacher" else self.made.network
        if self.held_out is None or not trains_words(self.recipe):
            return {}
        with self.replicas.scope():
            objective = Distillation(network, None, losses.losses_from({"masked_lm": 1.0}))
            step = TrainStep(objective, AdamW(1.0e-5), self.replicas)
        size = self.recipe.stages[-1].batch_size
        batches = step.replicas.iterate(
            lambda mine: self.held_out.dataset(0, size, mine, step.replicas.count)
        )
        found = step.evaluate(batches, self.held_out_batches(size))
        return {"masked_lm_accuracy": found["masked_lm_accuracy"]}


class TaskRun:
    """Labelled examples of a task, and perhaps more without labels."""

    def __init__(self, made, folder):
        recipe = made.recipe
        self.made, self.recipe = made, recipe
        self.examples = made.examples
        arrays = self.examples.training_arrays(made.teacher)
        self.length = arrays["token_ids"].shape[1]
        if recipe.teacher.stored:
            arrays |= self._stored(arrays, folder)
            made.release_teacher()
        self.teacher = STORED if recipe.teacher.stored else made.teacher.network
        self.source = ArraySource(arrays, seed=recipe.training.seed)
        self.held_out = None

    def held_out_batches(self, batch_size):
        """Return 0: tasks are measured by their own metrics, at the end."""
        return 0

    def measure(self, name):
        """Return the task's metrics of a model on `dev`."""
        if name == "student" and not self.made.is_task:
            return self._of_logits(self.made.network)
        return self.examples.measure(self.made.teacher if name == "teacher" else self.made.student)

    def _stored(self, arrays, folder):
        found = [x.loss for stage in self.recipe.stages for x in losses_of(stage)]
        reads = sorted({read for loss in found if loss.needs_teacher for read in loss.reads})
        path, network = folder / "teacher_outputs.npz", self.made.teacher.network
        there = stored.load_outputs(path, network, reads, arrays)
        return there or stored.store_outputs(network, reads, arrays, path)

    def _of_logits(self, network):
        """Return the metrics of a model that is no task, through the teacher's way to answer."""
        kind, dev = self.examples.kind, self.examples.parts["dev"]
        answering = _Answering(self.made.teacher, network)
        return kind.score(answering, dev, kind.predict(answering, dev))


class _Answering:
    """A teacher's task with another model's logits."""

    def __init__(self, teacher, network):
        self._teacher, self._model = teacher, network

    def __getattr__(self, name):
        return getattr(self._teacher, name)

    def predict(self, texts, batch_size=None, verbose=0):
        arrays = ids_of(self._teacher, texts)
        features = {name: arrays[name] for name in self._model.input}
        return self._model.predict(features, batch_size=batch_size, verbose=0)["logits"]
