"""The command line: answers, JSON, quickness, and one sentence for a mistake."""

import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import bertzoo
from bertzoo import cli, presets
from bertzoo.cli import texts
from bertzoo.cli.output import table

ROOT = pathlib.Path(bertzoo.__file__).parent.parent


@pytest.fixture
def run(capsys):
    """Run a command in this process; return (exit code, standard output, standard error)."""

    def run(*words):
        code = cli.main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def stdin(monkeypatch):
    """Give the command bytes on standard input."""

    def put(content):
        stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stream)

    return put


@pytest.fixture
def no_home(tmp_path, monkeypatch):
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path / "nothing"))


def python(*words, **kwargs):
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, timeout=120, **kwargs
    )


# === list and show ===


def test_list_shows_every_preset_with_its_size(run):
    code, out, err = run("list")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 1 + len(presets.list_presets())
    line = next(line for line in lines if " bert_base_en_uncased " in line)
    assert "109,482,240" in line
    assert "masked_lm, next_sentence" in line
    assert f"{len(lines) - 1} of {len(lines) - 1} presets" in err


def test_list_in_json_is_only_json(run):
    code, out, err = run("list", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert (code, err) == (0, "")
    assert entries["albert_base_v2_en_uncased"]["parameters"] == 11_683_584
    assert entries["bert_l2_h128_en_uncased"]["aliases"] == ["bert_tiny_en_uncased"]


def test_list_filters_by_name_alias_family_head_and_language(run):
    def names(*words):
        return {entry["name"] for entry in json.loads(run("list", "--json", *words)[1])}

    assert names("BERT_TINY") == {"bert_l2_h128_en_uncased", "bert_tiny_sst2_en_uncased"}
    assert names("--family", "toy") == {"bert_toy"}
    assert names("--head", "token_classifier") == {
        "bert_base_ner_en_cased", "bert_large_ner_en_cased", "bert_toy"
    }  # fmt: skip
    assert names("--language", "zh") == {"bert_base_zh"}
    assert names("nothing_is_called_so") == set()


def test_list_marks_what_is_on_this_machine(run, tmp_path, monkeypatch):
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path))
    (tmp_path / "bert_base_zh").mkdir()
    (tmp_path / "bert_base_zh" / "config.json").write_text("{}", encoding="utf-8")
    here = json.loads(run("list", "bert_", "--here", "--json")[1])
    assert {entry["name"] for entry in here} == {"bert_base_zh", "bert_toy"}
    assert next(e for e in here if e["name"] == "bert_base_zh")["directory"] == str(
        tmp_path / "bert_base_zh"
    )


def test_show_tells_labels_sources_and_where_to_get_files(run, no_home):
    code, out, _ = run("show", "finbert_tone_en_uncased")
    assert code == 0
    assert "Neutral, Positive, Negative" in out
    assert "hugging_face: yiyanghkust/finbert-tone" in out
    assert "not on this machine: put the files of" in out
    assert "checksums" in out
    assert "not known" in out


def test_show_takes_an_alias_and_gives_json(run):
    code, out, err = run("show", "distil_bert_base_en", "--json")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert shown["name"] == "distilbert_base_en_cased"
    assert shown["sha256"] == "unknown"
    assert shown["config"]["num_layers"] == 6
    assert shown["tokenizer"]["lowercase"] is False
    assert shown["sources"][0] == {"hugging_face": "distilbert/distilbert-base-cased"}


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("roberta_base_en", "byte_pair, with case, 50,265 tokens"),
        ("albert_base_v2_en_uncased", "sentence_piece, lower-cased, 30,000 tokens"),
    ],
)
def test_show_tells_the_tokenizer(run, name, tokenizer):
    assert tokenizer in run("show", name)[1]


def test_show_finds_the_format_of_a_directory(run, tmp_path):
    directory = write_toy(tmp_path)
    code, out, _ = run("show", str(directory))
    assert code == 0
    assert "format" in out
    assert "bertzoo" in out
    shown = json.loads(run("show", str(directory), "--json")[1])
    assert shown["format"] == "bertzoo"
    assert shown["parameters"] == 9_454
    assert set(shown["heads"]) >= {"masked_lm", "text_classifier"}


def write_toy(folder):
    """Write the toy as a preset directory."""
    from bertzoo import checkpoints

    toy = checkpoints.open_source("bert_toy")
    return checkpoints.write_preset(
        folder / "toy",
        config=toy.config,
        heads=toy.heads,
        tokenizer=toy.tokenizer,
        files={"vocabulary.txt": toy.files["vocabulary"].read_bytes()},
        weights=toy.all_weights(),
        info=toy.info,
    )


# === Quickness ===


def test_list_and_show_load_neither_tensorflow_nor_keras():
    code = (
        "import sys; from bertzoo.cli import main\n"
        "assert main(['list']) == main(['show', 'bert_base_zh', '--json']) == 0\n"
        "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_reader_that_stops_early_is_no_error():
    pipe = f"{sys.executable} -m bertzoo list | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", pipe], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert done.stdout.split()[0] == "preset"


def test_several_changes_may_stand_behind_one_set():
    from bertzoo.cli import parse

    options = parse(["train", "finetune/glue_rte", "--set", "a.b=1", "c=x=y", "--smoke"])
    assert (options.recipe, options.set, options.smoke) == (
        "finetune/glue_rte", ["a.b=1", "c=x=y"], True
    )  # fmt: skip


# === Mistakes ===


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "bert_bse_en_cased"], "did you mean `bert_base_en_cased`"),
        (["lst"], "invalid choice: 'lst'"),
        (["list", "--famly"], "unrecognized arguments: --famly"),
        (["list", "a", "b"], "unrecognized arguments: b"),
        (["train", "a", "b", "--set", "c=d"], "unrecognized arguments: b"),
        (["list", "--family", "brt"], "did you mean `bert`"),
        (["list", "--head", "masked"], "did you mean `masked_lm`"),
        (["show", "/no/such/directory"], "does not exist"),
        (["tokenize", "bert_toy", "--file", "/no/such.txt"], "No such file or directory: /no/"),
        (["tokenize", "bert_toy", "a", "--file", "b"], "give texts or --file, not both"),
        (["tokenize", "roberta_base_en", "a"], "not on this machine: put the files of"),
        (["tokenize", "bert_base_zh", "a"], "not on this machine: put the files of"),
        (["embed", "bert_toy", "a", "--output", "v.txt"], "--output must end in .npy"),
        (["embed", "bert_toy", "a", "--output", "/no/v.npy"], "the folder of /no/v.npy does not"),
        (["embed", "bert_base_zh", "a"], "not on this machine: put the files of"),
        (["fill", "bert_toy", "a cat"], "has no [MASK]"),
        (["fill", "bert_toy", "a [MASK]", "--top-k", "0"], "--top-k must be at least 1"),
        (["fill", "bert_toy", "a [MASK]", "--top-k", "x"], "invalid int value"),
        (["predict", "minilm_l6_h384_en_uncased", "a"], "has no text_classifier head"),
        (["convert", "bert_toy", ".", "--to", "hf_bert"], "exists already"),
        (["convert", "bert_toy", "new"], "arguments are required: --to"),
    ],
)
def test_a_mistake_ends_with_code_2_and_a_sentence(run, no_home, words, message):
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("bertzoo")


def test_debug_shows_where_an_error_came_from():
    with pytest.raises(ValueError, match="unknown preset"):
        cli.main(["show", "nothing", "--debug"])


def test_a_package_that_is_not_installed_is_named(run, monkeypatch):
    def missing(options):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr("bertzoo.cli.zoo.list_presets", missing)
    code, _, err = run("list")
    assert code == 2
    assert err == (
        "bertzoo list: this needs the Python package tensorflow, which is not installed\n"
    )


def test_an_interruption_ends_quietly(run, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("bertzoo.cli.zoo.list_presets", interrupted)
    assert run("list") == (130, "", "")


def test_help_and_version_are_no_mistakes(run):
    assert run("--version")[:2] == (0, f"bertzoo {bertzoo.__version__}\n")
    code, out, _ = run("--help")
    assert code == 0
    for verb in ("list", "show", "tokenize", "embed", "fill", "predict", "convert", "upload",
                 "doctor"):  # fmt: skip
        assert f"\n    {verb} " in out


# === Texts ===


class Options:
    """What a command knows of its texts."""

    def __init__(self, texts=(), file=None):
        self.texts, self.file = list(texts), file


def test_lines_of_a_file_are_texts_and_an_empty_line_is_one(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffa cat\r\n\nz\u2028y\nlast".encode())
    assert texts.read_texts(Options(file=str(path))) == ["a cat", "", "z\u2028y", "last"]
    path.write_bytes(b"a\nb\n")
    assert texts.read_texts(Options(file=str(path))) == ["a", "b"]


@pytest.mark.parametrize("options", [{}, {"texts": ["-"]}, {"file": "-"}])
def test_lines_of_standard_input_are_texts(options, stdin):
    stdin("Käse\nund Brot\n".encode())
    assert texts.read_texts(Options(**options)) == ["Käse", "und Brot"]


def test_standard_input_may_be_asked_for_behind_an_option():
    assert cli.parse(["predict", "bert_toy", "--jsonl", "-"]).texts == ["-"]


def test_a_hyphen_among_texts_is_a_text():
    assert texts.read_texts(Options(texts=["-", "a"])) == ["-", "a"]


def test_a_file_that_is_empty_or_not_utf_8_is_named(tmp_path, stdin):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match=r"texts.txt is not UTF-8 \(at byte 2\)"):
        texts.read_texts(Options(file=str(path)))
    stdin(b"")
    with pytest.raises(ValueError, match="standard input has no line of text"):
        texts.read_texts(Options())


def test_a_terminal_without_texts_is_told_how_to_give_them(monkeypatch):
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    with pytest.raises(ValueError, match="no text: give texts, --file FILE, or lines"):
        texts.read_texts(Options())


def test_texts_may_stand_behind_an_option(run):
    code, out, _ = run("tokenize", "bert_toy", "a cat", "--json", "a dog", "Paris")
    assert code == 0
    assert [entry["text"] for entry in json.loads(out)] == ["a cat", "a dog", "Paris"]


def test_tokenize_gives_tokens_ids_and_offsets(run):
    code, out, _ = run("tokenize", "bert_toy", "The Éat sat!", "--json", "--offsets")
    assert code == 0
    (entry,) = json.loads(out)
    vocabulary = presets.find_preset("bert_toy").vocabulary
    assert entry["tokens"] == ["the", "e", "##a", "##t", "sat", "!"]
    assert entry["ids"] == [vocabulary.index(token) for token in entry["tokens"]]
    spelled = ["The Éat sat!"[start:end] for start, end in entry["offsets"]]
    assert spelled == ["The", "É", "a", "t", "sat", "!"]


def test_a_text_that_is_not_utf_8_is_answered_all_the_same(run):
    code, out, _ = run("tokenize", "bert_toy", "a\udcff cat", "--json")  # the byte 0xFF
    assert code == 0
    assert json.loads(out)[0]["text"] == "a\udcff cat"
    assert json.loads(out)[0]["tokens"][-1] == "cat"


def test_tokenize_in_plain_text_puts_ids_under_tokens(run):
    code, out, err = run("tokenize", "bert_toy", "a cat")
    vocabulary = presets.find_preset("bert_toy").vocabulary
    assert (code, err) == (0, "")
    assert out == f"a cat\n{vocabulary.index('a')} {vocabulary.index('cat')}\n"


def test_embed_prints_the_vectors_of_the_library(run):
    code, out, err = run("embed", "bert_toy", "a cat", "the dog sat", "--json")
    entries = json.loads(out)
    expected = bertzoo.TextEmbedder.from_preset("bert_toy").predict(["a cat", "the dog sat"])
    assert code == 0
    assert [entry["text"] for entry in entries] == ["a cat", "the dog sat"]
    np.testing.assert_allclose([entry["vector"] for entry in entries], expected, atol=2e-6)
    assert "2 texts in" in err


def test_embed_writes_a_file_and_says_so(run, tmp_path):
    path = tmp_path / "vectors.npy"
    code, out, _ = run("embed", "bert_toy", "a cat", "a dog", "it", "--output", str(path))
    vectors = np.load(path)
    assert code == 0
    assert out == f"{path}: 3 vectors of 20 numbers\n"
    assert vectors.shape == (3, 20)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_fill_answers_every_mask_of_every_text(run):
    words = ["the [MASK] sat", "[MASK] is in [MASK]"]
    code, out, _ = run("fill", "bert_toy", *words, "--top-k", "3", "--json")
    one, two = json.loads(out)
    assert code == 0
    assert [len(one["masks"]), len(two["masks"])] == [1, 2]
    assert all(len(mask) == 3 for mask in one["masks"] + two["masks"])
    scores = [fill["score"] for fill in one["masks"][0]]
    assert scores == sorted(scores, reverse=True)
    plain = run("fill", "bert_toy", *words, "--top-k", "1")[1]
    assert "[MASK] is in [MASK] (mask 2)" in plain
    assert one["masks"][0][0]["token"] in plain


def test_predict_names_the_class_and_all_probabilities(run):
    code, out, _ = run("predict", "bert_toy", "good film", "bad", "--json")
    first, second = json.loads(out)
    assert code == 0
    assert (first["text"], second["text"]) == ("good film", "bad")
    assert set(first["probabilities"]) == {"negative", "positive"}
    assert sum(first["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert first["label"] == max(first["probabilities"], key=first["probabilities"].get)
    assert first["label"] in run("predict", "bert_toy", "good film")[1]


@pytest.mark.long
def test_predict_names_every_label_of_a_multi_label_classifier(run, tmp_path):
    from bertzoo.tasks.text_classifier import TextClassifier

    tagger = TextClassifier.from_preset("bert_toy", problem="multi_label", thresholds=0.0)
    tagger.save_to_preset(tmp_path / "tagger")
    code, out, _ = run("predict", str(tmp_path / "tagger"), "good film", "--json")
    (only,) = json.loads(out)
    assert (code, only["labels"]) == (0, ["negative", "positive"])
    told = tagger.classify(["good film"])[0].probabilities
    assert only["probabilities"] == pytest.approx(told, abs=1e-5)
    assert "negative 0." in run("predict", str(tmp_path / "tagger"), "good film")[1]


def test_progress_does_not_mix_with_the_answer(run):
    many = ["a cat sat on the mat"] * 70  # more than one batch: Keras shows its bar
    code, out, _ = run("embed", "bert_toy", *many, "--json")
    assert code == 0
    assert len(json.loads(out)) == 70


# === convert and doctor ===


@pytest.mark.parametrize(
    ("target", "heads"),
    [
        ("bertzoo", None),
        ("hf_bert", "masked_lm,next_sentence"),
        ("google_bert", "masked_lm,next_sentence"),
    ],
)
def test_convert_writes_what_can_be_read_again(run, tmp_path, target, heads):
    directory = tmp_path / "new"
    words = ["convert", str(write_toy(tmp_path)), str(directory), "--to", target]
    code, out, err = run(*words, *(["--heads", heads] if heads else []))
    assert code == 0, err
    assert out.startswith(f"{directory}: ")
    assert f"is bertzoo; writing {target}" in err
    shown = json.loads(run("show", str(directory), "--json")[1])
    assert shown["format"] == target
    assert shown["parameters"] == 9_454
    if heads:
        assert set(shown["heads"]) == set(heads.split(","))


def test_convert_writes_for_sentence_transformers(run, tmp_path):
    directory = tmp_path / "new"
    words = ["convert", "bert_toy", str(directory), "--to", "sentence_transformers"]
    code, out, err = run(*words)
    assert code == 0, err
    assert "modules.json" in out
    assert json.loads(run("show", str(directory), "--json")[1])["heads"].keys() == {"text_embedder"}


def test_convert_says_what_googles_code_has_not(run, tmp_path):
    words = ["convert", "bert_toy", str(tmp_path / "x"), "--to", "google_albert", "--heads"]
    code, _, err = run(*words, "masked_lm")
    assert code == 2
    assert "google_albert cannot express bert_toy: num_groups would be" in err


def test_convert_refuses_heads_that_do_not_go_together(run, tmp_path):
    code, _, err = run("convert", "bert_toy", str(tmp_path / "new"), "--to", "hf_bert")
    assert code == 2
    assert "masked_lm and next_sentence" in err
    assert not (tmp_path / "new").exists()


def test_convert_writes_what_keras_hub_computes_otherwise_only_if_asked(run, tmp_path):
    words = ["convert", "bert_toy", str(tmp_path / "new"), "--to", "keras_hub", "--heads"]
    code, _, err = run(*words, "text_classifier")
    assert code == 2
    assert "gelu" in err.lower()
    assert run(*words, "text_classifier", "--allow-inexact")[0] == 0
    assert (tmp_path / "new" / "task.json").is_file()


def test_convert_refuses_an_unknown_format(run, tmp_path):
    code, _, err = run("convert", "bert_toy", str(tmp_path / "new"), "--to", "hf_brt")
    assert code == 2
    assert "hf_bert" in err
    assert not (tmp_path / "new").exists()


def test_doctor_says_what_is_installed_and_what_is_missing(run, no_home):
    code, out, err = run("doctor", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["bertzoo"] == bertzoo.__version__
    assert found["packages"]["tensorflow"].startswith("2.")
    assert found["uses"]["text"]["ready"] is True
    assert set(found["uses"]) == {"text", "gpu", "tpu", "serving", "hf://", "kaggle://"}
    for use in found["uses"].values():
        assert use["ready"] == (use["missing"] is None)
    plain = run("doctor")[1]
    assert "tensorflow-text" in plain
    assert "BERTZOO_HOME" in plain


def test_doctor_notices_a_text_package_of_another_version():
    from bertzoo.cli import doctor

    assert doctor._text_problem({"tensorflow": "2.20.0", "tensorflow-text": "2.20.1"}) is None
    problem = doctor._text_problem({"tensorflow": "2.20.0", "tensorflow-text": "2.19.0"})
    assert problem == "tensorflow-text 2.20: 2.19.0 does not fit tensorflow 2.20.0"
    assert "package tensorflow-text" in doctor._text_problem(
        {"tensorflow": "2.20.0", "tensorflow-text": None}
    )


def test_doctor_survives_a_machine_without_tensorflow():
    from bertzoo.cli import doctor

    machine = doctor._machine(None)
    assert machine["tensorflow_error"] == "not installed"
    assert doctor._gpu_problem(machine) == "a TensorFlow that can be imported"


def test_a_table_is_aligned():
    rows = [["name", "size"], ["a", "12"], ["long one", "1,234"]]
    assert table(rows, right=[1]).splitlines() == [
        "name       size",
        "a            12",
        "long one  1,234",
    ]
