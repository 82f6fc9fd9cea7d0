"""The teacher and the student of a recipe, as tasks that hold their networks."""

import keras

from bertzoo import adapt, checkpoints
from bertzoo.config import BackboneConfig
from bertzoo.models import networks
from bertzoo.models.backbone import Backbone
from bertzoo.models.bilstm import build_bilstm
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.question_answerer import QuestionAnswerer
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder
from bertzoo.tasks.token_classifier import TokenClassifier

CLASSES = {
    "text": MaskedLM,
    "classification": TextClassifier,
    "multi_label": TextClassifier,
    "regression": TextClassifier,
    "tokens": TokenClassifier,
    "question_answering": QuestionAnswerer,
    "embedding": TextEmbedder,
}


def load_task(task, preset, sequence_length, dtype=None, new_head=True):
    """Return the task of a preset; text models without a head for words get a new one.

    Args:
        task: Of the recipe.
        preset: A preset, directory or address.
        sequence_length: Longest row; rows are padded to it.
        dtype: Dtype policy.
        new_head: Whether a head for words may be new: not where its guesses are to teach.

    Raises:
        ValueError: If it has no head for words and may not get a new one.
    """
    options = {"dtype": dtype, "sequence_length": sequence_length, "padding": "fixed"}
    if task != "text":
        return CLASSES[task].from_preset(preset, **options)
    checkpoint = checkpoints.open_source(preset)
    if "masked_lm" in checkpoint.heads:
        return MaskedLM.from_preset(preset, **options)
    if not new_head:
        raise ValueError(
            f"{preset} has no masked_lm head, so it cannot say which words fit; take a preset "
            "that was pretrained with one, or losses between hidden states and attentions."
        )

    def head(config):
        return networks.new_head(config, "masked_lm")

    return MaskedLM._load(
        preset, head, True, dtype, None, options["sequence_length"], options["padding"]
    )


def student_config(student, teacher_config):
    """Return the student's `BackboneConfig`, from the teacher's; None for a BiLSTM."""
    if student.bilstm is not None:
        return None
    if student.preset is not None:
        return BackboneConfig.from_preset(student.preset)
    if student.config is not None:
        changes = dict(student.config)
        # Heads of a width of their own are the teacher's affair.
        changes.setdefault("head_dim", None)
        return teacher_config.replace(**changes)
    layers = student.layers
    count = layers if isinstance(layers, int) else len(layers)
    changes = {"num_layers": count, "num_groups": None, "pooler": student.pooler}
    if student.segments != "keep":
        changes["num_segments"] = 0
    return teacher_config.replace(**changes)


def make_student(task, student, teacher, sequence_length, dtype=None):
    """Return the student: a task, or for a BiLSTM a Keras model.

    Args:
        task: Of the recipe.
        student: A `Student` section.
        teacher: The teacher's task.
        sequence_length: Longest row.
        dtype: Dtype policy.
    """
    head = teacher.network.head
    if student.bilstm is not None:
        return build_bilstm(
            len(teacher.tokenizer.vocabulary), head.num_outputs, **student.bilstm.to_dict()
        )
    if student.preset is not None:
        return _from_preset(task, student.preset, head, sequence_length, dtype)
    config = student_config(student, teacher.backbone.config)
    if student.config is not None:
        backbone = Backbone(config, dtype=dtype)
        preprocessor = Preprocessor(
            teacher.tokenizer,
            sequence_length=sequence_length,
            padding="fixed",
            num_segments=config.num_segments,
        )
        network = networks.build_network(backbone, _head_for(head, config))
        return type(teacher)(network, preprocessor)
    made = adapt.select_layers(teacher, student.layers)
    if student.segments != "keep":
        made = adapt.drop_segments(made, fold=student.segments == "fold")
    if not student.pooler and made.backbone.config.pooler:
        made = adapt.drop_pooler(made)
    return made


def _from_preset(task, preset, head, sequence_length, dtype):
    """Return the task of a preset; with a new head like the teacher's where it has none."""
    kind = CLASSES[task].head_kind
    if task == "text" or kind in checkpoints.open_source(preset).heads:
        return load_task(task, preset, sequence_length, dtype)
    return CLASSES[task]._load(
        preset, lambda config: _head_for(head, config), True, dtype, None, sequence_length, "fixed"
    )


def _head_for(head, config):
    """Return the teacher's head for another encoder."""
    if head.kind == "text_classifier" and head.input == "pooled" and not config.pooler:
        return head.replace(input="first_token", hidden_activation="tanh")
    if head.kind == "masked_lm":
        return head.replace(layer_norm_epsilon=config.layer_norm_epsilon)
    return head


def dtype_of(precision):
    """Return the dtype policy of a run, or None for float32."""
    return None if precision == "float32" else keras.dtype_policies.get(precision)
