"""What counts: real tokens, pairs of them, masked places, rows; and divergences, in float32."""

from keras import ops

# B batch  T length


def real_positions(batch):
    """Return float32 `[B, T]`: 1 for tokens, 0 for padding and for rows that do not count."""
    real = ops.cast(ops.not_equal(batch["padding_mask"], 0), "float32")
    return real * row_weights(batch)[:, None]


def real_pairs(batch):
    """Return float32 `[B, 1, T, T]`: 1 where query and key are tokens of one text.

    `padding_mask` counts the texts of a packed row, and 0 is padding.
    """
    mask = batch["padding_mask"]
    same = ops.cast(ops.equal(mask[:, :, None], mask[:, None, :]), "float32")  # (B, T, T)
    return (same * real_positions(batch)[:, :, None])[:, None]


def row_weights(batch):
    """Return float32 `[B]`: `row_weights` of the batch, 0 for rows that only fill it; else ones."""
    if "row_weights" in batch:
        return ops.cast(batch["row_weights"], "float32")
    first = batch["padding_mask"] if "padding_mask" in batch else batch["labels"]
    return ops.ones((ops.shape(first)[0],), dtype="float32")


def masked_positions(batch):
    """Return float32 `[B, P]`: `mask_weights` of the batch, of rows that count."""
    return ops.cast(batch["mask_weights"], "float32") * row_weights(batch)[:, None]


def log_softmax(logits, temperature=1.0):
    """Return log probabilities over the last axis in float32: bfloat16 is too coarse for them."""
    logits = ops.cast(logits, "float32") / temperature
    logits = logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
    return logits - ops.log(ops.sum(ops.exp(logits), axis=-1, keepdims=True))


def kl_divergence(teacher_logits, student_logits, temperature=1.0):
    """Return KL(teacher || student) over the last axis, `[..., V]` -> float32 `[...]`."""
    teacher = log_softmax(teacher_logits, temperature)
    student = log_softmax(student_logits, temperature)
    return ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)


def check_same(name, student, teacher, axis, meaning):
    """Raise unless student and teacher are equally long along an axis."""
    if student.shape[axis] != teacher.shape[axis]:
        raise ValueError(
            f"the loss `{name}` compares {meaning} one by one; the student has "
            f"{student.shape[axis]}, the teacher {teacher.shape[axis]}."
        )
