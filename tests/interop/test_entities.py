"""Entities of raw texts beside the pipeline of transformers, with the same weights."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import torch
import transformers

import bertzoo as bz

VOCABULARY = "tests/data/bert-base-uncased/vocab.txt"
TEXTS = [
    "Victoria's unaffordable café in Uganda, near Kampala (1900-1910), cost €3.50.",
    "isn't it?",
    "Obwohl Ngugi wa Thiong'o Schriftsteller ist...",
]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    torch.manual_seed(5)
    config = transformers.BertConfig(
        hidden_size=20, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37,
        initializer_range=0.5, id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )  # fmt: skip
    model = transformers.BertForTokenClassification(config).eval()
    tokenizer = transformers.BertTokenizerFast(VOCABULARY)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return bz.TokenClassifier.from_preset(folder), model, tokenizer


@pytest.mark.parametrize("aggregation", ["first", "average", "max"])
def test_words_have_the_labels_and_scores_of_the_pipeline(models, aggregation):
    ours, model, tokenizer = models
    pipeline = transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, ignore_labels=[],
        aggregation_strategy=aggregation,
    )  # fmt: skip
    for text in TEXTS:
        # Their grouping reads I- tags otherwise than conlleval; the words are what is compared.
        entities = pipeline.gather_pre_entities(
            text, *_raw(pipeline, model, tokenizer, text), _strategy(aggregation)
        )
        words = pipeline.aggregate_words(entities, _strategy(aggregation))
        windows, found = ours.preprocessor.word_windows([text])
        logits = ours._outputs(windows, 8)
        probabilities, labels, _ = ours._decode(logits, windows, found, aggregation)
        spans = zip(found.starts[0].numpy(), found.ends[0].numpy(), strict=True)
        for (start, end), label, row, word in zip(spans, labels, probabilities, words, strict=True):
            assert (start, end) == (word["start"], word["end"])
            assert LABELS[int(label)] == word["entity"]
            assert float(max(row)) == pytest.approx(float(word["score"]), rel=1e-3)


def _strategy(aggregation):
    return transformers.pipelines.token_classification.AggregationStrategy(aggregation)


def _raw(pipeline, model, tokenizer, text):
    encoded = tokenizer(text, return_tensors="pt", return_offsets_mapping=True,
                        return_special_tokens_mask=True)  # fmt: skip
    offsets = encoded.pop("offset_mapping")[0].numpy()
    special = encoded.pop("special_tokens_mask")[0].numpy()
    with torch.no_grad():
        scores = model(**encoded).logits[0].softmax(-1).numpy()
    return encoded["input_ids"][0].numpy(), scores, offsets, special
