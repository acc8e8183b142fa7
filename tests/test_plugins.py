"""Names of things of one's own: registered, by path, by module, by entry points; and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from capwright import plugins
from capwright.plugins import KINDS, knows, load, names, provided_by, register, resolve
from capwright.types import PluginError, ScorerError


@pytest.fixture
def write(tmp_path):
    """write("own.py", text) -> path."""

    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def source(kind, name, value):
    return f"""from capwright.plugins import register

@register({kind!r}, {name!r})
def thing():
    return {value!r}
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package("dist", {"scorer.x": "module:Name"}, module="...") installs a distribution."""

    def install(dist, entries, **modules):
        site = tmp_path / dist
        info = site / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[capwright.plugins]", *lines]) + "\n")
        for module, text in modules.items():
            (site / f"{module}.py").write_text(text)
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(site)
        plugins.forget()

    return install


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_by_every_way(kind, write, package, monkeypatch):
    path = write("own.py", source(kind, "by-name", 1) + "class Other:\n    inner = 2\n")
    module = f"{kind}_things"
    package("far", {f"{kind}.installed": f"{module}:Far"}, **{module: "class Far: value = 3\nhere = 4\n"})
    plugin = load(path)
    assert resolve(kind, "by-name")() == 1
    assert resolve(kind, f"{path}:Other.inner") == 2
    assert resolve(kind, "installed").value == 3
    assert resolve(kind, f"{kind}_things:here") == 4
    assert resolve(kind, "built", {"built": 5}) == 5
    assert resolve(kind, "join", {"join": "os.path:join"})("a", "b") == "a/b"
    assert provided_by(plugin) == {(kind, "by-name")}
    assert names(kind, ["built"]) == ("built", "by-name", "installed")
    monkeypatch.chdir(path.parent)
    assert resolve(kind, "own.py:Other") is plugin.module.Other
    others = [other for other in KINDS if other != kind]
    for other in others:  # a name is of one kind
        with pytest.raises(PluginError, match=f"there is no {other} 'by-name'"):
            resolve(other, "by-name")


def test_unknown_names_name_the_nearest():
    with pytest.raises(ScorerError, match=r"there is no scorer 'blue'; did you mean 'bleu'\? \(scorers: bleu, cider\)"):
        resolve("scorer", "blue", {"bleu": 1, "cider": 2}, ScorerError)
    with pytest.raises(PluginError, match=r"there is no step 'x' \(steps: none\)"):
        resolve("step", "x")
    with pytest.raises(PluginError, match=r"no kind of plugin 'metric' \(kinds: scorer, captioner"):
        register("metric", "x")
    for name in ("", "a b", "a.b", "a:b", "a,b", "-a"):
        with pytest.raises(PluginError, match="is no name for a scorer"):
            register("scorer", name)


def test_taken_names_are_refused(write):
    first, second = write("a.py", source("scorer", "mine", 1)), write("b.py", source("scorer", "mine", 2))
    load(first)
    with pytest.raises(PluginError, match=rf"mine: {second} has a scorer of this name, and so has {first}"):
        load(second)
    assert resolve("scorer", "mine")() == 1, "what was refused leaves nothing behind"
    with pytest.raises(ScorerError, match=rf"mine: a scorer with this name exists \(built in\); the one of {first}"):
        resolve("scorer", "other", {"mine": 1, "other": 2}, ScorerError)
    load(write("c.py", source("step", "mine", 3)))  # of another kind
    assert resolve("step", "mine")() == 3


def test_a_file_is_executed_once_whatever_its_path(write):
    text = source("scorer", "mine", 1)
    first, copy = load(write("a.py", text)), load(write("b.py", text))
    assert first is copy
    assert plugins.loaded(first.sha256) is first
    assert first.sha256 == plugins.digest(first.path)
    thing = pickle.loads(pickle.dumps(resolve("scorer", "mine")))
    assert thing() == 1


def test_a_cell_that_is_run_again_takes_the_place_of_the_first():
    for value in (1, 2):
        space = {"__name__": "notebook"}
        exec(source("scorer", "mine", value), space)
    assert resolve("scorer", "mine")() == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\ny = z\n", r"NameError: name 'z' is not defined \(own.py, line 2\)"),
        ("\ndef broken(:\n", r"SyntaxError: .* \(own.py, line 2\)"),
        ("import sys\n\n\nsys.exit(3)\n", r"SystemExit: 3 \(own.py, line 4\)"),
        ("import no_such_module\n", r"No module named 'no_such_module' \(own.py, line 1\)"),
        (source("scorer", "early", 1) + "raise ValueError('no')\n", r"ValueError: no \(own.py, line 6\)"),
    ],
)
def test_a_file_that_cannot_be_loaded(text, why, write):
    path = write("own.py", text)
    with pytest.raises(PluginError, match=rf"the plugin {path} cannot be loaded: .*{why}"):
        load(path)
    assert not plugins._registered
    assert not [name for name in sys.modules if name.startswith("plugin_own")]


def test_files_that_are_no_plugins(tmp_path, write):
    with pytest.raises(PluginError, match=r"gone.py: the plugin cannot be read \(no such file or directory\)"):
        load(tmp_path / "gone.py")
    with pytest.raises(PluginError, match=r"notes.txt: a plugin is a Python file; name one that ends in .py"):
        load(write("notes.txt", ""))


def test_a_file_with_another_digest_is_not_executed(write, tmp_path):
    path = write("own.py", f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    with pytest.raises(PluginError, match=r"own.py: the plugin has changed \(abcdef01 -> .*\) and is not exec"):
        load(path, "abcdef0123")
    assert not (tmp_path / "executed").exists()


def test_a_change_within_a_second_is_seen(write):
    """What is executed are the bytes of the file, not what Python compiled of an older file of the same size."""
    assert resolve("scorer", f"{write('own.py', 'value = 1')}:value") == 1
    assert resolve("scorer", f"{write('own.py', 'value = 2')}:value") == 1, "a process keeps what it has loaded"
    plugins.forget()
    assert resolve("scorer", f"{write('own.py', 'value = 3')}:value") == 3


def test_references_that_lead_nowhere(write):
    path = write("own.py", "def reward(): ...\n")
    with pytest.raises(ScorerError, match=r"the scorer .*own.py:rewards cannot be had: .*no attribute 'rewards'"):
        resolve("scorer", f"{path}:rewards", error=ScorerError)
    with pytest.raises(ScorerError, match=r"which one of this file\? own\.py:NAME"):
        resolve("scorer", "own.py", error=ScorerError)
    with pytest.raises(ScorerError, match=r"the scorer no_such:x cannot be had: ModuleNotFoundError: .*'no_such'$"):
        resolve("scorer", "no_such:x", error=ScorerError)


def test_broken_packages_are_named_and_break_nothing_else(package):
    entries = {"scorer.bad": "bad_module:Thing", "scorer.good": "good_module:thing", "nonsense": "bad_module:Thing"}
    package("bad-plugins", entries, bad_module="import nothing_of_this_name\n", good_module="thing = 1\n")
    assert resolve("scorer", "good") == 1
    assert resolve("scorer", "built", {"built": 2}) == 2
    assert names("scorer") == ("bad", "good")
    assert knows("scorer", "bad")
    assert not knows("scorer", "worse")
    assert "bad_module" not in sys.modules
    why = "the scorer of the installed package bad-plugins cannot be loaded"
    with pytest.raises(ScorerError, match=rf"bad: {why}: .*nothing_of_this_name.*\(bad_module.py, line 1\)"):
        resolve("scorer", "bad", error=ScorerError)


def test_two_packages_with_one_name(package):
    package("one", {"scorer.x": "module_one:x"}, module_one="x = 1\n")
    package("two", {"scorer.x": "module_two:x"}, module_two="x = 2\n")
    with pytest.raises(PluginError, match="x: one and two both have a scorer of this name; remove one of them"):
        resolve("scorer", "x")


def test_knowing_plugins_costs_nothing():
    heavy = ("numpy", "torch", "importlib.metadata")
    code = f"import sys, capwright.plugins; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
