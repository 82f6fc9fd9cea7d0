"""What is shown of a model is what its formulas give, and no text can break out of the page."""

import html.parser
import json
import struct
import zlib

import numpy as np
import pytest

from bertzoo import cli, looking
from bertzoo.looking import pixels
from bertzoo.tasks.text_classifier import TextClassifier

TEXT, PAIR = "the cat sat on the mat", "a dog"


@pytest.fixture(scope="module")
def classifier():
    return TextClassifier.from_preset("bert_toy")


@pytest.fixture(scope="module")
def internals(classifier):
    return looking.look(classifier, TEXT, PAIR)


def softmax(x):
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def test_the_first_layers_attention_is_that_of_its_formula(classifier, internals):
    backbone = classifier.backbone
    features = classifier.preprocessor.preprocess({"text": [TEXT], "text_pair": [PAIR]})
    count = len(internals.tokens)
    ids = {key: np.asarray(value)[:, :count] for key, value in features.items()}
    hidden = np.asarray(backbone.embeddings(**ids))  # (T, D)
    attention = backbone.encoder_layers[0].attention
    query, key = (
        (hidden @ np.asarray(dense.kernel) + np.asarray(dense.bias)).reshape(count, 4, -1)
        for dense in (attention.query_dense, attention.key_dense)
    )
    scores = np.einsum("inh,jnh->nij", query, key) / np.sqrt(query.shape[-1])
    np.testing.assert_allclose(internals.attention[0], softmax(scores), atol=1e-6)
    lengths = np.linalg.norm(hidden, axis=1)
    cosines = hidden @ hidden.T / np.outer(lengths, lengths)
    np.testing.assert_allclose(internals.similarity[0], cosines, atol=1e-5)


def test_the_last_similarity_is_that_of_the_encoders_output(classifier, internals):
    features = classifier.preprocessor.preprocess({"text": [TEXT], "text_pair": [PAIR]})
    output = np.asarray(classifier.backbone(features)["sequence_output"])[0]
    first, last = output[0], output[len(internals.tokens) - 1]
    expected = first @ last / np.linalg.norm(first) / np.linalg.norm(last)
    assert internals.similarity[-1][0, -1] == pytest.approx(expected, abs=1e-5)
    assert internals.tokens[0] == "[CLS]"
    assert internals.tokens.count("[SEP]") == 2


def test_a_long_text_is_cut_and_says_so():
    internals = looking.look("bert_toy", "the cat sat on the mat", max_tokens=5)
    assert internals.tokens == ("[CLS]", "the", "cat", "sat", "[SEP]")
    assert internals.num_tokens == 8
    assert "(the text has 8 and was cut)" in looking.page(internals)
    with pytest.raises(ValueError, match="beside the 2 special tokens; got 2"):
        looking.look("bert_toy", "a", max_tokens=2)


def decoded(png):
    """Read a PNG with palette and filter 0 by the format's own description."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        kind, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        (checksum,) = struct.unpack(">I", png[place + 8 + size : place + 12 + size])
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        place += 12 + size
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    assert len(chunks[b"PLTE"]) == 768
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def test_the_pictures_hold_the_numbers(internals):
    picture = pixels.png(pixels.levels(internals.attention[1, 2], 0.0, 1.0))
    np.testing.assert_allclose(decoded(picture) / 255, internals.attention[1, 2], atol=0.002)
    assert pixels.data_address(pixels.levels(internals.attention[1, 2], 0.0, 1.0)) in (
        looking.page(internals)
    )


class Elements(html.parser.HTMLParser):
    """Collect the tags and addresses of a page, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text, self.open = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("href", "src")]
        assert not [key for key, _ in attributes if key.startswith("on")]
        if tag not in ("meta", "p", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "p":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_without_scripts_or_addresses(internals):
    page = looking.page(internals)
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    assert set(elements.tags) <= {"html", "head", "meta", "title", "style", "body", "h1", "h2",
                                  "h3", "p", "i", "b", "a", "div", "span", "section", "table",
                                  "tr", "th", "td"}  # fmt: skip
    # Every map is linked to its large form, on the page itself.
    assert len(elements.addresses) == 2 * 4 + 3
    assert all(f'id="{address[1:]}"' in page for address in elements.addresses)
    assert all(address[0] == "#" for address in elements.addresses)
    assert "http" not in page.replace("http-equiv", "")


def test_a_hostile_name_or_text_stays_text(internals):
    hostile = "<script>alert('1')</script>&\0"
    import dataclasses

    changed = dataclasses.replace(internals, name=hostile, tokens=(hostile, *internals.tokens[1:]))
    elements = Elements()
    elements.feed(looking.page(changed))
    assert "script" not in elements.tags
    assert "".join(elements.text).count("<script>alert('1')</script>&\ufffd") > 2


def test_the_projector_of_tensorboard_reads_what_is_written(tmp_path):
    plugin = pytest.importorskip("tensorboard.plugins.projector.projector_plugin")
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    vectors = np.array([[1.0, -2.5], [0.125, 3e-7]], np.float32)
    folder = tmp_path / "logs"
    looking.save_projector(folder, vectors, ["a\tcat", ""], {"label": ["x", "y\n"]})
    config = text_format.Parse((folder / looking.projector.CONFIG).read_text(), ProjectorConfig())
    tensor = plugin._read_tensor_tsv_file(str(folder / config.embeddings[0].tensor_path))
    np.testing.assert_array_equal(tensor, vectors)
    metadata = (folder / config.embeddings[0].metadata_path).read_text()
    assert metadata == "text\tlabel\na cat\tx\n-\ty\n"


def test_the_projector_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match="as many values of `text` as vectors, 1; got 2"):
        looking.save_projector(tmp_path, [[1.0]], ["a", "b"])
    with pytest.raises(ValueError, match="vector 1 is not finite"):
        looking.save_projector(tmp_path, [[1.0], [float("nan")]], ["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_drawn_where_matplotlib_is(internals, tmp_path):
    pytest.importorskip("matplotlib")
    for number, draw in enumerate([
        lambda path: looking.plot_attention(internals, path),
        lambda path: looking.plot_attention(internals, path, layer=1),
        lambda path: looking.plot_similarity(internals, path),
    ]):  # fmt: skip
        path = tmp_path / f"{number}.png"
        draw(path)
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width > 100
        assert height > 100
    with pytest.raises(ValueError, match="layer must be from 0 to 1; got 2"):
        looking.plot_attention(internals, tmp_path / "x.png", layer=2)
    with pytest.raises(ValueError, match="must end in one of"):
        looking.plot_similarity(internals, tmp_path / "x.word")


def test_the_command_writes_a_page(tmp_path, capsys):
    path = tmp_path / "page.html"
    words = ["look", "bert_toy", "paris is in france", "--output", str(path), "--json"]
    assert cli.main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["layers"], said["heads"], said["num_tokens"]) == (2, 4, 6)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert cli.main(["look", "bert_toy", "a", "b"]) == 2
    assert "one text" in capsys.readouterr().err


def test_the_command_embeds_for_the_projector(tmp_path, capsys):
    folder = tmp_path / "logs"
    assert cli.main(["embed", "bert_toy", "a cat", "a dog", "--projector", str(folder)]) == 0
    assert len((folder / "vectors.tsv").read_text().splitlines()) == 2
    assert "tensorboard --logdir" in capsys.readouterr().err
