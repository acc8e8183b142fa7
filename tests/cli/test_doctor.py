"""What `capwright doctor` says of Java."""

from __future__ import annotations

import pytest

import fake_java
from capwright.text.java import process


@pytest.fixture(autouse=True)
def no_program_stays():
    yield
    process.close_all()


def lines(said):
    """{first word: line} of what follows "java: "."""
    assert said.code == 0, said.err
    found = said.out.splitlines()
    start = next(n for n, line in enumerate(found) if line.startswith("java: "))
    return {line.split(":")[0].strip(): line for line in found[start : start + 5]}


def test_doctor_without_java(cli, tmp_path, monkeypatch):
    fake_java.install(tmp_path, monkeypatch, jars=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CAPWRIGHT_CACHE", "off")
    said = lines(cli("doctor"))
    assert said["java"] == "java: none that runs, on PATH or in JAVA_HOME"
    for name in ("meteor", "spice", "ptb-java"):
        assert said[name].startswith(f"  {name}: not installed: no Java that runs (install a Java runtime")
        assert "pip install 'capwright[java]'" in said[name]
    assert said["kept statistics"].endswith(": off")


def test_doctor_tries_what_is_there(cli, tmp_path, monkeypatch):
    fake_java.install(tmp_path, monkeypatch, version="17.0.9")
    jars = tmp_path / "the jars"
    said = lines(cli("doctor"))
    assert said["java"] == f"java: 17.0.9 in {tmp_path / 'the programs' / 'java'}"
    assert said["meteor"] == f"  meteor: works, {jars / 'meteor-1.5.jar'}"
    assert "started with --add-opens" in said["spice"]
    # The stand-in does not know that a possessive stays whole, and that is noticed.
    assert said["ptb-java"].startswith("  ptb-java: does not work: it gave [['the', 'child', 's', 'geoboard']], ")
    assert said["kept statistics"].endswith(str(tmp_path / "cache"))


def test_doctor_says_what_java_says_when_it_breaks(cli, tmp_path, monkeypatch):
    fake_java.install(tmp_path, monkeypatch)
    java = tmp_path / "the programs" / "java"
    java.write_text(
        "#!/bin/sh\n"
        '[ "$*" = -version ] && echo \'openjdk version "17"\' >&2 && exit\n'
        "echo 'Could not reserve space' >&2; exit 1\n"
    )
    said = lines(cli("doctor"))
    for name in ("meteor", "ptb-java"):
        assert said[name].endswith("java ended with exit status 1; it said: Could not reserve space")
