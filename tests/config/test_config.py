"""Settings: what comes later wins, nothing is dropped silently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.config import INCIDENTAL, RunConfig, dump, load
from reflectory.errors import ConfigError


def test_defaults_limit_steps():
    assert load().budget.steps == 50
    assert load() == RunConfig()


def test_later_wins_file_then_overrides(tmp_path):
    file = tmp_path / "base.yaml"
    file.write_text("seed: 3\nsolver: {temperature: 0.2, max_tokens: 9}\nbudget: {tokens: 100}\n")
    config = load(file, ["solver.temperature=0.7", "seed=4", "seed=5"])
    assert (config.seed, config.solver.temperature, config.solver.max_tokens) == (5, 0.7, 9)
    # A part given does not undo the defaults of the rest of that part.
    assert (config.budget.steps, config.budget.tokens) == (50, 100)


def test_values_are_yaml():
    config = load({}, ["budget.steps=null", "namespace=[a, b]", "scope=house", "out=~"])
    assert config.budget.steps is None
    assert config.namespace == ("a", "b")
    assert config.scope == "house"


@pytest.mark.parametrize(
    ("data", "overrides", "says"),
    [
        ({"sede": 1}, [], "Did you mean seed"),
        ({"solver": {"temprature": 1}}, [], "Did you mean temperature"),
        ({}, ["budget.step=1"], "Did you mean steps"),
        ({}, ["seed"], "key=value"),
        ({}, ["=1"], "key=value"),
        ({}, ["seed.deeper=1"], "seed"),
        ({}, ["seed=1", "seed.deeper=1"], "single value"),
        ({}, ["seed=one"], "seed"),
        ({}, ["trials=0"], "trials"),
        ({}, ["scope=street"], "scope"),
        ({}, ["seed=[1"], "not YAML"),
    ],
)
def test_what_does_not_fit_is_refused(data, overrides, says):
    with pytest.raises(ConfigError, match=says):
        load(data, overrides)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\xff"])
def test_files_that_are_no_settings(tmp_path, content):
    file = tmp_path / "x.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        load(file)
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "absent.yaml")


@given(
    seed=st.integers(-(2**31), 2**31),
    trials=st.integers(1, 99),
    temperature=st.floats(0, 10),
    namespace=st.lists(st.text(max_size=9), max_size=3),
    steps=st.none() | st.integers(1, 9),
)
def test_yaml_round_trip(tmp_path_factory, seed, trials, temperature, namespace, steps):
    config = load(
        {"seed": seed, "trials": trials, "solver": {"temperature": temperature}, "namespace": namespace, "budget": {"steps": steps}}
    )
    file = tmp_path_factory.mktemp("c") / "config.yaml"
    file.write_text(dump(config), encoding="utf-8")
    assert load(file) == config
    assert load(file).digest() == config.digest()


def test_speed_and_place_do_not_change_the_digest():
    for key, value in {"concurrency": 3, "workers": 4, "out": "elsewhere"}.items():
        assert key in INCIDENTAL
        assert load({key: value}).digest() == load().digest()
    assert load({"seed": 1}).digest() != load().digest()
