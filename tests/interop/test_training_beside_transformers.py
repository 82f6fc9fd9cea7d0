"""`fit` on strings beside transformers, from the same weights: the losses of each epoch.

What the two share is the text, the weights and plain gradient descent; tokens, windows, labels and
losses are each library's own, theirs as in transformers' example scripts.
"""

import functools
import pathlib

import numpy as np
import pytest

import bertzoo as bz

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = pathlib.Path("tests/data/bert-base-uncased/vocab.txt")
LENGTH, BATCH, EPOCHS, RATE = 48, 4, 3, 0.2
PASSAGES = [
    "The Rhine rises in the canton of Graubünden in the south-eastern Swiss Alps, forms part of "
    "the Swiss-Austrian border, then flows through Germany and the Netherlands into the North Sea. "
    "It is the second-longest river of Central and Western Europe, after the Danube, at about "
    "1,230 km.",
    "Unaffordable rents drove the potters out of the old town in 1911.",
    "Amylase, found in saliva, breaks starch into sugars; pepsin, which the stomach makes, breaks "
    "proteins. Bile is not an enzyme: the liver makes it, the gall-bladder keeps it, and it "
    "divides fat into droplets so that lipase, from the pancreas, can reach it in the duodenum.",
]
QUESTIONS = [
    (0, "Where does the Rhine rise?", "the canton of Graubünden"),
    (0, "Which river is longer?", "the Danube"),
    (0, "How long is it?", "1,230 km"),
    (0, "Who built the first bridge over it?", None),
    (1, "When did the potters leave?", "1911"),
    (1, "Who left?", "the potters"),
    (1, "Where did they go?", None),
    (2, "What keeps bile?", "the gall-bladder"),
    (2, "Where does lipase come from?", "the pancreas"),
    (2, "What breaks starch?", "Amylase"),
]
SENTENCES = {
    "Victoria lies between Uganda , Kenya and Tanzania": "B O O B O B O B",
    "Naïveté cost Jean-Luc Godard €3.50": "O O B I O",
    "Nobody left": "O O",
    "The Unaffordable Hotel of Ouagadougou closed": "O B I I I O",
    "Ouagadougou !": "B O",
}
PAIRS = [
    ("A man plays a guitar.", "Someone makes music.", "entailment"),
    ("A man plays a guitar.", "The guitar is broken.", "neutral"),
    ("Two dogs run on the beach.", "The dogs are asleep.", "contradiction"),
    ("Two dogs run on the beach.", "Animals are outside.", "entailment"),
    ("It rained all day in Ouagadougou.", "It was dry.", "contradiction"),
    ("It rained all day in Ouagadougou.", "The river rose.", "neutral"),
]  # fmt: skip
CHOICES = [
    ("The baker opened the oven and", ["took out the bread.", "swam to the shore."], 0),
    ("After the goal the crowd", ["melted in the sun.", "cheered for a minute."], 1),
    ("She unfolded the map to", ["find the way.", "paint the fence green twice."], 0),
]


@pytest.fixture
def theirs(tmp_path):
    """A function from the name of a class to a model of it and its folder, with a vocabulary."""

    def make(name, **options):
        torch.manual_seed(5)
        config = transformers.BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=LENGTH, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, initializer_range=0.1, **options,
        )  # fmt: skip
        model = getattr(transformers, name)(config)
        # torch never trains the vector of [PAD]; Google's code does, where a loss reads it: that
        # of questions is over all places of a row (run_squad.py).
        model.bert.embeddings.word_embeddings.padding_idx = None
        model.save_pretrained(tmp_path)
        (tmp_path / "vocab.txt").write_bytes(VOCABULARY.read_bytes())
        return model, tmp_path

    return make


def their_losses(model, rows):
    """Return the mean loss of each epoch over rows, which are dicts of lists, one a row."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    means = []
    for _ in range(EPOCHS):
        total = 0.0
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            inputs = {key: torch.tensor([row[key] for row in some]) for key in some[0]}
            loss = model.train()(**inputs).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(some)
        means.append(total / len(rows))
    return means


def our_losses(task, x, y=None):
    task.compile(keras.optimizers.SGD(RATE))
    history = task.fit(x, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0)
    return history.history["loss"]


@functools.cache
def tokenizer():
    return transformers.BertTokenizerFast(str(VOCABULARY))


def test_questions(theirs):
    model, folder = theirs("BertForQuestionAnswering")
    rows = []
    for passage, question, answer in QUESTIONS:
        context = PASSAGES[passage]
        room = LENGTH - 3 - len(tokenizer()(question, add_special_tokens=False).input_ids)
        encoded = tokenizer()(
            question, context, truncation="only_second", max_length=LENGTH, padding="max_length",
            stride=room - (room + 1) // 2, return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )  # fmt: skip
        for window in range(len(encoded["input_ids"])):
            row = {key: encoded[key][window]
                   for key in ("input_ids", "token_type_ids", "attention_mask")}  # fmt: skip
            # The place of the answer, or [CLS] where this window does not hold the whole of it.
            start, end = -1, -1
            if answer is not None:
                begin = context.index(answer)
                places = zip(encoded["offset_mapping"][window], encoded.sequence_ids(window),
                             strict=True)  # fmt: skip
                inside = {number: place for number, (place, of) in enumerate(places) if of == 1}
                start = next((n for n, place in inside.items() if place[0] == begin), -1)
                end = next(
                    (n for n, place in inside.items() if place[1] == begin + len(answer)), -1
                )
            found = start >= 0 and end >= 0
            rows.append({**row, "start_positions": start * found, "end_positions": end * found})
    assert len(rows) > len(QUESTIONS)
    assert 0 < sum(row["start_positions"] > 0 for row in rows) < len(rows)
    answerer = bz.QuestionAnswerer.from_preset(folder, padding="fixed", null_threshold=0.0)
    places, questions, answers = zip(*QUESTIONS, strict=True)
    columns = {
        "question": list(questions),
        "context": [PASSAGES[place] for place in places],
        "answer": list(answers),
    }
    assert our_losses(answerer, columns) == pytest.approx(their_losses(model, rows), abs=1e-5)


def test_words(theirs):
    names = ["O", "B", "I"]
    model, folder = theirs("BertForTokenClassification", num_labels=3,
                           id2label=dict(enumerate(names)))  # fmt: skip
    rows = []
    sentences = [(text.split(), tags.split()) for text, tags in SENTENCES.items()]
    for words, tags in sentences:
        encoded = tokenizer()(words, is_split_into_words=True, max_length=LENGTH,
                              padding="max_length", truncation=True)  # fmt: skip
        labels, before = [], None
        for word in encoded.word_ids():
            first = word is not None and word != before
            labels.append(names.index(tags[word]) if first else -100)
            before = word
        rows.append({**encoded, "labels": labels})
    tagger = bz.TokenClassifier.from_preset(folder, padding="fixed")
    words, tags = map(list, zip(*sentences, strict=True))
    assert our_losses(tagger, words, tags) == pytest.approx(their_losses(model, rows), abs=1e-5)


def test_pairs(theirs):
    names = ["contradiction", "entailment", "neutral"]
    model, folder = theirs("BertForSequenceClassification", num_labels=3,
                           id2label=dict(enumerate(names)))  # fmt: skip
    rows = [
        {**tokenizer()(first, second, max_length=LENGTH, padding="max_length"),
         "labels": names.index(label)}
        for first, second, label in PAIRS
    ]  # fmt: skip
    classifier = bz.TextClassifier.from_preset(folder)
    pairs, labels = [pair[:2] for pair in PAIRS], [label for *_, label in PAIRS]
    assert our_losses(classifier, pairs, labels) == pytest.approx(
        their_losses(model, rows), abs=1e-5
    )


def test_choices(theirs):
    model, folder = theirs("BertForMultipleChoice")
    rows = []
    for text, choices, right in CHOICES:
        encoded = tokenizer()([text] * len(choices), choices, max_length=LENGTH,
                              padding="max_length")  # fmt: skip
        rows.append({**encoded, "labels": right})
    chooser = bz.MultipleChoice.from_preset(folder)
    texts, choices, right = zip(*CHOICES, strict=True)
    ours = our_losses(chooser, {"text": list(texts), "choices": list(choices)}, np.array(right))
    assert ours == pytest.approx(their_losses(model, rows), abs=1e-5)
