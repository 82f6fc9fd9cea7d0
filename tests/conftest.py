"""What all tests share: quiet TensorFlow, and `from tests.reference import ...`."""

import gc
import os
import pathlib
import sys

import pytest

# Before anything imports TensorFlow: its start-up notes are not about our code.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# No test asks a hub for anything; those of the hub have one on this machine and say so.
os.environ["BERTZOO_OFFLINE"] = "1"

# The repository's top level, first: another `tests` may be installed.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_behind():
    """Let go of a file's models, and keep what stays out of the garbage collector's sight.

    Keras collects garbage when it builds and quantizes: the slower the more objects there are, and
    TensorFlow alone has hundreds of thousands.
    """
    gc.freeze()
    yield
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.backend.clear_session()
    gc.collect()
