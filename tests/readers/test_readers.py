"""Files as they are published, and what is said of those that are wrong: file, line, column."""

import re

import pytest

from bertzoo.readers import (
    Examples,
    LabelSet,
    cpc_hierarchy,
    glue_labels,
    read_codah,
    read_dataset,
    read_glue,
    read_hedwig,
    read_labels,
    read_swag,
    read_table,
)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# One file of every task as it is published: the header, and rows with quotation marks.
GLUE = {
    "cola": ('gj04\t1\t\tThe "sailors" rode.\ngj04\t0\t*\tThey made him tired.\n',
             ['The "sailors" rode.', "They made him tired."], ["acceptable", "unacceptable"]),
    "sst2": ('sentence\tlabel\nit \'s a "charming journey . \t1\nbleak \t0\n',
             ['it \'s a "charming journey . ', "bleak "], ["positive", "negative"]),
    "mrpc": ("\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said \"a.\tHe said.\n",
             [('He said "a.', "He said.")], ["equivalent"]),
    "stsb": ("index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\t"
             "score\n0\tmain\tMSRvid\t2012\t1\tnone\tnone\tA plane.\tAn air plane.\t5.000\n",
             [("A plane.", "An air plane.")], [5.0]),
    "qqp": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWho?\tWhat?\t0\n",
            [("Who?", "What?")], ["not_duplicate"]),
    "mnli": ("index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
             "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
             "0\t1\t2\tfiction\t( a )\t( b )\t(R a)\t(R b)\tIt rains.\tIt is wet.\tneutral\t"
             "entailment\n", [("It rains.", "It is wet.")], ["entailment"]),
    "qnli": ("index\tquestion\tsentence\tlabel\n0\tWho?\tBob.\tentailment\n",
             [("Who?", "Bob.")], ["entailment"]),
    "rte": ("index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tnot_entailment\n",
            [("A.", "B.")], ["not_entailment"]),
    "wnli": ("index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t1\n", [("A.", "B.")], ["entailment"]),
    "ax": ("index\tsentence1\tsentence2\n0\tA.\tB.\n", [("A.", "B.")], None),
}  # fmt: skip


@pytest.mark.parametrize("task", GLUE)
def test_every_task_of_glue_is_read(write, task):
    content, inputs, labels = GLUE[task]
    examples = read_glue(task, write(f"{task}.tsv", content))
    assert (examples.inputs, examples.label) == (inputs, labels)
    if labels is not None and task != "stsb":
        assert examples.check_labels(glue_labels(task)) is examples


def test_test_sets_have_no_labels(write):
    examples = read_glue("SST-2", write("test.tsv", "index\tsentence\n0\tfine\n1\tbad\n"))
    assert (examples.text, examples.label, examples.lines) == (["fine", "bad"], None, [2, 3])
    examples = read_glue("cola", write("cola.tsv", "index\tsentence\n0\tBill whistled.\n"))
    assert examples.text == ["Bill whistled."]


def test_the_original_of_stsb_has_rows_of_several_lengths(write):
    row = 'main-news\tMT\t2015\t0012\t{}\tHe said "a.\tHe said.'
    path = write("sts.csv", row.format("3.800") + "\n" + row.format("0.000") + "\tCC BY\tnone\n")
    examples = read_glue("STS-B", path)
    assert examples.label == [3.8, 0.0]
    assert examples.inputs == [('He said "a.', "He said.")] * 2


def test_the_orders_of_labels_differ_between_projects():
    assert glue_labels("mnli") == glue_labels("mnli", "google")
    assert glue_labels("mnli", "hugging_face") == ("entailment", "neutral", "contradiction")
    assert glue_labels("rte", "hugging_face") == glue_labels("rte")
    assert glue_labels("stsb") is None


def test_a_form_feed_ends_no_row_and_windows_line_ends_do(write):
    examples = read_glue("sst2", write("a.tsv", "sentence\tlabel\r\na\u2028b\x0cc\t1\r\n"))
    assert (examples.text, examples.label) == (["a\u2028b\x0cc"], ["positive"])


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("sst2", "", "a.tsv is empty"),
        ("sst2", "sentence\tlabel\n", "a.tsv has no rows"),
        ("sst2", "text\tlabel\na\t1\n", "line 1: there is no column 'sentence'; the columns are"),
        ("rte", "index\tsentence1\tlabel\n0\ta\t1\n", "line 1: there is no column 'sentence2'"),
        ("sst2", "sentence\tlabel\na\t1\nb\n", "line 3: expected 2 columns as in line 1; got 1"),
        (
            "sst2",
            "sentence\tlabel\na\t1\nb\t2\n",
            "line 3, column 'label': .* one of 0, 1; got '2'",
        ),
        ("sst2", "sentence\tlabel\na\t\n", "line 2, column 'label': the label is missing"),
        ("stsb", "sentence1\tsentence2\tscore\na\tb\tnan\n", "column 'score': expected a finite"),
        ("stsb", "sentence1\tsentence2\tscore\na\tb\thigh\n", "a finite number; got 'high'"),
        ("sst2", b"sentence\tlabel\n\xff\t1\n", "is not UTF-8"),
        ("sst3", "a", "the tasks of GLUE are"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(write, task, content, message):
    with pytest.raises(ValueError, match=message):
        read_glue(task, write("a.tsv", content))


def test_csv_has_quotes_and_rows_of_several_lines(write):
    path = write(
        "a.csv", 'review,stars\n"good,\nvery ""good""",5\nbad,1\n"' + "x" * 200_000 + '",2'
    )
    examples = read_table(path, text="review", label="stars")
    assert examples.text[:2] == ['good,\nvery "good"', "bad"]
    assert len(examples.text[2]) == 200_000
    assert (examples.label, examples.lines) == (["5", "1", "2"], [2, 4, 5])


def test_columns_by_number_several_labels_and_names_of_numbers(write):
    path = write("a.tsv", "1\tone\tG, H\n0\ttwo\t\n")
    examples = read_table(
        path, header=False, text=1, label=2, labels=["G", "H"], label_separator=","
    )
    assert examples.label == [["G", "H"], []]
    named = read_table(path, header=False, text=1, label=0, labels=["no", "yes"])
    assert named.label == ["yes", "no"]
    scores = read_table(path, header=False, text=1, label=0, score=True)
    assert scores.label == [1.0, 0.0]


def test_json_lines(write):
    path = write("a.jsonl", '{"t": "a", "l": ["x"]}\n\n{"t": "b", "l": []}\n')
    examples = read_table(path, text="t", label="l")
    assert (examples.text, examples.label, examples.lines) == (["a", "b"], [["x"], []], [1, 3])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "t,l\n", "a.csv has no rows"),
        ("a.csv", 't,l\n"a,1\n', r"a.csv, line 2: unexpected end"),
        ("a.csv", "t,t\n", "two columns have the same name"),
        ("a.csv", "x,l\na,1\n", "line 2: there is no column 't'; the columns are x, l"),
        ("a.jsonl", '{"t": "a", "l": 1}\n{"t": NaN, "l": 1}\n', "line 2, column 't': the text is"),
        ("a.jsonl", '{"t": "a", "l": NaN}\n', "line 1, column 'l': the label is missing"),
        ("a.jsonl", '{"t": 3, "l": 1}\n', "line 1, column 't': expected a text; got 3"),
        ("a.jsonl", '{"t": \n', "line 1: no JSON object"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object; got list"),
        ("a.xls", "", "format must be one of tsv, csv, jsonl, parquet; got 'xls'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(write, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(name, content), text="t", label="l")


def test_one_class_alone_and_unseen_labels_are_said(write):
    path = write("a.csv", "t,l\na,x\nb,x\n")
    examples = read_table(path, text="t", label="l")
    with pytest.raises(ValueError, match="has one label alone, 'x', in all 2 rows"):
        examples.classes()
    with pytest.raises(ValueError, match=r"a.csv, line 2: the label should be one of y; got 'x'"):
        examples.check_labels(["y"])
    assert Examples(["a", "b"], None, [["x"], ["x", "y"]], "s", [1, 2]).classes() == ["x", "y"]


def test_swag_and_codah(write):
    header = (
        ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3"
    )
    row = '0,anetv,3,"A. B","Members, walk.",A line,gold,passes.,has.,arrives.,turns.'
    examples = read_swag(write("train.csv", f"{header},label\n{row},2\n"))
    choices = ["A line passes.", "A line has.", "A line arrives.", "A line turns."]
    assert (examples.inputs, examples.label) == ([("Members, walk.", choices)], [2])
    assert read_swag(write("test.csv", f"{header}\n{row}\n")).label is None
    with pytest.raises(ValueError, match=r"line 2, column 'label': .* 0, 1, 2 or 3; got '4'"):
        read_swag(write("bad.csv", f"{header},label\n{row},4\n"))
    with pytest.raises(ValueError, match="line 2: there is no column 'ending3'"):
        read_swag(write("cut.csv", "sent1,sent2,ending0,ending1,ending2\na,b,c,d,e\n"))
    codah = read_codah(write("codah.tsv", 'o\tI am "hungry\ta.\tb.\tc.\td.\t3\n'))
    assert (codah.inputs, codah.label) == ([('I am "hungry', ["a.", "b.", "c.", "d."])], [3])
    with pytest.raises(ValueError, match="line 1: expected 7 columns; got 2"):
        read_codah(write("bad.tsv", "a\tb\n"))


def test_labels_and_their_hierarchy(write):
    labels = read_labels(write("l.txt", "# topics\r\nball\tsport\r\nsport\r\n\r\ntennis\tball\n"))
    assert labels == LabelSet(("ball", "sport", "tennis"), {"ball": "sport", "tennis": "ball"})
    assert labels.with_parents(["tennis"]) == ["ball", "sport", "tennis"]
    with pytest.raises(ValueError, match="the label 'golf' is not among the 3 labels"):
        labels.with_parents(["golf"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no labels"),
        ("a\nb\na\n", "line 3: the label 'a' stands in line 1 too"),
        ("a\nb\tc\n", "line 2: the parent 'c' of 'b' is not a label"),
        ("a\tb\nb\ta\n", "line 1: the label 'a' is its own ancestor"),
    ],
)
def test_wrong_label_files_are_said(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_labels(write("l.txt", content))


def test_patent_codes_have_classes_and_sections_above_them():
    labels = cpc_hierarchy(["A01B", "A01C", "H04L"])
    assert labels.labels == ("A", "H", "A01", "H04", "A01B", "A01C", "H04L")
    assert labels.with_parents(["A01C"]) == ["A", "A01", "A01C"]
    with pytest.raises(ValueError, match="code 1 should be a subclass such as A01B; got 'A1'"):
        cpc_hierarchy(["A01B", "A1"])


def test_rows_of_digits(write):
    path = write("dev.tsv", '101\tprices "rose\n000\tnothing\n')
    assert read_hedwig(path, ["a", "b", "c"]).label == [["a", "c"], []]
    assert read_hedwig(path).label == [[0, 2], []]
    with pytest.raises(ValueError, match="line 1: expected 2 digits of 0 and 1"):
        read_hedwig(path, ["a", "b"])


def test_data_sets_of_other_libraries_by_their_shape():
    class ClassLabel:
        names = ("bad", "good")

    class TheirDataset(list):
        features = {"label": ClassLabel(), "text": None}  # noqa: RUF012

    rows = [{"text": "fine", "label": 1}, {"text": "poor", "label": 0}]
    examples = read_dataset(TheirDataset(rows), text="text", label="label")
    assert (examples.text, examples.label) == (["fine", "poor"], ["good", "bad"])
    with pytest.raises(ValueError, match=re.escape("TheirDataset, line 1: there is no column 't'")):
        read_dataset(TheirDataset(rows), text="t")


def test_tensorflow_datasets_are_dicts_of_tensors():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices({"text": ["fine", "poor"], "label": [1, 0]})
    examples = read_dataset(dataset, labels=["bad", "good"], text="text", label="label")
    assert (examples.text, examples.label) == (["fine", "poor"], ["good", "bad"])
    with pytest.raises(ValueError, match="without as_supervised"):
        read_dataset(dataset.map(lambda row: (row["text"], row["label"])), text="text")


def test_parquet_says_what_it_needs_or_is_read(write, tmp_path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(ValueError, match="Parquet files need pyarrow"):
            read_table(write("a.parquet", b"PAR1"), text="t")
        return
    table = pyarrow.table({"t": ["a", "b"], "l": [["x"], []]})
    pyarrow.parquet.write_table(table, tmp_path / "b.parquet")
    examples = read_table(tmp_path / "b.parquet", text="t", label="l")
    assert (examples.text, examples.label, examples.lines) == (["a", "b"], [["x"], []], [1, 2])
    with pytest.raises(ValueError, match="is not a Parquet file"):
        read_table(write("a.parquet", b"PAR1"), text="t")
