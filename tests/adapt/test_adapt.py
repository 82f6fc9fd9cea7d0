"""The names of `bertzoo.adapt`: there without an import of their own, and documented."""

import inspect
import subprocess
import sys

import pytest

import bertzoo


def test_the_part_is_reached_by_its_name_and_loads_nothing_before():
    code = (
        "import sys, bertzoo; assert 'adapt' in dir(bertzoo); "
        "assert 'tensorflow' not in sys.modules; bertzoo.adapt.add_tokens; "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("name", sorted(bertzoo.adapt.__all__))
def test_every_name_says_what_it_takes_and_gives(name):
    value = getattr(bertzoo.adapt, name)
    text = inspect.getdoc(value)
    if inspect.isclass(value):
        assert all(f"{field}:" in text for field in value._fields)
        return
    for argument in inspect.signature(value).parameters:
        assert f"{argument}:" in text, argument
    assert "Returns:" in text
    assert "Raises:" in text
