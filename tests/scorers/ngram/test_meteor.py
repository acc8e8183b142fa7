from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fake_java
from capwright.scorers import Corpus, Item, RewardView, get_scorer
from capwright.scorers.base import explain
from capwright.scorers.ngram.meteor import LANGUAGES, METEOR, without_whole_chunks
from capwright.text.java import process
from capwright.types import NO_IMAGE, Caption, DataError, NotInstalledError, Sample, ScorerError
from places import CAPTIONS


@pytest.fixture
def java(tmp_path, monkeypatch):
    log = fake_java.install(tmp_path / "a folder", monkeypatch)
    monkeypatch.setattr(process, "_START", 30.0)
    yield log
    process.close_all()


def read(name):
    return json.loads(gzip.decompress((CAPTIONS / f"{name}.json.gz").read_bytes()))


def sample(*references, id="a"):
    return Sample(id, NO_IMAGE, references)


def measure(scorer, *pairs):
    """Statistics of (caption, references) pairs."""
    items = [Item(sample(*references, id=str(n)), caption) for n, (caption, references) in enumerate(pairs)]
    context = scorer.prepare(Corpus([item.sample for item in items]))
    return scorer.stats(items, context)


def split(**options):
    return METEOR(tokenizer="split", **options)


# the formula ----------------------------------------------------------------------------------------------------------


def test_scores_of_saved_rows_are_those_of_the_program():
    rows, expected = read("fakecap1000_meteor_rows"), read("fakecap1000_expected")
    assert rows["image_ids"] == expected["image_ids"]
    statistics = without_whole_chunks(np.array(rows["stats"], dtype=np.float64))
    assert statistics.shape == (1000, 23)
    each = split().finalize(statistics)[:, 0]
    np.testing.assert_allclose(each, expected["per_caption"]["METEOR"], rtol=0, atol=1e-9)
    corpus = split().finalize(statistics.sum(0))[0]
    assert corpus == pytest.approx(expected["scores"]["METEOR"], abs=1e-9)
    assert abs(corpus - each.mean()) > 0.004  # it is no mean of captions


#: What `EVAL` of meteor-1.5.jar answers for one made-up row, for each language.
ROW = [15, 18, 5, 4, 3, 4, 1, 2, 2, 1, 1, 2, 1, 3, 2, 1, 1, 2, 1, 0, 4, 9, 11]
ANSWERS = {
    "en": 0.30855241300977126,
    "fr": 0.35250321995026146,
    "de": 0.3832607214907048,
    "es": 0.4379897773376182,
    "cz": 0.17082805070784984,
    "ru": 0.41186277057022996,
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_parameters_of_every_language(language):
    score = split(language=language).finalize(np.array(ROW, dtype=np.float64))
    assert score[0] == pytest.approx(ANSWERS[language], abs=1e-12)


def test_edges_of_the_formula():
    whole = [2, 2, 1, 1, 1, 1, 1, 1, *[0] * 12, 1, 2, 2]
    nothing_said = [0, 3, 0, 1, *[0] * 19]
    nothing_meant = [2, 0, 1, 0, *[0] * 19]
    nothing_matched = [2, 3, 0, 1, *[0] * 19]
    rows = without_whole_chunks(np.array([whole, nothing_said, nothing_meant, nothing_matched, [0] * 23], dtype=float))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = split().finalize(rows)
    np.testing.assert_array_equal(scores[:, 0], [1, 0, 0, 0, np.nan])
    weights = np.ones((2, 3, 5))
    np.testing.assert_allclose(split().finalize(weights @ rows), split().finalize(rows.sum(0))[0], atol=0)


def test_one_score_by_hand():
    """Three of four words match in two chunks, none of them a function word: P = R = .75."""
    row = np.array([4, 4, 0, 0, 3, 3, 0, 0, *[0] * 12, 2, 3, 3], dtype=np.float64)
    assert split().finalize(row)[0] == pytest.approx(0.75 * (1 - 0.6 * (4 / 6) ** 0.2), abs=1e-12)


def test_a_whole_caption_brings_no_chunk_into_the_sum():
    """What `EVAL` of meteor-1.5.jar answers for these rows, each alone and both together."""
    whole = [2, 2, 0, 0, 2, 2, 0, 0, *[0] * 12, 1, 2, 2]
    scattered = [4, 4, 0, 0, 3, 3, 0, 0, *[0] * 12, 2, 3, 3]
    raw = np.array([whole, scattered], dtype=np.float64)
    rows = without_whole_chunks(raw)
    np.testing.assert_allclose(split().finalize(rows)[:, 0], [1.0, 0.33505143983322255], rtol=0, atol=1e-12)
    assert split().finalize(rows.sum(0))[0] == pytest.approx(0.4170567296323968, abs=1e-12)
    assert raw[0, 20] == 1


# the program ----------------------------------------------------------------------------------------------------------


def test_one_program_for_everything_and_none_for_what_is_known(java):
    pairs = [("a cat sits", ["a cat", "a dog sits here"]), ("a dog", ["a dog"]), ("a dog", ["a dog"])]
    first = measure(split(), *pairs)
    assert first.rows[:2, [0, 1, 4, 20]].tolist() == [[3, 2, 2, 1], [2, 2, 2, 0]]
    assert first.status == ("ok",) * 3
    np.testing.assert_array_equal(first.rows[1], first.rows[2])
    again = measure(split(), *pairs)
    np.testing.assert_array_equal(first.rows, again.rows)
    measure(split(), ("something else", ["a dog"]))
    measure(split(cache=False), ("a dog", ["a dog"]))
    assert fake_java.starts(java) == ["meteor"]


def test_known_captions_need_no_java(java, monkeypatch):
    known = [("a cat sits", ["a cat"])]
    rows = measure(split(), *known).rows
    process.close_all()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CAPWRIGHT_JARS", "/nowhere")
    np.testing.assert_array_equal(measure(split(), *known).rows, rows)
    missing = "^meteor: not installed: no Java.*; no meteor-1.5.jar"
    with pytest.raises(NotInstalledError, match=missing):
        measure(split(), *known, ("a new one", ["a cat"]))
    with pytest.raises(NotInstalledError, match=missing):  # other references: it is said before anything is measured
        split().prepare(Corpus([sample("a cat"), sample("a dog", id="b")]))
    with pytest.raises(NotInstalledError, match="^meteor: not installed: no Java"):
        split(cache=False).prepare(Corpus([sample("a cat")]))


def test_captions_without_a_score(java):
    scorer = split()
    items = [
        Item(sample("a cat", id="1"), "a cat"),
        Item(sample("a cat", id="2"), "", "ok"),
        Item(sample("a cat", id="3"), "a cat", "refusal"),
        Item(sample(id="4"), "a cat"),
        Item(sample(" ", "\t", id="5"), "a cat"),
    ]
    context = scorer.prepare(Corpus([item.sample for item in items]))
    stats = scorer.stats(items, context)
    assert stats.status == ("ok", "empty", "refusal", "ok", "ok")
    np.testing.assert_array_equal(scorer.finalize(stats.rows)[:, 0], [1, 0, np.nan, np.nan, np.nan])
    assert scorer.finalize(stats.rows.sum(0))[0] < 1  # the empty one counts
    with pytest.raises(DataError, match="meteor: none of the 1 samples has a reference"):
        scorer.prepare(Corpus([sample()]))
    assert scorer.stats([], context).rows.shape == (0, 23)


def test_bars_and_line_ends_do_not_reach_the_program(java):
    stats = measure(
        split(cache=False),
        ("a ||| cat", ["a|||cat", "||| a cat"]),
        ("a\r\ncat\u2028sits\x85", ["a\x0bcat sits"]),
        ("|||", ["a dog"]),
        ("a dog", ["a dog"]),
        ("half a \ud800 character", ["half a character"]),
    )
    assert stats.rows[:, [0, 1, 4]].tolist() == [[2, 2, 2], [3, 3, 3], [0, 2, 0], [2, 2, 2], [4, 3, 3]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.text(), st.lists(st.text(), min_size=1, max_size=3).filter(lambda texts: "".join(texts).strip())),
        min_size=1,
        max_size=6,
    )
)
def test_no_text_moves_a_score_to_another_caption(java, pairs):
    pairs = [*pairs, ("the last one", ["the last one"])]
    scorer = split(cache=False)
    together = measure(scorer, *pairs).rows
    alone = np.concatenate([measure(scorer, pair).rows for pair in pairs])
    backwards = measure(scorer, *pairs[::-1]).rows[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)
    assert scorer.finalize(together[-1])[0] == 1


# when it breaks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["hang", "drip"])
def test_no_answer_in_time_is_unknown(java, word):
    scorer = split(timeout=0.5)
    with pytest.warns(RuntimeWarning, match=r"meteor: java gave no answer in 0\.5 s.*status timeout"):
        stats = measure(scorer, ("a dog", ["a dog"]), (f"a {word}", ["a cat"]), ("a cat", ["a cat"]))
    assert stats.status == ("ok", "timeout", "ok")
    np.testing.assert_array_equal(scorer.finalize(stats.rows)[:, 0], [1, np.nan, 1])
    assert fake_java.starts(java) == ["meteor", "meteor"]
    assert measure(scorer, ("a cat", ["a cat"])).status == ("ok",)


def test_a_program_that_only_hangs_is_not_asked_for_ever(java, monkeypatch):
    monkeypatch.setattr(process, "_START", 0.5)
    with pytest.warns(RuntimeWarning) as met:
        stats = measure(split(timeout=0.1), *((f"hang {n}", ["a cat"]) for n in range(50)))
    assert len(met) == 2
    assert "2 in a row the rest of the batch is not asked" in str(met[1].message)
    assert set(stats.status) == {"timeout"}
    assert len(fake_java.starts(java)) == 2


def test_it_is_started_again_after_a_crash(java):
    stats = measure(split(), ("a cat", ["a cat"]), ("crashonce", ["a cat"]), ("a dog", ["a dog"]))
    assert stats.status == ("ok",) * 3
    assert stats.rows[:, 4].tolist() == [2, 0, 2]
    assert fake_java.starts(java) == ["meteor", "meteor"]


BREAKS = pytest.mark.parametrize(
    ("word", "message"),
    [
        ("crash", r"java ended with exit status 3; it said: java.lang.OutOfMemoryError"),
        ("garbage", r"something else than 23 numbers: 'Exception\?'"),
        ("few", r"something else than 23 numbers: '1.0 2.0"),
        ("infinite", r"something else than 23 numbers: 'inf"),
        ("endless", r"an answer that is no line"),
    ],
)


@BREAKS
@pytest.mark.parametrize("first", [True, False])
def test_a_caption_that_breaks_the_program_is_unknown_and_others_are_measured(java, word, message, first):
    pairs = [("a cat", ["a cat"]), (word, ["a cat"])]
    with pytest.warns(RuntimeWarning, match=f"^meteor: .*{message}") as met:
        stats = measure(split(), *(pairs[::-1] if first else pairs), ("a dog", ["a dog"]))
    assert stats.status == (("judge_error", "ok", "ok") if first else ("ok", "judge_error", "ok"))
    assert sorted(stats.rows[:, 4]) == [0, 2, 2]
    assert len(met) == 1
    said = str(met[0].message)
    assert f"caption of sample \"{int(not first)}\" is unknown (status judge_error). It has 1 words: '{word}'" in said
    assert "option memory, now 2G" in said


@BREAKS
def test_a_program_that_answers_nothing_is_an_error_and_what_it_did_before_is_kept(java, monkeypatch, word, message):
    assert measure(split(), ("a cat", ["a cat"])).status == ("ok",)
    monkeypatch.setattr("capwright.scorers.ngram.meteor._EASY", f"SCORE ||| a ||| {word}")
    with pytest.raises(ScorerError, match=f"^meteor: .*{message}"):
        measure(split(), ("a dog", ["a dog"]), (word, ["a cat"]))
    before = len(fake_java.starts(java))
    assert measure(split(), ("a cat", ["a cat"]), ("a dog", ["a dog"])).status == ("ok", "ok")
    assert len(fake_java.starts(java)) == before
    assert measure(split(), ("a bird", ["a bird"])).rows[0, 4] == 2
    assert len(fake_java.starts(java)) == before + 1


def test_a_java_that_does_not_start(java, monkeypatch):
    scorer = split(cache=False)
    context = scorer.prepare(Corpus([sample("a cat")]))
    (java.parent / "the jars" / "data" / "paraphrase-en.gz").rename(java.parent / "the jars" / "data" / "other.gz")
    with pytest.raises(NotInstalledError, match=r"^meteor: not installed: no paraphrase-en.gz in .*data"):
        scorer.stats([Item(sample("a cat"), "a cat")], context)


PROGRAM = """
import os, sys, time
from capwright.scorers import Corpus, Item
from capwright.scorers.ngram.meteor import METEOR
from capwright.types import NO_IMAGE, Sample
scorer = METEOR(tokenizer="split", cache=False, timeout=50)
a = Sample("a", NO_IMAGE, ("a cat",))
context = scorer.prepare(Corpus([a]))
say = lambda text: scorer.stats([Item(a, text)], context).rows[0, 4]
assert say("a cat") == 2
"""


def run_program(text, **how):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **how,
    )


def left_behind(tmp_path):
    return [path.name for path in tmp_path.glob("capwright-java-*")]


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(java, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = run_program("print('ready', flush=True)\nsay('hang')\n")
    assert program.stdout.readline() == "ready\n"
    time.sleep(0.3)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert left_behind(tmp_path) == []


def test_a_killed_process_leaves_no_folder(java, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = run_program("print('ready', flush=True)\nsay('hang')\n")
    assert program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGKILL)
    program.communicate(timeout=20)
    assert left_behind(tmp_path) == []


def test_a_child_made_by_fork_has_its_own_program(java, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = run_program(
        "child = os.fork()\n"
        "if not child:\n"
        "    assert say('a dog') == 1\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert say('a big cat') == 2\n"
    )
    _, err = program.communicate(timeout=20)
    assert (program.returncode, err) == (0, "")
    assert fake_java.starts(java) == ["meteor", "meteor"]
    assert left_behind(tmp_path) == []


def test_threads_take_turns(java):
    scorer = split(cache=False)
    context = scorer.prepare(Corpus([sample("x")]))
    found = {}

    def work(n):
        words = " ".join(f"w{n}x{k}" for k in range(n + 1))
        for _ in range(10):
            found.setdefault(n, []).append(scorer.stats([Item(sample(words), words)], context).rows[0, 0])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [n + 1.0] * 10 for n in range(6)}
    assert fake_java.starts(java) == ["meteor"]


# as a scorer ----------------------------------------------------------------------------------------------------------


def test_signature_options_and_evidence(java):
    scorer = get_scorer("meteor", tokenizer="split")
    context = scorer.prepare(Corpus([sample("a cat"), sample("a cat", "a dog", "x")]))
    assert scorer.signature(context) == (
        "meteor|jar:1.5|lang:en|norm:yes|tok:split|ws:collapse|bars:removed|refs:1..3|v:1"
    )
    items = [Item(sample("a black cat"), "a cat"), Item(sample(), "a cat")]
    assert explain(scorer, items, context) == [
        {
            "words": 2.0,
            "reference_words": 3.0,
            "matched": {"exact": 2.0, "stem": 0.0, "synonym": 0.0, "paraphrase": 0.0},
            "chunks": 1.0,
        },
        None,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "xx"}, 'language: must be one of "en", "cz", "de", "es", "fr", "ru", not .xx.'),
        ({"timeout": 0}, "timeout: must be seconds above 0"),
        ({"timeout": float("nan")}, "timeout: must be seconds above 0"),
        ({"memory": "lots"}, "memory: must be a size"),
        ({"memory": "G"}, "memory: must be a size"),
        ({"tokenizer": "nltk"}, "tokenizer: must be one of .*, not 'nltk'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ScorerError, match=message):
        METEOR(**{"tokenizer": "split", **options})


def test_as_a_reward(java):
    scorer = split(cache=False)
    one = sample("a cat sits")
    context = scorer.prepare(Corpus([one]))
    with pytest.raises(ScorerError, match="needs a frozen context"):
        RewardView(scorer, None)
    reward = RewardView(scorer, context)
    said = ["a cat sits", "a dog sits", "", "a hang"]
    with pytest.warns(RuntimeWarning, match="status timeout"):
        values = RewardView(split(cache=False, timeout=0.5), context)([one], [[Caption(text) for text in said]]).values
    assert values[0, 0] == 1
    assert 0 < values[0, 1] < 1
    assert values[0, 2] == 0
    assert np.isnan(values[0, 3])
    alone = reward([one], [[Caption("a dog sits")]]).values
    assert alone[0, 0] == values[0, 1]
    assert not (java.parent / "cache").exists()
