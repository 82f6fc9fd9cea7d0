"""What a user says of a classifier's classes, as the fields of its head."""

import numpy as np


def class_fields(labels, num_classes, problem, thresholds, parents, known=None):
    """Return the fields of `HeadConfig` that the arguments say, as a dict.

    Args:
        labels: Names of the classes, or None.
        num_classes: How many, or None.
        problem: `single_label`, `multi_label`, `regression`, or None.
        thresholds: A number, or one for each label; or None.
        parents: {child: parent} by name, or the number of each label's parent; or None.
        known: The labels that the head has, for parents by name.

    Example:
    >>> class_fields(["a", "b"], None, None, 0.3, {"b": "a"})
    {'labels': ('a', 'b'), 'num_outputs': 2, 'thresholds': (0.3,), 'parents': (-1, 0)}
    """
    fields = {}
    if labels is not None:
        if isinstance(labels, str):
            raise ValueError(f"labels should be a list of names; got the string {labels!r}.")
        labels = tuple(labels)
        if num_classes not in (None, len(labels)):
            raise ValueError(f"got num_classes={num_classes} and {len(labels)} labels.")
        fields = {"labels": labels, "num_outputs": len(labels)}
    elif num_classes is not None:
        fields = {"num_outputs": num_classes}
    if problem is not None:
        fields["problem"] = problem
    if thresholds is not None:
        is_one = isinstance(thresholds, int | float | np.number)
        fields["thresholds"] = tuple(map(float, [thresholds] if is_one else thresholds))
    if parents is not None:
        fields["parents"] = _parent_numbers(parents, labels or known)
    return fields


def _parent_numbers(parents, labels):
    if not hasattr(parents, "items"):
        return tuple(int(parent) for parent in parents)
    if labels is None:
        raise ValueError("parents by name need labels=; give the number of each label's parent.")
    for name in {*parents, *parents.values()}:
        if name not in labels:
            raise ValueError(f"parents name {name!r}, which is not among the labels.")
    return tuple(labels.index(parents[name]) if name in parents else -1 for name in labels)
