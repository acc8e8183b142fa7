from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

import fake_java
from capwright.text.java import locate, process, ptb
from capwright.text.java.locate import find_jar, find_java, require
from capwright.text.tokenizers import collapse
from capwright.types import NotInstalledError, ScorerError


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A machine without Java, jars and pycocoevalcap."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("CAPWRIGHT_JARS", raising=False)
    monkeypatch.setattr(locate.importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("version", "major"), [("1.8.0_392", 8), ("11.0.2", 11), ("17.0.15", 17), ("25", 25), ("9-ea", 9)]
)
def test_versions(tmp_path, monkeypatch, version, major):
    fake_java.install(tmp_path, monkeypatch, version=version)
    java = find_java()
    assert (java.version, java.major, java.path) == (version, major, tmp_path / "the programs" / "java")


def test_java_home_comes_first_and_one_that_does_not_run_is_none(tmp_path, monkeypatch):
    fake_java.install(tmp_path / "a", monkeypatch, version="11.0.1")
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'No Java runtime present' >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java().major == 11
    java.unlink()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21\"' >&2\n")
    java.chmod(0o755)
    locate._java_at.cache_clear()
    assert find_java().major == 21


def test_jars_of_an_installed_pycocoevalcap_are_found_without_importing_it(nothing, tmp_path, monkeypatch):
    package = tmp_path / "site" / "pycocoevalcap"
    for name, folder in locate._SUBFOLDERS.items():
        (package / folder).mkdir(parents=True)
        (package / folder / name).write_text("")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.undo()
    monkeypatch.delenv("CAPWRIGHT_JARS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert find_jar("meteor-1.5.jar") == package / "meteor" / "meteor-1.5.jar"
    assert find_jar("stanford-corenlp-3.4.1.jar") == package / "tokenizer" / "stanford-corenlp-3.4.1.jar"
    own = tmp_path / "own"
    own.mkdir()
    (own / "meteor-1.5.jar").write_text("")
    monkeypatch.setenv("CAPWRIGHT_JARS", str(own))
    assert find_jar("meteor-1.5.jar") == own / "meteor-1.5.jar"
    assert find_jar("spice-1.0.jar") == package / "spice" / "spice-1.0.jar"


def test_everything_that_is_missing_is_named(nothing, tmp_path, monkeypatch):
    install = r"\(pip install 'capwright\[java\]', or name the folder that has it in CAPWRIGHT_JARS\)"
    java = r"no Java that runs \(install a Java runtime, version 8 or newer.*JAVA_HOME\)"
    with pytest.raises(NotInstalledError, match=rf"^meteor: not installed: {java}; no meteor-1\.5\.jar {install}$"):
        require("meteor", "en")
    with pytest.raises(NotInstalledError, match=rf"^ptb-java: not installed: {java}; no stanford-corenlp-3\.4\.1\.jar"):
        require("ptb-java")
    fake_java.install(tmp_path / "x", monkeypatch)
    jars = tmp_path / "x" / "the jars"
    assert require("meteor", "en")[1] == jars / "meteor-1.5.jar"
    assert require("spice")[1] == jars / "spice-1.0.jar"
    with pytest.raises(NotInstalledError, match=r"^meteor: not installed: no paraphrase-fr\.gz in .*the jars/data$"):
        require("meteor", "fr")
    (jars / "lib" / "stanford-corenlp-3.6.0-models.jar").unlink()
    with pytest.raises(NotInstalledError, match=r"no stanford-corenlp-3\.6\.0-models\.jar in .*lib \(download CoreNLP"):
        require("spice")
    (jars / "stanford-corenlp-3.4.1.jar").unlink()
    with pytest.raises(NotInstalledError, match=r"3\.4\.1\.jar in .*the jars or pycocoevalcap \(pip"):
        require("ptb-java")


# the tokenizer --------------------------------------------------------------------------------------------------------


def test_one_run_cuts_many_texts(tmp_path, monkeypatch):
    log = fake_java.install(tmp_path / "with space", monkeypatch)
    texts = ["A cat, (sits).", "", "...", "Café au lait!", "\ud800"]
    assert ptb.tokenize(texts) == [["a", "cat", "-lrb-", "sits", ")"], [], [], ["café", "au", "lait"], []]
    assert ptb.tokenize([]) == []
    assert fake_java.starts(log) == ["ptb"]


def test_lines_that_run_together_move_no_other_text(tmp_path, monkeypatch):
    fake_java.install(tmp_path, monkeypatch)
    texts = [f"word{n}" for n in range(9)]
    texts[4] = "is joined to the next"
    assert ptb.tokenize(texts) == [text.split() for text in texts]
    texts[4] = "has an extraline"
    with pytest.raises(ScorerError, match="^ptb-java: made 2 lines of one text: 'has an extraline'"):
        ptb.tokenize(texts)
    for end in "\n\r\v\f\x1c\x85\u2028\u2029":
        with pytest.raises(ScorerError, match="would mix up captions"):
            ptb.tokenize(["fine", f"a{end}b"])
        assert ptb.tokenize([collapse(f"a{end}b")]) == [["a", "b"]]


def test_a_tokenizer_that_breaks_or_hangs(tmp_path, monkeypatch):
    fake_java.install(tmp_path, monkeypatch)
    with pytest.raises(ScorerError, match="^ptb-java: java ended with exit status 3; it said: java.lang"):
        ptb.tokenize(["a", "crash"])
    monkeypatch.setattr(ptb, "_START", 0.5)
    with pytest.raises(process.JavaTimeoutError, match="^ptb-java: java did not end in 0.55 s and was stopped"):
        ptb.tokenize(["hang"])


# processes ------------------------------------------------------------------------------------------------------------


def test_a_launcher_that_hands_over_to_a_child_dies_with_it(tmp_path):
    launcher = tmp_path / "java"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" -c "import time; time.sleep(60)" &\necho $! > pid\nwait\n')
    launcher.chmod(0o755)
    with pytest.raises(process.JavaTimeoutError):
        process.run_once("x", [str(launcher)], tmp_path, 1.0)
    pid = (tmp_path / "pid").read_text().strip()
    for _ in range(100):
        state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
        if not state or state.startswith("Z"):
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} still runs: {state}")


def test_a_program_that_reads_nothing_can_not_hold_us(monkeypatch):
    monkeypatch.setattr(process, "_START", 0.3)
    deaf = process.Conversation("x", [sys.executable, "-c", "import time; time.sleep(60)"], {})
    began = threading.active_count()
    with pytest.raises(process.JavaTimeoutError, match=r"^x: python.* gave no answer in 0\.5 s"):
        deaf.ask("y" * 1_000_000, 0.2)
    with pytest.raises(ScorerError, match="a line end"):
        deaf.ask("a\nb", 1)
    deaf.close()
    assert threading.active_count() <= began + 1


def test_a_program_that_can_not_be_started(tmp_path):
    with pytest.raises(ScorerError, match="^x: .*no-such cannot be started"):
        process.Conversation("x", [str(tmp_path / "no-such")], {}).ask("a", 1)
