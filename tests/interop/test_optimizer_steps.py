"""Twenty steps of masked language modelling beside transformers and torch's AdamW."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo import checkpoints
from bertzoo.models.networks import network_from_preset
from bertzoo.optimizers import AdamW, WarmupPolynomial

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

STEPS, PEAK = 20, 3.0e-3


def batches():
    random = np.random.default_rng(7)
    for _ in range(STEPS):
        token_ids = random.integers(5, 86, (4, 12))
        positions = np.stack([random.choice(12, 3, replace=False) for _ in range(4)])
        labels = random.integers(5, 86, (4, 3))
        yield token_ids.astype("int32"), positions.astype("int32"), labels.astype("int32")


def our_losses(network):
    schedule = WarmupPolynomial(PEAK, steps=STEPS, warmup_steps=4, restarted=True)
    optimizer = AdamW(schedule, weight_decay=0.1, epsilon=1e-6)
    variables = [v for v in network.trainable_variables if not v.path.startswith("pooler")]
    losses = []
    for token_ids, positions, labels in batches():
        with tf.GradientTape() as tape:
            logits = network({"token_ids": token_ids, "mask_positions": positions}, training=False)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            )
        gradients = tape.gradient(loss, [v.value for v in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        optimizer.apply(gradients, variables)
        losses.append(float(loss))
    return losses


def their_losses(directory):
    model = transformers.BertForMaskedLM.from_pretrained(directory).eval()
    groups = [{"params": [], "weight_decay": decay} for decay in (0.1, 0.0)]
    for name, parameter in model.named_parameters():
        excluded = name.endswith("bias") or "LayerNorm" in name
        groups[excluded]["params"].append(parameter)
    optimizer = torch.optim.AdamW(groups, lr=PEAK, eps=1e-6)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 4, STEPS)
    losses = []
    for token_ids, positions, labels in batches():
        targets = torch.full(token_ids.shape, -100)
        rows = torch.arange(4)[:, None]
        targets[rows, torch.tensor(positions).long()] = torch.tensor(labels).long()
        loss = model(torch.tensor(token_ids).long(), labels=targets).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
    return losses


def test_twenty_steps_follow_transformers_and_torch(tmp_path):
    network, _ = network_from_preset("bert_toy", "masked_lm")
    checkpoints.export_checkpoint(
        "bert_toy", tmp_path / "hf", format="hf_bert", heads=["masked_lm"]
    )
    theirs, ours = their_losses(tmp_path / "hf"), our_losses(network)
    assert ours[-1] < ours[0] - 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
