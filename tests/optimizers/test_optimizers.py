"""AdamW and LAMB step by step against NumPy; what decays, what adapts, what is left alone."""

import contextlib
import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.models.networks import Network, new_head
from bertzoo.optimizers import AdamW, InTurn, InverseSquareRoot, Lamb, WarmupPolynomial

spec = importlib.util.spec_from_file_location(
    "optimizer_reference", pathlib.Path(__file__).parent / "reference.py"
)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

SHAPES = {
    "layer_0/attention/query/kernel": (3, 5),
    "layer_0/attention/query/bias": (5,),
    "embeddings/norm/gamma": (4,),
    "masked_lm/bias": (7,),
}
STEPS = 12


def variables():
    """Return the variables by path; their names are the last part, as a layer's are."""
    random = np.random.default_rng(1)
    made = {}
    for path, shape in SHAPES.items():
        scope, _, name = path.rpartition("/")
        with contextlib.ExitStack() as scopes:
            for part in filter(None, scope.split("/")):
                scopes.enter_context(keras.name_scope(part))
            made[path] = keras.Variable(random.normal(size=shape).astype("float32"), name=name)
    assert [variable.path for variable in made.values()] == list(SHAPES)
    return made


def gradients():
    random = np.random.default_rng(2)
    # Some tiny ones: there epsilon's place shows.
    return [
        {path: random.normal(size=shape) * 10.0 ** random.integers(-7, 2)
         for path, shape in SHAPES.items()}
        for _ in range(STEPS)
    ]  # fmt: skip


def train(optimizer):
    """Return, for each path, its values after each step."""
    made, seen = variables(), []
    for step in gradients():
        optimizer.apply([tf.constant(step[path], tf.float32) for path in made], made.values())
        seen.append({path: variable.numpy() for path, variable in made.items()})
    return {path: [values[path] for values in seen] for path in made}


def assert_close(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def schedule():
    return WarmupPolynomial(0.01, steps=20, warmup_steps=4)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_adamw_is_the_published_update(corrected, fused):
    ours = train(AdamW(schedule(), weight_decay=0.3, bias_correction=corrected, fused=fused))
    start = variables()
    rates = [0.01 * step / 4 if step < 4 else 0.01 * (1 - step / 20) for step in range(STEPS)]
    for path, values in ours.items():
        decay = 0.3 if path.endswith("kernel") else 0.0
        expected = reference.adamw(
            start[path].numpy().astype("float64"), [step[path] for step in gradients()],
            rates=rates, decay=decay, epsilon=1e-6, corrected=corrected,
        )  # fmt: skip
        assert_close(values, expected)


def test_the_fused_and_the_plain_form_agree():
    fused, plain = (train(AdamW(1e-2, weight_decay=0.1, fused=which)) for which in (True, False))
    for path in SHAPES:
        np.testing.assert_allclose(fused[path], plain[path], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("corrected", [False, True])
def test_lamb_is_the_published_update(corrected):
    ours = train(Lamb(0.02, weight_decay=0.3, bias_correction=corrected))
    start = variables()
    for path, values in ours.items():
        kernel = path.endswith("kernel")
        expected = reference.lamb(
            start[path].numpy().astype("float64"), [step[path] for step in gradients()],
            rates=[0.02] * STEPS, decay=0.3 if kernel else 0.0, epsilon=1e-6,
            corrected=corrected, adapts=kernel,
        )  # fmt: skip
        assert_close(values, expected)


def test_lamb_may_adapt_what_does_not_decay():
    ours = train(Lamb(0.02, exclude_from_adaptation=[]))
    start = variables()["layer_0/attention/query/bias"].numpy().astype("float64")
    expected = reference.lamb(
        start, [step["layer_0/attention/query/bias"] for step in gradients()],
        rates=[0.02] * STEPS, decay=0.0, epsilon=1e-6, corrected=False, adapts=True,
    )  # fmt: skip
    assert_close(ours["layer_0/attention/query/bias"], expected)


def test_lamb_moves_a_variable_of_zeros():
    variable = keras.Variable(np.zeros((2, 2), "float32"), name="kernel")
    Lamb(0.5).apply([tf.ones((2, 2))], [variable])
    # The first uncorrected direction is 0.1 / sqrt(0.001); the ratio is 1.
    np.testing.assert_allclose(variable.numpy(), -0.5 * 0.1 / np.sqrt(0.001), rtol=1e-4)


def network():
    keras.utils.set_random_seed(4)
    config = BackboneConfig(
        vocabulary_size=13, num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=12,
        max_sequence_length=8, pooler=False,
    )  # fmt: skip
    return Network(Backbone(config), new_head(config, "masked_lm"))


@pytest.mark.parametrize("make", [AdamW, Lamb])
def test_what_decays_is_kernels_and_tables(make):
    model = network()
    variables = model.trainable_variables
    before = {variable.path: variable.numpy() for variable in variables}
    for variable in variables:
        variable.assign_add(tf.ones(variable.shape))
    before = {variable.path: variable.numpy() for variable in variables}
    make(0.1, weight_decay=0.5).apply([tf.zeros(v.shape) for v in variables], variables)
    moved = {v.path for v in variables if not np.array_equal(v.numpy(), before[v.path])}
    expected = {path for path in before if path.endswith(("kernel", "embeddings"))}
    assert moved == expected
    assert "masked_lm/bias" in before


def test_other_patterns_are_searched_in_the_whole_path():
    ours = train(AdamW(1e-2, weight_decay=0.5, exclude=["^layer_0/attention"]))
    free = train(AdamW(1e-2, weight_decay=0.0))
    for path, values in ours.items():
        same = np.array_equal(values[-1], free[path][-1])
        assert same == path.startswith("layer_0/attention")


def test_layers_learn_at_rates_of_their_own():
    model = network()
    variables = model.trainable_variables
    before = {v.path: v.numpy() for v in variables}
    optimizer = AdamW(0.1, weight_decay=0.0, layer_decay=0.5, epsilon=0.0)
    optimizer.apply([tf.ones(v.shape) for v in variables], variables)
    steps = {v.path: float(np.mean(before[v.path] - v.numpy())) for v in variables}
    expected = {"embeddings": 0.0125, "layer_0": 0.025, "layer_1": 0.05, "masked_lm": 0.1}
    for path, step in steps.items():
        assert step == pytest.approx(expected.get(path.split("/")[0], 0.1), rel=1e-4), path


@pytest.mark.parametrize("make", [AdamW, Lamb, lambda rate: AdamW(rate, fused=False)])
def test_gradients_that_are_not_finite_change_nothing(make):
    optimizer = make(0.1)
    variable = keras.Variable(np.ones((2, 3), "float32"), name="kernel")
    optimizer.apply([tf.ones((2, 3))], [variable])
    before = [variable.numpy()] + [v.numpy() for v in optimizer.variables]
    bad = tf.constant([[np.nan, 1, 2], [np.inf, 1, 0]], tf.float32)
    optimizer.update(bad, variable, optimizer.learning_rate, finite=tf.constant(False))
    after = [variable.numpy()] + [v.numpy() for v in optimizer.variables]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    optimizer.update(tf.ones((2, 3)), variable, optimizer.learning_rate, finite=tf.constant(True))
    assert not np.array_equal(variable.numpy(), before[0])


def test_a_sparse_gradient_is_added_up_first():
    ours, dense = (keras.Variable(np.ones((4, 2), "float32"), name="table") for _ in range(2))
    slices = tf.IndexedSlices(
        tf.constant([[1.0, 2], [3, 4], [5, 6]]), tf.constant([1, 1, 3]), [4, 2]
    )
    AdamW(0.1).apply([slices], [ours])
    AdamW(0.1).apply([tf.constant([[0.0, 0], [4, 6], [0, 0], [5, 6]])], [dense])
    np.testing.assert_array_equal(ours.numpy(), dense.numpy())


@pytest.mark.parametrize("optimizer", [
    AdamW(schedule(), bias_correction=False, exclude=["x$"], layer_decay=0.8, global_clipnorm=1.0),
    Lamb(1e-3, exclude_from_adaptation=["a"], bias_correction=True),
    Lamb(InverseSquareRoot(1e-3, 10)),
    Lamb(InTurn([schedule(), InverseSquareRoot(1e-3, 10)], [20, 5])),
])  # fmt: skip
def test_optimizers_and_schedules_are_saved(optimizer):
    saved = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(saved)
    assert again.get_config() == optimizer.get_config()
    assert type(again) is type(optimizer)


def test_googles_schedule_jumps_where_the_warm_up_ends():
    rate = WarmupPolynomial(1e-4, steps=1000, warmup_steps=100)
    # google-research/bert: polynomial_decay from step 0; is_warmup = step < warmup.
    expected = {0: 0.0, 99: 0.99e-4, 100: 0.9e-4, 550: 0.45e-4, 1000: 0.0, 2000: 0.0}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, rel=1e-5, abs=1e-12)


def test_the_restarted_schedule_is_hugging_faces():
    rate = WarmupPolynomial(1.0, steps=100, warmup_steps=20, restarted=True)
    for step in range(0, 101, 5):
        expected = step / 20 if step < 20 else (100 - step) / 80
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6)


def test_power_and_end():
    rate = WarmupPolynomial(1.0, steps=10, end=0.5, power=2.0)
    assert float(rate(5)) == pytest.approx(0.5 + 0.5 * 0.25)
    assert float(WarmupPolynomial(0.3, steps=10, power=0.0)(9)) == pytest.approx(0.3)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: AdamW(exclude="bias"), "list of regular expressions"),
    (lambda: AdamW(exclude=["("]), "no regular expression"),
    (lambda: AdamW(weight_decay=-1.0), "weight_decay must be"),
    (lambda: Lamb(beta_2=1.0), "beta_2 must be"),
    (lambda: AdamW(layer_decay=1.5), "layer_decay must be"),
    (lambda: AdamW().exclude_from_weight_decay(var_names=["bias"]), "exclude="),
    (lambda: WarmupPolynomial(1.0, steps=10, warmup_steps=11), "warmup_steps <= steps"),
    (lambda: WarmupPolynomial(-1.0, steps=10), "must not be negative"),
    (lambda: InverseSquareRoot(1.0, 0), "at least 1"),
])  # fmt: skip
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_fit_trains_and_a_keras_file_goes_on_where_it_was(tmp_path):
    model = network()
    model.compile(AdamW(1e-2), "mse")
    inputs = {
        "token_ids": np.arange(12).reshape(2, 6) % 13,
        "padding_mask": np.ones((2, 6), int),
        "segment_ids": np.zeros((2, 6), int),
        "mask_positions": np.array([[1], [2]]),
    }
    target = np.zeros((2, 1, 13), "float32")
    model.fit(inputs, target, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) == 2
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_compiled_step_uses_one_fused_operation_a_variable():
    variable = keras.Variable(np.ones((2, 3), "float32"), name="kernel")
    optimizer = AdamW(0.1)
    optimizer.build([variable])
    step = tf.function(lambda: optimizer.apply([tf.ones((2, 3))]))
    kinds = [node.type for node in step.get_concrete_function().graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 1


@pytest.mark.parametrize("clip", [{"global_clipnorm": 0.5}, {"clipnorm": 0.5}, {"clipvalue": 0.1}])
def test_clipping_is_that_of_keras(clip):
    gradients = [tf.constant(np.linspace(-1.0, 2.0, size), "float32") for size in (5, 9)]
    for scale in (1.0, 0.01):  # the second is below the limit
        scaled = [gradient * scale for gradient in gradients]
        ours = AdamW(0.1, **clip)._clip_sums(scaled)
        theirs = keras.optimizers.AdamW(0.1, **clip)._clip_gradients(scaled)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_repeated_rows_count_once_in_the_norm():
    """Where Keras's own clipping takes the norm of the slices before they are added up."""
    slices = tf.IndexedSlices(tf.constant([[3.0, 4.0], [3.0, 4.0]]), tf.constant([1, 1]), [3, 2])
    (clipped,) = AdamW(global_clipnorm=5.0)._clip_sums([slices])
    np.testing.assert_allclose(clipped, [[0, 0], [3, 4], [0, 0]], rtol=1e-6)
    (theirs,) = keras.optimizers.AdamW(global_clipnorm=5.0)._clip_gradients([slices])
    assert np.abs(tf.convert_to_tensor(theirs) - clipped.numpy()).max() > 0.1
