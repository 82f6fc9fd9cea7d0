"""One step of training on all replicas, and several of them in one call.

Per replica: forward and backward over the micro-batches, compiled; then gradients are added up over
all replicas, the sum is clipped by its norm, and the optimizer is applied once (training on the
whole batch, whatever it was split into).
"""

import functools

import tensorflow as tf

from bertzoo.training import keyed_randomness, strategy
from bertzoo.training.loss_scale import LossScale

# A micro-batches  B rows of a replica


class TrainStep:
    """The compiled part of a run.

    Args:
        objective: An `Objective`.
        optimizer: One of `bertzoo.optimizers`, not built yet.
        replicas: From `make_replicas`; models and this are made in its scope.
        clip_norm: Largest norm of the gradients of a step; None not to clip.
        jit: Whether XLA compiles forward and backward: faster on GPUs, slower on CPU.
        seed: Of dropout and whatever else is drawn.
    """

    def __init__(self, objective, optimizer, replicas, clip_norm=None, jit=False, seed=0):
        if clip_norm is not None and not clip_norm > 0.0:
            raise ValueError(f"clip_norm must be positive, or None; got {clip_norm!r}.")
        self.objective = objective
        self.optimizer = optimizer
        self.replicas = replicas
        self.clip_norm = clip_norm
        self.seed = seed
        self.variables = objective.trainable_variables
        self._gathers = objective.gathers and replicas.count > 1
        with replicas.scope():
            optimizer.build(self.variables)
            is_half = any(model.compute_dtype == "float16" for model in objective.models)
            self.loss_scale = LossScale() if is_half else None
        # Inside a TPU's program everything is compiled already.
        jit = jit and not replicas.is_tpu
        self._backward = tf.function(self._backward_of_parts, jit_compile=jit)
        self._many = tf.function(self._many_steps)
        self._evaluate = tf.function(self._evaluate_step)
        self._names = self._evaluated = None

    def run(self, iterator, first, count, accumulation=1):
        """Do `count` steps, of which the first has the number `first`.

        Args:
            iterator: From `Replicas.iterate`.
            first: Number of the first step.
            count: How many.
            accumulation: Parts that a replica's batch is split into.

        Returns:
            A list of dicts, one a step: `loss`, the terms and metrics of the objective as means,
            `gradient_norm` before clipping, `learning_rate`, and `finite`: 0 where the step
            changed nothing since its gradients were no numbers.

        Raises:
            ValueError: If an objective that compares the rows of all replicas has them in parts.
        """
        if accumulation > 1 and self._gathers:
            raise ValueError(
                f"a loss of this run compares the rows of all {self.replicas.count} replicas; "
                f"accumulation must be 1, got {accumulation}."
            )
        first, count = tf.constant(first, tf.int32), tf.constant(count, tf.int32)
        rows = self._many(iterator, first, count, accumulation)
        return [dict(zip(self._names, map(float, row), strict=True)) for row in rows.numpy()]

    def state(self):
        """Return name -> variable: all that a step changes, for checkpoints."""
        # Numbered: two models may have variables of one path.
        state = {
            f"model/{n}/{variable.path}": variable for n, variable in enumerate(self.variables)
        }
        for number, variable in enumerate(self.optimizer.variables):
            state[f"optimizer/{number}/{variable.path}"] = variable
        if self.loss_scale is not None:
            for name, variable in self.loss_scale.variables.items():
                state[f"loss_scale/{name}"] = variable
        return state

    def evaluate(self, iterator, count):
        """Return name -> mean of the objective's terms and metrics over `count` batches."""
        totals = 0.0
        for number in range(count):
            one = self._evaluate(iterator, tf.constant(number, tf.int32))
            totals = totals + one.numpy().astype("float64")
        sums, weights = totals.reshape(2, -1)
        return {
            name: float(total / weight) if weight else 0.0
            for name, total, weight in zip(self._evaluated, sums, weights, strict=True)
        }

    # === On all replicas ===

    def _many_steps(self, iterator, first, count, accumulation):
        rows = tf.TensorArray(tf.float32, count, element_shape=[None])
        for number in tf.range(count):
            step = functools.partial(self.replica_step, accumulation=accumulation)
            result = self.replicas.run(step, next(iterator), first + number)
            rows = rows.write(number, self.replicas.first(result))
        return rows.stack()

    def _evaluate_step(self, iterator, number):
        result = self.replicas.run(self._replica_evaluation, next(iterator), number)
        return self.replicas.first(result)

    # === On one replica ===

    def replica_step(self, batch, step, accumulation=1):
        """Do one step on this replica's part of the batch; return what there is to log."""
        weights = self.objective.weights(batch)
        names = sorted(weights)
        totals = strategy.sum_over_replicas([weights[name] for name in names])
        totals = dict(zip(names, totals, strict=True))
        key = keyed_randomness.key_of(self.seed, step, strategy.replica_number())
        scale = 1.0 if self.loss_scale is None else tf.convert_to_tensor(self.loss_scale.scale)
        # A function within a function cannot reach the other replicas.
        backward = self._backward_of_parts if self._gathers else self._backward
        measured, gradients = backward(batch, totals, key, tf.constant(1.0) * scale, accumulation)

        gradients = strategy.sum_over_replicas(gradients)
        norm = tf.linalg.global_norm(gradients) / scale
        finite = tf.math.is_finite(norm)
        factor = 1.0 / scale
        if self.clip_norm is not None:
            factor = factor * tf.minimum(1.0, self.clip_norm / tf.maximum(norm, 1e-30))
        if self.clip_norm is not None or self.loss_scale is not None:
            gradients = [gradient * factor for gradient in gradients]
        rate = tf.cast(tf.convert_to_tensor(self.optimizer.learning_rate), tf.float32)
        strategy.apply_gradients(self.optimizer, self.variables, gradients, finite)
        if self.loss_scale is not None:
            self.loss_scale.update(finite)

        means = self._means(measured)
        rows = {
            "loss": self.objective.weighted({name: means[name] for name in names}),
            **means,
            "gradient_norm": norm,
            "learning_rate": rate,
            "finite": tf.cast(finite, tf.float32),
        }
        self._names = list(rows)
        return tf.stack([tf.cast(value, tf.float32) for value in rows.values()])

    def _means(self, measured):
        names = list(measured)
        pairs = tf.stack([tf.stack(measured[name]) for name in names])  # (names, 2)
        pairs = strategy.sum_over_replicas(pairs)
        means = tf.math.divide_no_nan(pairs[:, 0], pairs[:, 1])
        return {name: means[number] for number, name in enumerate(names)}

    def _backward_of_parts(self, batch, totals, key, scale, accumulation):
        """Return the sums and weights of this replica, and the gradients of its share."""
        if accumulation == 1:
            return self._backward_of(
                batch, totals, keyed_randomness.key_of(0, key[0], key[1], 0), scale
            )
        parts = {name: _split(value, accumulation) for name, value in batch.items()}

        def one(number):
            part = {name: value[number] for name, value in parts.items()}
            own = keyed_randomness.key_of(0, key[0], key[1], number)
            return self._backward_of(part, totals, own, scale)

        def add(number, so_far):
            more = tf.nest.map_structure(tf.add, so_far, one(number))
            return number + 1, more

        _, result = tf.while_loop(
            lambda number, so_far: number < accumulation,
            add,
            (tf.constant(1), one(tf.constant(0))),
            parallel_iterations=1,
        )
        return result

    def _backward_of(self, batch, totals, key, scale):
        values = [variable.value for variable in self.variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            with self.objective.scope(key):
                terms, metrics = self.objective.terms(batch, True, key)
            scaled = self.objective.loss(terms, totals) * scale
        gradients = tape.gradient(scaled, values, unconnected_gradients="zero")
        # Dense: slices cannot be added up over replicas under XLA.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        measured = {name: _floats(pair) for name, pair in {**terms, **metrics}.items()}
        return measured, gradients

    def _replica_evaluation(self, batch, number):
        key = keyed_randomness.key_of(self.seed, number, strategy.replica_number())
        with self.objective.scope(key):
            terms, metrics = self.objective.terms(batch, False, key)
        pairs = {**terms, **metrics}
        self._evaluated = list(pairs)
        stacked = tf.stack([tf.stack(_floats(pair)) for pair in pairs.values()], axis=1)
        return tf.reshape(strategy.sum_over_replicas(stacked), [-1])  # all sums, then all weights


def _split(value, parts):
    shape = tf.shape(value)
    split = tf.reshape(value, tf.concat([[parts, shape[0] // parts], shape[1:]], axis=0))
    rows = value.shape[0]
    split.set_shape([parts, None if rows is None else rows // parts, *value.shape[1:]])
    return split


def _floats(pair):
    total, weight = pair
    return [tf.cast(total, tf.float32), tf.cast(weight, tf.float32)]
