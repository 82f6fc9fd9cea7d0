"""Teacher and student must read the same tokens and know the same labels.

Losses compare them position by position, and logit by logit.
"""


def check_same_words(student, teacher):
    """Raise unless two tokenizers give the same ids for every text.

    Args:
        student: A `Tokenizer`.
        teacher: A `Tokenizer`.

    Raises:
        ValueError: For another kind, other settings, or other words; sizes say too little.
    """
    if student is None or teacher is None:
        missing = "student" if student is None else "teacher"
        raise ValueError(
            f"the {missing} has no tokenizer, so nobody can say that both read the same words; "
            "use presets with a vocabulary."
        )
    ours, theirs = student.config, teacher.config
    if ours.kind != theirs.kind:
        raise ValueError(
            f"teacher and student must share a tokenizer; the student has a {ours.kind}, the "
            f"teacher a {theirs.kind} vocabulary."
        )
    words = list(student.vocabulary), list(teacher.vocabulary)
    if len(words[0]) != len(words[1]):
        raise ValueError(
            f"teacher and student must share a tokenizer; the student has {len(words[0])} tokens, "
            f"the teacher {len(words[1])}."
        )
    for number, (one, other) in enumerate(zip(*words, strict=True)):
        if one != other:
            raise ValueError(
                f"teacher and student must share a tokenizer; token {number} of the student is "
                f"{one!r}, of the teacher {other!r}."
            )
    ours, theirs = student.arguments(), teacher.arguments()
    for name in ours:
        # How long rows are is the run's business.
        same = name in ("vocabulary", "sequence_length") or ours[name] == theirs[name]
        if not same:
            raise ValueError(
                f"teacher and student must share a tokenizer; {name} of the student is "
                f"{ours[name]!r}, of the teacher {theirs[name]!r}."
            )


def check_same_labels(student, teacher):
    """Raise unless two heads give logits of the same classes, in the same order.

    Args:
        student: A `HeadConfig`.
        teacher: A `HeadConfig`.

    Raises:
        ValueError: For another number of classes, or other names of them.
    """
    counts = student.num_outputs, teacher.num_outputs
    if counts[0] != counts[1]:
        raise ValueError(
            f"teacher and student must have the same labels; the student has {counts[0]}, the "
            f"teacher {counts[1]}. A student's preset without a head gets one like the teacher's."
        )
    names = student.labels, teacher.labels
    if None not in names and tuple(names[0]) != tuple(names[1]):
        raise ValueError(
            "teacher and student must have the same labels in the same order; those of the student "
            f"are {', '.join(names[0])}, of the teacher {', '.join(names[1])}."
        )
