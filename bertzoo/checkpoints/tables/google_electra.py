"""Google's original ELECTRA checkpoints (Clark et al. 2020): two encoders in one file.

The generator has layers of its own under `generator/` and, unless it was trained untied, the
embedding tables of the discriminator, which lie under `electra/`.
"""

import dataclasses

from bertzoo.checkpoints.configs import HF_ACTIVATIONS, ConfigMap
from bertzoo.checkpoints.heads import HeadRule
from bertzoo.checkpoints.table import Row, Table, dense, norm
from bertzoo.checkpoints.tables import google_bert
from bertzoo.checkpoints.tables.google_bert import NAMES, NORM


def _encoder(scope: str, embeddings: str) -> tuple[Row, ...]:
    return (
        *(
            dataclasses.replace(row, theirs=row.theirs.replace("bert/", f"{embeddings}/", 1))
            for row in google_bert.EMBEDDINGS
        ),
        *dense(f"{scope}/embeddings_project", "embeddings/projection", **NAMES),
        *(
            dataclasses.replace(row, theirs=row.theirs.replace("bert/", f"{scope}/", 1))
            for row in google_bert.TABLE.rows
            if row.theirs.startswith("bert/encoder/")
        ),
    )


GENERATOR_HEAD = (
    *dense("generator_predictions/dense", "masked_lm/dense", **NAMES),
    *norm("generator_predictions/LayerNorm", "masked_lm/norm", **NORM),
    Row("generator_predictions/output_bias", "masked_lm/bias"),
)

TABLE = Table(
    rows=(
        *_encoder("electra", "electra"),
        *dense("discriminator_predictions/dense", "discriminator/hidden", **NAMES),
        *dense("discriminator_predictions/dense_1", "discriminator/logits", **NAMES),
    ),
    ignored=(*google_bert.TRAINING, r"generator/.*", r"generator_predictions/.*"),
)
GENERATOR = Table(
    rows=(*_encoder("generator", "electra"), *GENERATOR_HEAD),
    # The discriminator's own layers.
    ignored=(
        *google_bert.TRAINING,
        r"electra/(encoder|embeddings_project)/.*",
        r"discriminator_predictions/.*",
    ),
)
UNTIED_GENERATOR = dataclasses.replace(
    GENERATOR,
    rows=(*_encoder("generator", "generator"), *GENERATOR_HEAD),
    ignored=(*google_bert.TRAINING, r"electra/.*", r"discriminator_predictions/.*"),
)

CONFIG = ConfigMap(
    format="google_electra",
    model_type=None,
    keys={**google_bert.KEYS, "embedding_size": "embedding_dim"},
    # ELECTRA's own "gelu" is erf (model/modeling.py).
    activations=HF_ACTIVATIONS,
    projection="where_widths_differ",
)

HEADS = (
    HeadRule(
        kind="discriminator",
        evidence="discriminator_predictions/dense/kernel",
        activation="config",
        dropout=0.0,
    ),
)
GENERATOR_HEADS = (HeadRule(kind="masked_lm", evidence="generator_predictions/dense/kernel"),)
