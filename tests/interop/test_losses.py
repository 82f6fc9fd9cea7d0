"""Losses beside the same formulas in PyTorch, as the published repositories compute them.

DistilBERT: transformers, research_projects/distillation, `distiller.py` (masked_select of the
logits, `KLDivLoss(reduction="batchmean")` times T^2, `CosineEmbeddingLoss` with targets 1).
TinyBERT: Huawei's Pretrained-Language-Model, `task_distill.py` (`MSELoss` over whole tensors, with
scores of at most -100 set to 0; `soft_cross_entropy`). MiniLM: Wang et al. 2020, equations 6 to 9.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from tests.losses.outputs import PADDING_MASK, REAL, B, outputs
from tests.losses.test_losses import BATCH, run, with_logits

STUDENT = outputs(11, layers=2, width=20, heads=4)
TEACHER = outputs(12, layers=4, width=20, heads=4)
WIDER = outputs(13, layers=4, width=36, heads=6)
FULL = {"padding_mask": np.ones_like(PADDING_MASK)}


def double(array):
    return torch.from_numpy(np.asarray(array, np.float64))


def mean(result):
    return result[0] / result[1]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("restrict_to_mask", [False, True])
def test_distilbert_soft_targets(temperature, restrict_to_mask):
    name = "masked_logits" if restrict_to_mask else "word_logits"
    mask = torch.from_numpy(BATCH["mask_weights"] > 0 if restrict_to_mask else REAL)
    student, teacher = double(STUDENT[name]), double(TEACHER[name])
    mask = mask.unsqueeze(-1).expand_as(student)
    student = torch.masked_select(student, mask).view(-1, student.size(-1))
    teacher = torch.masked_select(teacher, mask).view(-1, teacher.size(-1))
    expected = nn.KLDivLoss(reduction="batchmean")(
        functional.log_softmax(student / temperature, dim=-1),
        functional.softmax(teacher / temperature, dim=-1),
    ) * (temperature**2)
    ours = "masked_soft_targets" if restrict_to_mask else "soft_targets"
    models = [with_logits(x, name) for x in (STUDENT, TEACHER)]
    result = mean(run(ours, *models, temperature=temperature))
    assert result == pytest.approx(float(expected), rel=1e-6)


def test_distilbert_masked_lm():
    labels = torch.where(
        torch.from_numpy(BATCH["mask_weights"] > 0),
        torch.from_numpy(BATCH["mask_labels"].astype("int64")),
        torch.tensor(-100),
    )
    logits = double(STUDENT["masked_logits"])
    expected = nn.CrossEntropyLoss(ignore_index=-100)(logits.view(-1, 31), labels.view(-1))
    assert mean(run("masked_lm", STUDENT, None)) == pytest.approx(float(expected), rel=1e-6)


def test_distilbert_cosine():
    mask = torch.from_numpy(REAL).unsqueeze(-1).expand(-1, -1, 20)
    student, teacher = (
        torch.masked_select(double(x["hidden_states"][-1]), mask).view(-1, 20)
        for x in (STUDENT, TEACHER)
    )
    target = student.new(student.size(0)).fill_(1)
    expected = nn.CosineEmbeddingLoss(reduction="mean")(student, teacher, target)
    result = mean(run("last_hidden_cosine", STUDENT, TEACHER))
    assert result == pytest.approx(float(expected), rel=1e-6)


def test_tinybert_attention_and_hidden_states_without_padding():
    layers_per_block = 2
    picked = [TEACHER["attention_scores"][i * layers_per_block + 1] for i in range(2)]
    attention = 0.0
    for ours, theirs in zip(STUDENT["attention_scores"], picked, strict=True):
        # The mask stands in the scores of both, and is set to 0 in both.
        ours, theirs = (torch.where(x <= -1e2, 0.0, x) for x in (double(ours), double(theirs)))
        attention += nn.MSELoss()(ours[:1], theirs[:1])  # the first row has no padding
    picked = [TEACHER["hidden_states"][i * layers_per_block] for i in range(3)]
    hidden = [
        float(nn.MSELoss()(double(ours)[:1], double(theirs)[:1]))
        for ours, theirs in zip(STUDENT["hidden_states"], picked, strict=True)
    ]
    first = {"padding_mask": PADDING_MASK, "row_weights": np.array([1, 0, 0])}
    result = mean(run("attention_scores_mse", STUDENT, TEACHER, first))
    assert result == pytest.approx(float(attention), rel=1e-6)
    result = mean(run("embedding_layer_mse", STUDENT, TEACHER, first))
    assert result == pytest.approx(hidden[0], rel=1e-6)
    result = mean(run("hidden_states_mse", STUDENT, TEACHER, first))
    assert result == pytest.approx(hidden[1] + hidden[2], rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_tinybert_prediction_but_for_its_division_by_the_classes(temperature):
    student, teacher = (double(x["class_logits"]) / temperature for x in (STUDENT, TEACHER))
    likelihood = functional.log_softmax(student, dim=-1)
    expected = (-functional.softmax(teacher, dim=-1) * likelihood).mean() * student.size(-1)
    models = [with_logits(x, "class_logits") for x in (STUDENT, TEACHER)]
    result = mean(run("soft_cross_entropy", *models, temperature=temperature))
    assert result == pytest.approx(float(expected), rel=1e-6)


def torch_relation(student, teacher, heads):
    """Return 1/(A |x|) of the KL between relations of [B, N, T, H], over real tokens."""
    losses, count = 0.0, 0
    for row in range(B):
        keep = torch.from_numpy(REAL[row])
        logs, probabilities = [], []
        for vectors in (double(student)[row], double(teacher)[row]):
            flat = vectors.permute(1, 0, 2).flatten(1)[keep]  # (tokens, N * H)
            split = flat.view(flat.size(0), heads, -1).permute(1, 0, 2)
            scores = split @ split.transpose(-1, -2) / split.size(-1) ** 0.5
            logs.append(functional.log_softmax(scores, dim=-1))
            probabilities.append(functional.softmax(scores, dim=-1))
        losses += nn.KLDivLoss(reduction="sum")(logs[0], probabilities[1]) / heads
        count += int(keep.sum())
    return float(losses) / count


@pytest.mark.parametrize("name", ["query", "key", "value"])
@pytest.mark.parametrize("heads", [2, 4])
def test_minilm_v2_relations(name, heads):
    expected = torch_relation(STUDENT[name][-1], WIDER[name][-1], heads)
    result = mean(run(f"{name}_relation", STUDENT, WIDER, relation_heads=heads))
    assert result == pytest.approx(expected, rel=2e-6)


def test_minilm_v1_value_relation_and_attention():
    expected = torch_relation(STUDENT["value"][-1], TEACHER["value"][-1], 4)
    assert mean(run("value_relation", STUDENT, TEACHER)) == pytest.approx(expected, rel=2e-6)
    losses, count = 0.0, 0
    for row in range(B):
        keep = REAL[row]
        student, teacher = (
            double(x["attention_scores"][-1][row][:, keep][:, :, keep]) for x in (STUDENT, TEACHER)
        )
        losses += nn.KLDivLoss(reduction="sum")(
            functional.log_softmax(student, dim=-1), functional.softmax(teacher, dim=-1)
        )
        count += int(keep.sum())
    result = mean(run("attention_relation", STUDENT, TEACHER))
    assert result == pytest.approx(float(losses) / 4 / count, rel=2e-6)


def test_sentence_mse_is_sentence_transformers():
    expected = nn.MSELoss()(double(STUDENT["embedding"]), double(TEACHER["embedding"]))
    assert mean(run("sentence_mse", STUDENT, TEACHER)) == pytest.approx(float(expected), rel=1e-6)


def test_multi_label_and_regression():
    logits, labels = double(STUDENT["class_logits"]), torch.eye(5, dtype=torch.float64)[:B]
    expected = nn.BCEWithLogitsLoss()(logits, labels)
    batch = {**FULL, "labels": labels.numpy().astype("int32")}
    result = mean(run("multi_label", with_logits(STUDENT, "class_logits"), None, batch))
    assert result == pytest.approx(float(expected), rel=1e-6)
    labels = np.array([0.5, -1.0, 2.0], "float32")
    expected = nn.MSELoss()(logits[:, 0], double(labels))
    one = {"logits": STUDENT["class_logits"][:, :1]}
    result = mean(run("regression", one, None, {**FULL, "labels": labels}))
    assert result == pytest.approx(float(expected), rel=1e-6)
