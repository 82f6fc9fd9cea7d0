"""Tags to entities and back; the rules of conlleval, by hand."""

import pytest

from bertzoo import tags
from bertzoo.tags import Span


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        ("B-A I-A O B-A", [("A", 0, 2), ("A", 3, 4)]),
        ("I-A I-A B-A I-B", [("A", 0, 2), ("A", 2, 3), ("B", 3, 4)]),  # IOB1
        ("O I-A O", [("A", 1, 2)]),  # an I- after O begins one
        ("B-A I-B I-B", [("A", 0, 1), ("B", 1, 3)]),  # as does one of another type
        ("B-A I-A E-A S-A E-A", [("A", 0, 3), ("A", 3, 4), ("A", 4, 5)]),
        ("E-A I-A S-A I-A", [("A", 0, 1), ("A", 1, 2), ("A", 2, 3), ("A", 3, 4)]),
        ("B-A L-A U-A O", [("A", 0, 2), ("A", 2, 3)]),  # BILOU
        ("B I O B", [("entity", 0, 2), ("entity", 3, 4)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_tags_spell_entities_as_conlleval_reads_them(spelled, expected):
    assert [tuple(span) for span in tags.spans_of_tags(spelled.split())] == expected


def test_plain_types_join_neighbours_where_there_is_an_outside():
    labels = ["O", "PER", "B-cell"]
    spans = tags.spans_of_tags(["PER", "PER", "B-cell", "O", "B-cell"], labels)
    assert [tuple(span) for span in spans] == [("PER", 0, 2), ("B-cell", 2, 3), ("B-cell", 4, 5)]


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("IOB1", "I-A I-A B-A I-B O I-A"),
        ("IOB2", "B-A I-A B-A B-B O B-A"),
        ("BIOES", "B-A E-A S-A S-B O S-A"),
    ],
)
def test_every_scheme_is_written_and_read(scheme, expected):
    spans = [Span("A", 0, 2), Span("A", 2, 3), Span("B", 3, 4), Span("A", 5, 6)]
    assert tags.tags_of_spans(spans, 6, scheme) == expected.split()
    assert tags.spans_of_tags(expected.split()) == spans
    assert tags.convert_tags(["I-A", "I-A", "B-A", "I-B", "O", "I-A"], scheme) == expected.split()


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([Span("A", 0, 2), Span("B", 1, 3)], "overlap"),
        ([Span("A", 2, 4)], "does not lie in a sentence of 3 words"),
        ([Span("A", 1, 1)], "does not lie in a sentence of 3 words"),
    ],
)
def test_spans_that_tags_cannot_spell_are_refused(spans, message):
    with pytest.raises(ValueError, match=message):
        tags.tags_of_spans(spans, 3)


def test_an_unknown_scheme_and_a_tag_without_a_prefix_are_refused():
    with pytest.raises(ValueError, match="IOB1, IOB2, BIOES; got 'IOB'"):
        tags.convert_tags(["O"], "IOB")
    with pytest.raises(ValueError, match="as B-PER; got 'PER'"):
        tags.spans_of_tags(["O", "PER"])


def test_a_label_of_another_script_is_no_entity():
    tag_set = tags.read_tag_set(["[PAD]", "B", "I", "O", "X", "[CLS]", "[SEP]"])  # BioBERT's
    assert tag_set.prefixes == (0, tags.BEGIN, tags.INSIDE, 0, 0, 0, 0)
    assert tag_set.names == ("entity",)
