"""Ranking on several devices: the texts of the whole batch are what does not belong."""

import json
import os
import pathlib
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_two_replicas_rank_among_the_texts_of_both_as_one_does(tmp_path):
    # In a process of its own: the processor is split before TensorFlow computes anything.
    script = pathlib.Path(__file__).with_name("two_replica_ranking.py")
    top = str(pathlib.Path(__file__).resolve().parents[2])
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": top, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["two"] == pytest.approx(found["one"], rel=1e-6)
    # Adam divides noise by noise where a gradient is zero, as that of a key's bias is.
    assert found["weights"] < 1e-3
    # Without Adam, and with an odd number of groups, so that a replica gets none of a batch.
    assert found["fit_weights"] < 5e-6
    assert found["fit_two"] == pytest.approx(found["fit_one"], rel=1e-5)
    # Fewer candidates are easier to tell apart.
    assert max(found["local"]) < 0.7 * found["one"][0]
