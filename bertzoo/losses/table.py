"""The table of losses: a name in a recipe is a function here.

Every loss has one form: a function of (student, teacher, batch, **options) that gives a value for
each thing that may count, and a rule of the batch alone that says which of them do. Called through
the table it gives (sum, weight), float32 scalars. Since the weight needs no model, a training loop
can add up the weights of all replicas and accumulated batches first and divide by the total:
averages are then the same however a batch was cut.

To add a loss, write such a function and decorate it with `loss(...)`.
"""

import dataclasses
import inspect
import typing

from keras import ops

from bertzoo.config import check_key

LOSSES: dict[str, "Loss"] = {}

# What `loss` hands over by position; what follows in a signature is an option.
_TENSORS = ("student", "teacher", "batch")


@dataclasses.dataclass(frozen=True)
class Loss:
    """A row of the table.

    Args:
        name: In recipes.
        function: `(student, teacher, batch, **options)` -> a value for each that may count.
        counts: `(batch)` -> float32 of the same shape, how much each counts: 0 for padding.
        reads: Which outputs of student and teacher it looks at: `logits`, `masked_logits`,
            `start_logits` and `end_logits`, `embedding`, or taps of a backbone, as
            `hidden_states` or `attention_scores`.
        needs_teacher: Whether it looks at the teacher at all.
        project: Whether the student's hidden states go through a learned projection first,
            where the teacher's are wider or narrower.
        compares_rows: Whether it compares the rows of a batch with each other; what it then looks
            at is also there of all replicas' rows, as `all_embedding`.
    """

    name: str
    function: typing.Callable
    counts: typing.Callable
    reads: tuple[str, ...]
    needs_teacher: bool = True
    project: bool = False
    compares_rows: bool = False

    @property
    def options(self):
        """Names and defaults of the options."""
        parameters = inspect.signature(self.function).parameters
        return {name: p.default for name, p in parameters.items() if name not in _TENSORS}

    def __call__(self, student, teacher, batch, **options):
        """Return the sum over what counts, and the weight of what counts."""
        values, counts = self.function(student, teacher, batch, **options), self.counts(batch)
        # `where`, not a product alone: what stands at padding may be infinite.
        counted = ops.where(counts > 0, ops.cast(values, "float32"), 0.0)
        return ops.sum(counted * counts), ops.sum(counts)

    def weight(self, batch):
        """Return the weight alone."""
        return ops.sum(self.counts(batch))


@dataclasses.dataclass(frozen=True)
class WeightedLoss:
    """A loss as a run uses it.

    Args:
        loss: A row of the table.
        weight: Factor of its mean in the total.
        options: Of its function.
    """

    loss: Loss
    weight: float
    options: dict[str, typing.Any]

    @property
    def name(self):
        """The loss's name."""
        return self.loss.name

    def __call__(self, student, teacher, batch):
        """Return (sum, weight); the factor is left to whoever adds the means up."""
        return self.loss(student, teacher, batch, **self.options)


def loss(*, reads, counts, needs_teacher=True, project=False, compares_rows=False):
    """Put a function into the table, under its own name; see `Loss` for the arguments."""

    def put(function):
        name = function.__name__
        assert name not in LOSSES, f"two losses are called {name}"
        LOSSES[name] = Loss(
            name, function, counts, tuple(reads), needs_teacher, project, compares_rows
        )
        return function

    return put


def losses_from(values, where="losses"):
    """Return the `WeightedLoss`es of a mapping such as a recipe holds.

    Args:
        values: Name -> factor, or name -> a mapping of `weight` (1 where left out) and options.
        where: What the mapping is called, for messages.

    Raises:
        ValueError: An unknown loss or option, or a factor that is not a positive number.

    Example:
    >>> losses = losses_from({"masked_lm": 2.0, "soft_targets": {"weight": 5, "temperature": 2.0}})
    >>> [(loss.name, loss.weight, loss.options) for loss in losses]
    [('masked_lm', 2.0, {}), ('soft_targets', 5.0, {'temperature': 2.0})]
    """
    if not values:
        raise ValueError(f"{where} must name at least one of {', '.join(sorted(LOSSES))}.")
    found = []
    for name, value in values.items():
        check_key(name, LOSSES, where)
        options = dict(value) if hasattr(value, "items") else {"weight": value}
        weight = options.pop("weight", 1.0)
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0.0 < weight < float("inf"):
            raise ValueError(f"{where}.{name}: weight must be a positive number; got {weight!r}.")
        for option in options:
            check_key(option, ["weight", *LOSSES[name].options], f"{where}.{name}")
        found.append(WeightedLoss(LOSSES[name], float(weight), options))
    return found
