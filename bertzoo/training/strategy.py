"""Where a run computes: one device, several, several machines, a TPU. All of `tf.distribute`.

The rest of the loop knows replicas only: how many there are, which are this process's, and how to
add up over them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import typing

import tensorflow as tf

from bertzoo.training.section import Section

NAMES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


@dataclasses.dataclass(frozen=True)
class StrategyConfig(Section):
    """The `strategy` of a recipe.

    Args:
        name: `one_device`; `mirrored` (the devices of this machine); `multi_worker` (machines
            that TF_CONFIG lists); `tpu`; or `auto`: a TPU that TPU_NAME names, the machines of
            TF_CONFIG, all GPUs if there are several, else one device.
        devices: How many devices `mirrored` takes; None for all GPUs. Without a GPU the processor
            is split into that many.
        tpu: Address or name of the TPU; `local` on a TPU VM; None for TPU_NAME.
    """

    name: str = "auto"
    devices: int | None = None
    tpu: str | None = None

    def __post_init__(self):
        """Check the name and the number."""
        super().__post_init__()
        self._check_choice("name", NAMES)
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"strategy.devices must be at least 1; got {self.devices}.")


def make_replicas(config: StrategyConfig = StrategyConfig()) -> Replicas:
    """Set up the devices; must come before anything else of TensorFlow where there are several."""
    name = config.name
    if name == "auto":
        name = _automatic()
    if name == "tpu":
        return Replicas(_tpu(config.tpu), is_tpu=True)
    if name == "multi_worker":
        cluster = read_tf_config()
        return Replicas(_multi_worker(), cluster["task"]["index"])
    if name == "mirrored":
        return Replicas(_mirrored(config.devices))
    return Replicas(tf.distribute.get_strategy())


class Replicas:
    """The copies of a model that train together, some or all of them in this process.

    Args:
        strategy: A `tf.distribute.Strategy`.
        worker: Number of this process among the workers.
        is_tpu: Whether the replicas are TPU cores.
    """

    def __init__(self, strategy, worker: int = 0, is_tpu: bool = False):
        self.strategy = strategy
        self.worker = worker
        self.is_tpu = is_tpu
        self.count = strategy.num_replicas_in_sync
        self.num_workers = 1
        if strategy.cluster_resolver is not None and not is_tpu:
            cluster = strategy.cluster_resolver.cluster_spec().as_dict()
            self.num_workers = len(cluster.get("worker", [worker]))
        self.per_worker = self.count // self.num_workers
        self._sum = None

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what only one may write."""
        return self.worker == 0

    def scope(self):
        """Return the context in which variables are made."""
        return self.strategy.scope()

    def split(self, batch_size: int, accumulation: int = 1) -> int:
        """Return the rows of a replica; a batch that cannot be split evenly raises."""
        parts = self.count * accumulation
        if batch_size < 1 or batch_size % parts:
            raise ValueError(
                f"a batch of {batch_size} does not split over {self.count} replicas with "
                f"{accumulation} parts each; it must be a multiple of {parts}."
            )
        return batch_size // self.count

    def iterate(self, make_dataset: typing.Callable[[range], tf.data.Dataset]):
        """Return an iterator over batches of all replicas.

        Args:
            make_dataset: From the numbers of this process's replicas to a dataset of their
                batches, one after the other, for each step.
        """
        mine = range(self.worker * self.per_worker, (self.worker + 1) * self.per_worker)

        def of_pipeline(context):
            # One pipeline a worker; a TPU pod has one a host, with its own number.
            if context.num_input_pipelines > 1:
                share = self.count // context.num_input_pipelines
                first = context.input_pipeline_id * share
                return make_dataset(range(first, first + share))
            return make_dataset(mine if self.num_workers > 1 else range(self.count))

        return iter(self.strategy.distribute_datasets_from_function(of_pipeline))

    def run(self, function, *arguments):
        """Run a function on every replica, inside a `tf.function`."""
        return self.strategy.run(function, args=arguments)

    def first(self, value):
        """Return the value of this process's first replica."""
        return self.strategy.experimental_local_results(value)[0]

    def each(self, value) -> tuple:
        """Return the values of this process's replicas."""
        return self.strategy.experimental_local_results(value)

    def sum_over_workers(self, number: int) -> int:
        """Return the sum of a number over the workers; all must call it."""
        if self.num_workers == 1:
            return number
        if self._sum is None:

            @tf.function
            def add_up(value):
                # The identity gives it the device of a replica, which the sum asks for.
                total = self.strategy.run(lambda one: sum_over_replicas(tf.identity(one)), (value,))
                return self.first(total)

            self._sum = add_up
        return int(self._sum(tf.constant(number, tf.int64))) // self.per_worker

    def same_everywhere(self, number: int) -> int:
        """Return the chief's number on every worker."""
        return self.sum_over_workers(number if self.is_chief else 0)

    def any_worker(self, claim: object) -> bool:
        """Return on every worker whether a claim is true on any; all must call it."""
        return self.sum_over_workers(int(bool(claim))) > 0


# === Inside a replica ===


def replica_number():
    """Return the number of this replica: an int32 scalar."""
    number = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.cast(number, tf.int32)


def sum_over_replicas(tensors):
    """Return the sum over all replicas of a tensor or a list of them."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return tensors
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def gather_over_replicas(tensor):
    """Return the rows of all replicas, `[B, ...]` -> `[replicas * B, ...]`, with gradients.

    For losses that compare the rows of a batch with each other, as in contrastive training; a
    function that is compiled by XLA cannot gather.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return tensor
    return tf.distribute.get_replica_context().all_gather(tensor, axis=0)


def find_among_replicas(tensor):
    """Return the rows of all replicas, and the number of the first one of this replica.

    Replicas may have different numbers of rows; see `gather_over_replicas`.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return tensor, 0
    counts = gather_over_replicas(tf.shape(tensor)[:1])  # (replicas,)
    return gather_over_replicas(tensor), tf.reduce_sum(counts[: replica_number()])


def apply_gradients(optimizer, variables, gradients, finite):
    """Update the variables of all replicas with gradients that are summed and clipped already.

    Keras's own `apply` would sum them once more; and its clipping comes before that sum.

    Args:
        optimizer: One of ours, see `ByPathOptimizer.update`.
        variables: `keras.Variable`s, in the order in which it was built.
        gradients: Equal on all replicas.
        finite: Boolean scalar, equal on all replicas; nothing changes where it is False.
    """
    rate = tf.convert_to_tensor(optimizer.learning_rate)

    def update(strategy, gradients, rate, finite):
        for variable, gradient in zip(variables, gradients, strict=True):
            strategy.extended.update(
                variable.value, _update, args=(gradient, rate, finite), group=False
            )

    def _update(variable, gradient, rate, finite):
        optimizer.update(gradient, variable, rate, finite)

    # As Keras's optimizers do it: on several devices the replicas meet for it, on a TPU not.
    tf.__internal__.distribute.interim.maybe_merge_call(
        update, tf.distribute.get_strategy(), gradients, rate, finite
    )
    iterations = optimizer.iterations
    iterations.value.assign_add(tf.cast(finite, iterations.dtype))


def once_for_all(initial, dtype, name):
    """Return a scalar variable that all replicas share, equal on each."""
    return tf.Variable(
        initial,
        dtype=dtype,
        trainable=False,
        name=name,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


# === Setting up ===


def read_tf_config(environment: typing.Mapping[str, str] = os.environ) -> dict:
    """Return TF_CONFIG, checked; what is wrong with it is one sentence.

    >>> read_tf_config({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'})
    Traceback (most recent call last):
    ValueError: TF_CONFIG has no `task`; it should say {"type": "worker", "index": 0}.
    """
    text = environment.get("TF_CONFIG", "")
    example = (
        '{"cluster": {"worker": ["host0:22", "host1:22"]}, "task": {"type": "worker", "index": 0}}'
    )
    if not text:
        raise ValueError(
            f"multi_worker needs the environment variable TF_CONFIG on each machine, as {example}."
        )
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"TF_CONFIG is not JSON ({error}); it should be like {example}.") from None
    workers = config.get("cluster", {}) if isinstance(config, dict) else {}
    workers = workers.get("worker") if isinstance(workers, dict) else None
    if not isinstance(workers, list) or not workers:
        raise ValueError(f"TF_CONFIG lists no workers; it should be like {example}.")
    for worker in workers:
        if not isinstance(worker, str) or not worker.rpartition(":")[2].isdigit():
            raise ValueError(f"TF_CONFIG lists the worker {worker!r}; it should be host:port.")
    task = config.get("task")
    if not isinstance(task, dict):
        raise ValueError('TF_CONFIG has no `task`; it should say {"type": "worker", "index": 0}.')
    if task.get("type") != "worker":
        raise ValueError(
            f"TF_CONFIG gives this process the task {task.get('type')!r}; all must be `worker`, of "
            "which number 0 also writes the checkpoints."
        )
    index = task.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(workers):
        raise ValueError(
            f"TF_CONFIG has the task index {index!r}; the {len(workers)} workers have the numbers "
            f"0 to {len(workers) - 1}."
        )
    return config


def split_processor(count: int) -> None:
    """Let TensorFlow see the processor as `count` devices."""
    processor = tf.config.list_physical_devices("CPU")[0]
    parts = tf.config.get_logical_device_configuration(processor)
    if parts is not None and len(parts) == count:
        return
    try:
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        )
    except RuntimeError:
        raise ValueError(
            f"the processor can be split into {count} devices only before TensorFlow has computed "
            "anything; begin a new process."
        ) from None


def _automatic() -> str:
    if os.environ.get("TPU_NAME"):
        return "tpu"
    if os.environ.get("TF_CONFIG"):
        return "multi_worker" if len(read_tf_config()["cluster"]["worker"]) > 1 else "one_device"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one_device"


def _mirrored(count: int | None):
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus:
        if count is not None and count > gpus:
            raise ValueError(f"strategy.devices is {count}, and this machine has {gpus} GPUs.")
        return _mirrored_over(tuple(f"GPU:{n}" for n in range(count or gpus)))
    if count is None:
        raise ValueError(
            "`mirrored` found no GPU; use one_device, or say with strategy.devices into how many "
            "devices the processor is to be split."
        )
    split_processor(count)
    return _mirrored_over(tuple(f"CPU:{n}" for n in range(count)))


@functools.cache
def _mirrored_over(devices: tuple[str, ...]):
    # One for all runs of a process. Two strategies over the same devices number their exchanges
    # alike, and TensorFlow takes an exchange of the second for one of the first: where a run that
    # gathers follows one that only sums, it stops with `Collective ops is aborted`.
    return tf.distribute.MirroredStrategy(devices)


def _multi_worker():
    communication = tf.distribute.experimental.CommunicationImplementation
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=communication.AUTO if has_gpu else communication.RING
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except RuntimeError as error:
        raise ValueError(
            f"the workers could not be joined before TensorFlow had computed something: {error}"
        ) from error


def _tpu(address: str | None):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise ValueError(
            f"no TPU was found at {address or 'TPU_NAME'} ({reason}); on a TPU VM install "
            "tensorflow-tpu and give strategy.tpu=local."
        ) from error
    return tf.distribute.TPUStrategy(resolver)
