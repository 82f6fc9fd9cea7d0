"""Scores of a ranking of documents: nDCG, MRR, recall and MAP as trec_eval and BEIR have them."""

import numpy as np

# Q queries  N documents


def retrieval(scores, relevant, ks=(1, 10)):
    """Score rankings of documents by queries.

    Args:
        scores: `[Q, N]`: how well each document fits each query; equal scores rank in the order
            of the documents.
        relevant: For each query the numbers of its documents, or a dict {number: gain} for graded
            ones. Every query needs at least one.
        ks: For `ndcg@k`, `mrr@k`, `recall@k` and `map@k`.

    Returns:
        A dict of means over the queries. nDCG has the gain itself over log2(rank + 1), in relation
        to the best order; MRR the reciprocal rank of the first relevant document; recall the part
        of the relevant documents among the first k; MAP the precision at each relevant document,
        divided by how many there are (at most k).

    Raises:
        ValueError: For a query without a relevant document, or one that does not exist.

    Example:
    >>> result = retrieval([[0.9, 0.8, 0.1]], [[1]], ks=(2,))
    >>> result["mrr@2"], result["recall@2"], round(result["ndcg@2"], 4)
    (0.5, 1.0, 0.6309)
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or len(scores) != len(relevant) or len(scores) == 0:
        raise ValueError(
            "expected scores [queries, documents] and the relevant documents of as many queries; "
            f"got {list(scores.shape)} and {len(relevant)}."
        )
    if not np.isfinite(scores).all():
        raise ValueError("a score of a document is not a finite number.")
    gains = np.zeros(scores.shape)
    for query, documents in enumerate(relevant):
        for document in documents:
            if not 0 <= document < scores.shape[1]:
                raise ValueError(
                    f"query {query} names document {document}; there are {scores.shape[1]}."
                )
            gains[query, document] = documents[document] if hasattr(documents, "keys") else 1.0
    if not (gains > 0).any(axis=1).all():
        query = int(np.argmin((gains > 0).any(axis=1)))
        raise ValueError(f"query {query} has no relevant document.")
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(gains, order, axis=1)
    best = -np.sort(-gains, axis=1)
    result = {}
    for k in ks:
        result[f"ndcg@{k}"] = float(np.mean(_dcg(ranked[:, :k]) / _dcg(best[:, :k])))
        result[f"mrr@{k}"] = float(np.mean(_reciprocal_rank(ranked[:, :k] > 0)))
        found = (ranked[:, :k] > 0).sum(axis=1)
        result[f"recall@{k}"] = float(np.mean(found / (gains > 0).sum(axis=1)))
        wanted = np.minimum((gains > 0).sum(axis=1), k)
        result[f"map@{k}"] = float(np.mean(_precisions(ranked[:, :k] > 0) / wanted))
    return result


def _dcg(gains):
    return (gains / np.log2(np.arange(2, gains.shape[1] + 2))).sum(axis=1)


def _reciprocal_rank(hits):
    return np.where(hits.any(axis=1), 1.0 / (np.argmax(hits, axis=1) + 1), 0.0)


def _precisions(hits):
    return (np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1) * hits).sum(axis=1)
