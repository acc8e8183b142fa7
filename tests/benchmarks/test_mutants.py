"""The list of one-line bugs fits the source, and the runner tells caught from survived without touching the tree."""

from __future__ import annotations

import pytest

import mutants as bench


def test_every_bug_fits_the_source():
    bugs = bench.read_bugs()
    assert len(bugs) >= 60
    assert bench.misfits(bugs) == []
    assert len(set(map(str, bugs))) == len(bugs)
    for bug in bugs:
        source = (bench.ROOT / "src" / "capwright" / bug.file).read_text(encoding="utf-8")
        compile(source.replace(bug.old, bug.new), bug.file, "exec")
        assert bug.old != bug.new


@pytest.mark.parametrize(
    "text",
    ["== a.py: t.py\nwhat\n+ new\n", "== a.py: t.py\n- old\n", "== a.py: t.py\nwhat\nagain\n", "== a.py\nwhat\n- o\n"],
)
def test_a_list_that_is_not_of_its_form_is_refused(tmp_path, text):
    (tmp_path / "bugs.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"bugs\.txt: line \d is out of place"):
        bench.read_bugs(tmp_path / "bugs.txt")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small tree: a file that is tested in part, and one that is not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts faster
    for name, text in {
        "src/capwright/__init__.py": "",
        "src/capwright/adding.py": "def add(a, b):\n    return a + b\n\n\ndef half(a):\n    return a / 2\n",
        "src/capwright/other.py": "NUMBER = 1\n",
        "tests/test_adding.py": "from capwright.adding import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n",
    }.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"


def test_a_bug_is_caught_or_survives_and_the_tree_stays_as_it_is(project, capsys):
    bugs = [
        bench.Bug("adding.py", ("test_adding.py",), "minus", "a + b", "a - b"),
        bench.Bug("adding.py", ("test_adding.py",), "a third", "a / 2", "a / 3"),
    ]
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    bugs.append(bench.Bug("other.py", ("test_adding.py",), "two", "1", "2"))
    first, second, third = bench.hunt(bugs, project, jobs=2)
    assert (first["result"], first["by"]) == ("caught", "test_adding.py::test_add")
    assert (second["result"], second["by"]) == ("survived", None)
    assert (third["result"], third["by"]) == ("error", "the tests do not import other.py")
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    assert "survived  adding.py: a third" in capsys.readouterr().out


def test_a_file_is_made_in_parts(project, tmp_path):
    bugs = [
        bench.Bug("adding.py", ("test_adding.py",), what, "a + b", new)
        for what, new in [("minus", "a - b"), ("a", "a")]
    ]
    path = tmp_path / "results.json"
    first, second = bench.hunt(bugs, project)
    bench.keep(path, [second], bugs)
    bench.keep(path, [first], bugs)
    found = bench.read_results(path)
    assert [row["bug"] for row in found["rows"]] == ["minus", "a"]
    assert (found["bugs"], found["caught"]) == (2, 2)
    bench.keep(path, [], bugs[:1])  # the other one has left the list
    assert bench.read_results(path)["bugs"] == 1


def test_what_says_nothing_about_a_bug_is_refused(project, tmp_path):
    def bug(**changed):
        given = {"file": "adding.py", "tests": ("test_adding.py",), "what": "x", "old": "a + b", "new": "a - b"}
        return bench.Bug(**given | changed)

    with pytest.raises(RuntimeError, match=r"the list does not fit(.|\n)*'a \* b' is there 0 times, not once"):
        bench.hunt([bug(old="a * b")], project)
    with pytest.raises(RuntimeError, match="'return a' is there 2 times"):
        bench.hunt([bug(old="return a")], project)
    with pytest.raises(RuntimeError, match="no tests/test_gone.py"):
        bench.hunt([bug(tests=("test_gone.py",))], project)
    copy = bench.Copy(tmp_path / "copy", project)
    with pytest.raises(RuntimeError, match="the tests do not import other.py"):
        copy.result(bug(file="other.py", old="1", new="2"))
    with pytest.raises(RuntimeError, match="pytest gave up"):  # a bug that nobody could overlook
        copy.result(bug(new="a +"))
    assert copy.result(bug()) == ("caught", "test_adding.py::test_add")
    (project / "tests" / "test_adding.py").write_text("def test_nothing():\n    assert False\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="a test fails without any bug: test_adding.py::test_nothing"):
        bench.hunt([bug()], project)


def test_another_installation_is_not_taken_for_the_copy(project, tmp_path):
    copy = bench.Copy(tmp_path / "copy", project)
    (copy.folder / "src").rename(tmp_path / "elsewhere")
    (copy.folder / "tests" / "conftest.py").write_text(
        f"import sys\n\nsys.path.insert(0, {str(tmp_path / 'elsewhere')!r})\n", encoding="utf-8"
    )
    with pytest.raises(RuntimeError, match="another capwright was tested: .*elsewhere"):
        copy.test(["test_adding.py"])
