"""Mixtures: the published shares, and the same draws from any start."""

import numpy as np
import pytest

from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.mixture import RecordMixture, mixture_shares
from bertzoo.corpus.prepare import prepare_records
from tests.corpus.conftest import make_text

OPTIONS = RecordOptions(sequence_length=32, seed=7)


@pytest.fixture(scope="module")
def folders(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("languages")
    for name, documents in (("large", 150), ("small", 10)):
        (folder / f"{name}.txt").write_text(make_text(len(name), documents))
        texts = [str(folder / f"{name}.txt")]
        prepare_records(tokenizer, texts, str(folder / name), OPTIONS, workers=1)
    return [str(folder / "large"), str(folder / "small")]


@pytest.fixture(scope="module")
def mixture(folders):
    return RecordMixture(folders, seed=3)


def test_shares_are_those_of_multilingual_bert():
    shares = mixture_shares([1_000_000, 1_000], exponent=0.7)
    assert shares[0] / shares[1] == pytest.approx(1000**0.7)
    assert mixture_shares([9, 1], exponent=0.0).tolist() == [0.5, 0.5]


def test_draws_have_the_shares(mixture):
    large, small = (reader.num_examples for reader in mixture.readers)
    share = large**0.7 / (large**0.7 + small**0.7)
    drawn = mixture.choices(1000, 200_000)
    assert len(drawn) == 200_000
    assert abs((drawn == 0).mean() - share) < 5 * np.sqrt(share * (1 - share) / 200_000)


def test_each_directory_is_gone_through_in_its_own_order(mixture):
    batches = mixture.batches(16)
    rows = np.concatenate([next(batches)["token_ids"] for _ in range(40)])
    choices = mixture.choices(0, len(rows))
    for source, reader in enumerate(mixture.readers):
        expected = reader.cursor().take(int((choices == source).sum()))["token_ids"]
        assert (rows[choices == source] == expected).all()


@pytest.mark.parametrize("step", [0, 3, 5000])
def test_a_start_at_any_step_gives_the_same_batches(mixture, step):
    before = mixture.batches(16, step=max(step - 2, 0))
    for _ in range(min(step, 2)):
        next(before)
    one, two = next(before), next(mixture.batches(16, step=step))
    assert all((one[key] == two[key]).all() for key in two)
    halves = [next(mixture.batches(16, step, pipeline, 2)) for pipeline in (0, 1)]
    for key, value in two.items():
        assert (np.concatenate([half[key] for half in halves]) == value).all()
    epoch, index = mixture.position(step, 16)
    assert (one["epoch"][0], one["example_index"][0]) == (epoch, index)


def test_a_draw_is_found_again_by_its_place(mixture):
    from bertzoo.corpus import storage
    from bertzoo.corpus.record_file import RecordLayout

    batch = next(mixture.batches(8, step=70))
    path, number = mixture.identify(int(batch["epoch"][5]), int(batch["example_index"][5]))
    rows = RecordLayout(32, "uint16").decode(storage.read(path), path)
    assert (rows.token_ids[number] == batch["token_ids"][5]).all()


def test_an_epoch_ends_and_datasets_have_static_shapes(mixture):
    sizes = [len(batch["epoch"]) for batch in mixture.batches(64, epochs=1)]
    assert sum(sizes) == mixture.num_examples
    assert mixture.dataset(8).element_spec["token_ids"].shape == (8, 32)
    assert next(iter(mixture.dataset(8)))["token_ids"].shape == (8, 32)


def test_directories_that_do_not_go_together_are_named(folders, tokenizer, tmp_path):
    (tmp_path / "text.txt").write_text(make_text(4, 5))
    other = str(tmp_path / "other")
    texts = [str(tmp_path / "text.txt")]
    prepare_records(tokenizer, texts, other, OPTIONS.replace(mode="sentence_order"), workers=1)
    with pytest.raises(ValueError, match="must have the same mode"):
        RecordMixture([folders[0], other])
    with pytest.raises(ValueError, match="shares must be 2 numbers above 0"):
        RecordMixture(folders, shares=[1.0])
    with pytest.raises(ValueError, match="got none"):
        RecordMixture([])
    given = RecordMixture(folders, shares=[3, 1]).shares
    assert given.tolist() == [0.75, 0.25]
