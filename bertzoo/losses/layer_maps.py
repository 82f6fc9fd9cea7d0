"""Which teacher layer each student layer learns from: TinyBERT's g(m) (Jiao et al. 2019, 3.1)."""

import math

from bertzoo.config import check_key

LAYER_MAPS = {
    "uniform": lambda layer, student, teacher: math.ceil(layer * teacher / student),
    "top": lambda layer, student, teacher: teacher - student + layer,
    "bottom": lambda layer, student, teacher: layer,
}


def layer_map(values, num_student, num_teacher):
    """Return the teacher layer of each student layer, both counted from 1 as in the paper.

    Args:
        values: `uniform` (every L/M-th layer, rounded up where M does not divide L), `top` (the
            last M), `bottom` (the first M), or a list of M layers.
        num_student: M.
        num_teacher: L.

    Raises:
        ValueError: An unknown name, or a list that is too long, too short or names no layer.

    Example:
    >>> layer_map("uniform", 4, 12), layer_map("top", 2, 6), layer_map([1, 6], 2, 6)
    ((3, 6, 9, 12), (5, 6), (1, 6))
    """
    if isinstance(values, str):
        check_key(values, LAYER_MAPS, "the layer maps")
        if num_student > num_teacher:
            raise ValueError(
                f"a layer map `{values}` needs a teacher with at least the student's "
                f"{num_student} layers; it has {num_teacher}. Give a list of {num_student} layers."
            )
        rule = LAYER_MAPS[values]
        return tuple(rule(m, num_student, num_teacher) for m in range(1, num_student + 1))
    values = tuple(values)
    for layer in values:
        if type(layer) is not int or not 1 <= layer <= num_teacher:
            raise ValueError(
                f"a layer map names teacher layers from 1 to {num_teacher}; got {layer!r}."
            )
    if len(values) != num_student:
        raise ValueError(
            f"a layer map must name one teacher layer for each of the student's {num_student} "
            f"layers; got {len(values)}."
        )
    return values
