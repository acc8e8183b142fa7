"""Arenas with judges that are known: planted strengths, bias and noise come back, and nothing is asked twice."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest

from capwright.evaluation.arena.judgements import Judgement, append_battles, read_battles
from capwright.evaluation.arena.leaderboard import make_leaderboard
from capwright.evaluation.arena.play import run_arena
from capwright.types import DataError
from fake_judges import FakeJudge, chance


def world(images, strengths, spread=0.0):
    """References and captions of systems; `spread` is how much the worth of a system's captions differs by image."""
    references = {str(n): [f"a reference of {n}"] for n in range(images)}
    systems = {
        name: {id: f"{name} {strength + spread * (chance(name, id) - 0.5):.4f}" for id in references}
        for name, strength in strengths.items()
    }
    return systems, references


def one(first, second, better, image="1", **more):
    return Judgement(image, first, second, better=better, **more)


def standings(board):
    return {standing.name: standing for standing in board.standings}


def test_a_log_of_three_rows_by_hand():
    board = make_leaderboard([one("a", "b", "first"), one("b", "a", "second"), one("a", "b", "tie", "2")], replicates=0)
    a, b = board.standings
    assert (a.name, a.wins, a.losses, a.ties, a.battles) == ("a", 1, 0, 1, 2)
    assert (b.wins, b.losses, b.ties) == (0, 1, 1)
    assert a.win_rate.value == pytest.approx(2.5 / 3)
    assert a.rating.value > 1000 > b.rating.value
    assert a.rating.value + b.rating.value == pytest.approx(2000)
    assert board.first_place.value == 0.5  # of two verdicts with a winner
    assert board.agreement.value == 1  # image 2 was shown once
    assert board.ties.value == pytest.approx(1 / 3)
    assert board.repeated.value is None
    assert board.meetings[0].battles == 2
    assert board.meetings[0].win_rate.value == pytest.approx(2.5 / 3)
    assert a.rating.low is None  # without replicates


def test_planted_strengths_come_back():
    planted = {"a": 1.0, "b": 0.3, "c": -0.2, "d": -1.1}
    systems, references = world(300, planted)
    board = make_leaderboard(run_arena(systems, references, FakeJudge(skill=1.0)), replicates=200)
    assert [s.name for s in board.standings] == ["a", "b", "c", "d"]
    for name, standing in standings(board).items():
        truth = 1000 + 400 / math.log(10) * planted[name]
        assert standing.rating.low < truth < standing.rating.high
        assert standing.rating.value == pytest.approx(truth, abs=35)
        assert 0 < standing.rating.high - standing.rating.low < 120
    elos = [s.elo.value for s in board.standings]
    assert elos == sorted(elos, reverse=True)
    assert sum(elos) == pytest.approx(4000)
    assert board.first_place.low < 0.5 < board.first_place.high
    meeting = next(m for m in board.meetings if (m.a, m.b) == ("a", "d"))
    assert meeting.win_rate.low < 1 / (1 + math.exp(-2.1)) < meeting.win_rate.high
    assert board.warnings == ()


@pytest.mark.parametrize("orders", ["both", "paper"])
def test_a_planted_bias_to_the_first_place_is_measured_and_taken_out(orders):
    systems, references = world(500, {"a": 0.5, "b": -0.5})
    board = make_leaderboard(
        run_arena(systems, references, FakeJudge(skill=1.0, bias=0.8), orders=orders), replicates=200
    )
    # Shown first: sigmoid(1.8) and sigmoid(-0.2) of the time.
    expected = (1 / (1 + math.exp(-1.8)) + 1 / (1 + math.exp(0.2))) / 2
    assert board.first_place.low > 0.5
    assert board.first_place.low < expected < board.first_place.high
    gap = board.standings[0].rating.value - board.standings[1].rating.value
    assert board.standings[0].name == "a"
    assert gap == pytest.approx(400 / math.log(10), abs=60)
    assert (board.agreement.value is None) == (orders == "paper")


def test_a_judge_that_only_sees_the_place_makes_all_systems_equal():
    systems, references = world(50, {"a": 3, "b": 2, "c": 1})
    board = make_leaderboard(run_arena(systems, references, FakeJudge(skill=0.0, bias=50)), replicates=50)
    assert [s.rating.value for s in board.standings] == pytest.approx([1000] * 3)
    assert board.first_place.value == 1
    assert board.agreement.value == 0


def test_a_perfect_judge_agrees_with_itself():
    systems, references = world(40, {"a": 2, "b": 1, "c": 0})
    board = make_leaderboard(run_arena(systems, references, FakeJudge(), repeats=2), replicates=50)
    assert board.agreement.value == board.repeated.value == 1
    assert board.first_place.value == 0.5
    assert [s.win_rate.value for s in board.standings] == [1, 0.5, 0]
    assert all(math.isfinite(s.rating.value) for s in board.standings)


def test_noise_of_the_judge_and_choice_of_images_are_told_apart():
    # A coin: nothing but dice.
    systems, references = world(150, {"a": 0, "b": 1})
    dice = make_leaderboard(run_arena(systems, references, FakeJudge(skill=0.0), repeats=4), replicates=300)
    # Captions whose worth differs by image, and a judge without dice: nothing but images.
    systems, references = world(150, {"a": 0, "b": 0.3}, spread=2)
    still = make_leaderboard(run_arena(systems, references, FakeJudge(), repeats=3), replicates=300)
    for name in "ab":
        coin, fixed = standings(dice)[name], standings(still)[name]
        # 1,200 fair verdicts: the log-odds of the gap have the deviation 2 / sqrt(1200), a rating half of it.
        assert coin.judge_noise == pytest.approx(400 / math.log(10) / math.sqrt(1200), rel=0.15)
        assert coin.image_noise < 0.8 * coin.judge_noise
        assert fixed.judge_noise == pytest.approx(0, abs=1e-6)
        assert fixed.image_noise > 5
    assert dice.repeated.value == pytest.approx(0.5, abs=0.06)
    once = make_leaderboard(run_arena(systems, references, FakeJudge()), replicates=20)
    assert [s.judge_noise for s in once.standings] == [None, None]


def test_unknown_verdicts_are_counted_and_take_their_battle_along():
    systems, references = world(10, {"a": 1, "b": 0})
    systems["a"]["3"] = "broken 9"
    found = run_arena(systems, references, FakeJudge(fails={"broken": "timeout"}))
    board = make_leaderboard(found, replicates=20)
    assert board.unknown == {"timeout": 2}
    assert [(s.battles, s.unknown) for s in board.standings] == [(9, 1), (9, 1)]
    assert board.warnings == ("2 of 20 verdicts are unknown, and 1 battles with them",)
    half = [replace(j, better=None, status="timeout") if n == 0 else j for n, j in enumerate(found)]
    assert make_leaderboard(half, replicates=0).standings[0].battles == 8


def test_an_answer_again_where_the_first_is_unknown_is_no_agreement():
    lost = [one(*pair, None, status="timeout") for pair in (("a", "b"), ("b", "a"))]
    first, third = one("a", "b", "first", repeat=1), one("a", "b", "second", repeat=2)
    assert make_leaderboard([*lost, first], replicates=0).repeated.value is None
    assert make_leaderboard([*lost, first, third], replicates=0).repeated.value == 0


def test_one_image_has_no_intervals():
    (a, b) = make_leaderboard([one("a", "b", "first"), one("b", "a", "tie")], replicates=50).standings
    assert [e.low for s in (a, b) for e in (s.rating, s.elo, s.win_rate)] == [None] * 6
    again = [one("a", "b", better, repeat=n) for n, better in enumerate(["first", "second", "first"])]
    a = make_leaderboard(again, replicates=50).standings[0]
    assert (a.judge_noise > 0, a.image_noise) == (True, None)  # the judge's dice can be told apart all the same


def test_systems_that_never_met_the_others_have_no_rating():
    log = [one("a", "b", "first"), one("c", "a", None, status="timeout"), one("c", "b", None, status="judge_error")]
    board = make_leaderboard(log, replicates=20)
    assert [s.name for s in board.standings] == ["a", "b", "c"]
    lost = board.standings[-1]
    assert (lost.rating.value, lost.elo.value, lost.win_rate.value, lost.unknown) == (None, None, None, 2)
    assert "no known battle joins c with the others: no rating" in board.warnings
    nothing = make_leaderboard([one("a", "b", None, status="timeout")], replicates=20)
    assert [s.rating.value for s in nothing.standings] == [None, None]


def test_captions_of_one_split_name_it():
    systems, references = world(4, {"a": 1, "b": 0})
    split = [
        {"id": id, "split": "val" if id == "0" else "test", "references": texts} for id, texts in references.items()
    ]
    for said in systems.values():
        del said["0"]
    with pytest.raises(DataError, match=r'1 of 4 images .*: "0"; all captions are of the split "test": choose it'):
        run_arena(systems, split, FakeJudge())
    assert len(run_arena(systems, split, FakeJudge(), split="test", orders="paper")) == 3


def test_captions_that_do_not_exist_are_unknown():
    systems, references = world(3, {"a": 1, "b": 0})
    systems["a"]["1"] = {"caption": "", "status": "refusal"}
    del systems["b"]["2"]
    with pytest.raises(DataError, match=r'b: 1 of 3 images have no caption: "2"'):
        run_arena(systems, references, FakeJudge())
    judge = FakeJudge()
    board = make_leaderboard(run_arena(systems, references, judge, missing="skip"), replicates=0)
    assert board.unknown == {"missing_caption": 2, "refusal": 2}
    assert len(judge.asked) == 2


def test_longer_captions_and_lengths_are_told():
    references = {"1": ["x"], "2": ["x"]}
    systems = {"a": {"1": "many more words 2", "2": "many words 2"}, "b": {"1": "few 1", "2": "few 1"}}
    board = make_leaderboard(run_arena(systems, references, FakeJudge()), replicates=20)
    assert board.longer.value == 1
    assert [s.words for s in board.standings] == [3.5, 2]


def test_empty_captions_have_no_words_and_their_length_is_known():
    log = [one("a", "b", "first", words=(9, 0), asked=False), one("b", "a", "second", words=(0, 9), asked=False)]
    assert {s.name: s.words for s in make_leaderboard(log, replicates=0).standings} == {"a": 9, "b": 0}
    assert make_leaderboard([one("a", "b", "first")], replicates=0).standings[0].words is None


def test_same_captions_need_no_judge():
    systems, references = {"a": {"1": "same 1"}, "b": {"1": "same 1"}}, {"1": ["x"]}
    judge = FakeJudge()
    board = make_leaderboard(run_arena(systems, references, judge), replicates=0)
    assert judge.asked == []
    assert board.standings[0].ties == 1
    assert board.ties.value is None  # the judge said nothing
    assert board.agreement.value is None


def test_everything_is_the_same_again():
    systems, references = world(20, {"a": 1, "b": 0, "c": 0.5})
    first, second = (
        make_leaderboard(run_arena(systems, references, FakeJudge(skill=1.0), repeats=2), replicates=50) for _ in "12"
    )
    assert first == second
    turned = run_arena(
        dict(reversed(systems.items())), dict(reversed(references.items())), FakeJudge(skill=1.0), repeats=2
    )
    again = make_leaderboard(turned, replicates=0)
    assert {s.name: s.rating.value for s in again.standings} == pytest.approx(
        {s.name: s.rating.value for s in first.standings}, abs=1e-6
    )
    other = make_leaderboard(run_arena(systems, references, FakeJudge(skill=1.0), repeats=2, seed=1), replicates=0)
    assert standings(other)["a"].rating.value != standings(again)["a"].rating.value


def test_repeats_are_asked_with_other_seeds():
    seeds = []

    class Listening(FakeJudge):
        def compare(self, asked, *, seed=0):
            seeds.append(seed)
            return super().compare(asked, seed=seed)

    systems, references = world(2, {"a": 1, "b": 0})
    run_arena(systems, references, Listening(), repeats=3, seed=5)
    assert seeds[0] == 5
    assert len(set(seeds)) == 3


def test_an_interrupted_arena_goes_on_where_it_was(tmp_path):
    log = tmp_path / "deep" / "battles.jsonl"
    systems, references = world(200, {"a": 1, "b": 0})
    whole = run_arena(systems, references, FakeJudge(skill=1.0))

    class Dying(FakeJudge):
        def compare(self, asked, *, seed=0):
            if self.calls:
                raise KeyboardInterrupt
            return super().compare(asked, seed=seed)

    with pytest.raises(KeyboardInterrupt):
        run_arena(systems, references, Dying(skill=1.0), log=log)
    assert len(read_battles(log)) == 256
    with log.open("ab") as file:
        file.write(b'{"image": "torn')
    judge = FakeJudge(skill=1.0)
    assert run_arena(systems, references, judge, log=log) == whole
    assert len(judge.asked) == 400 - 256
    assert read_battles(log) == whole
    asked_again = FakeJudge(skill=1.0)
    size = log.stat().st_size
    assert run_arena(systems, references, asked_again, log=log) == whole
    assert asked_again.asked == []
    assert log.stat().st_size == size


def test_unknown_verdicts_of_a_log_are_asked_again(tmp_path):
    log = tmp_path / "battles.jsonl"
    systems, references = world(4, {"a": 1, "b": 0})
    down = FakeJudge(fails={"0": "judge_error"})
    down.signature = "judge"
    run_arena(systems, references, down, log=log)
    assert {j.status for j in read_battles(log)} == {"judge_error"}
    size = log.stat().st_size
    run_arena(systems, references, down, log=log)
    assert log.stat().st_size == size  # the same failure is not written twice
    up = FakeJudge()
    up.signature = "judge"
    assert {j.status for j in run_arena(systems, references, up, log=log)} == {"ok"}
    assert {j.status for j in read_battles(log)} == {"ok"}


def test_a_log_takes_a_new_system_but_no_other_judge_seed_or_caption(tmp_path):
    log = tmp_path / "battles.jsonl"
    systems, references = world(4, {"a": 1, "b": 0, "c": 2})
    run_arena({name: systems[name] for name in "ab"}, references, FakeJudge(), log=log)
    judge = FakeJudge()
    assert len(run_arena(systems, references, judge, log=log)) == 24
    assert len(judge.asked) == 16
    with pytest.raises(DataError, match="another judge"):
        run_arena(systems, references, FakeJudge(skill=2.0), log=log)
    with pytest.raises(DataError, match="another seed"):
        run_arena(systems, references, FakeJudge(), log=log, seed=1)
    systems["b"]["2"] = "b changed 0"
    with pytest.raises(DataError, match=r'"2" is about other captions'):
        run_arena(systems, references, FakeJudge(), log=log)


def test_battles_of_other_programs_can_be_read(tmp_path):
    path = tmp_path / "people.jsonl"
    rows = [{"image": 7, "first": "a", "second": "b", "better": "tie"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read_battles(path) == [Judgement("7", "a", "b", better="tie")]
    append_battles(path, [one("b", "a", "first", "7")])
    assert len(read_battles(path)) == 2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("[1]", "a row must be an object"),
        ("{", "not valid JSON"),
        ('{"first": "a", "second": "b", "better": "tie"}', '"image" must be text'),
        ('{"image": "1", "first": "a", "second": "a", "better": "tie"}', "does not meet itself"),
        ('{"image": "1", "first": "a", "second": "b"}', '"better" must be one of first, second, tie, not None'),
        ('{"image": "1", "first": "a", "second": "b", "better": "a"}', "not 'a'"),
        ('{"image": "1", "first": "a", "second": "b", "status": "empty"}', "status 'empty' must be"),
        ('{"image": "1", "first": "a", "second": "b", "status": "timeout", "better": "tie"}', '"better" null'),
        ('{"image": "1", "first": "a", "second": "b", "better": "tie", "repeat": -1}', '"repeat" must be'),
        ('{"image": "1", "first": "a", "second": "b", "better": "tie", "words": [1]}', '"words" must be'),
        ('{"image": "1", "first": "a", "second": "b", "better": "tie", "reason": 3}', '"reason" must be text'),
    ],
)
def test_rows_that_are_no_verdicts_are_named(tmp_path, row, says):
    path = tmp_path / "battles.jsonl"
    path.write_text(row + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=says) as error:
        read_battles(path)
    assert str(error.value).startswith(f"{path}:1: ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"systems": {"a": {"1": "x 1"}}}, "at least two systems"),
        ({"orders": "one"}, "orders must be both or paper"),
        ({"repeats": 0}, "repeats must be"),
        ({"missing": "empty"}, "missing must be error or skip"),
        ({"reference": False, "image": False}, "needs the reference or the image"),
        ({"reference": False}, "could look at"),
        ({"systems": {"a": {"1": "x 1"}, "b": {"1": ["x 1", "x 2"]}}}, 'b: has several captions of "1"'),
        ({"systems": {"a": {"1": "x 1"}, "b": {"9": "x 1"}}}, "b: has no caption of any sample"),
    ],
)
def test_what_can_not_be_held_is_said(options, says):
    given = {"systems": {"a": {"1": "x 1"}, "b": {"1": "x 2"}}, "references": {"1": ["r"]}, "judge": FakeJudge()}
    with pytest.raises(DataError, match=says):
        run_arena(**{**given, **options})


def test_leaderboards_of_nothing_are_refused():
    with pytest.raises(DataError, match="no verdicts"):
        make_leaderboard([])
    with pytest.raises(DataError, match="seed"):
        make_leaderboard([one("a", "b", "tie")], seed=-1)
    with pytest.raises(DataError, match="level"):
        make_leaderboard([one("a", "b", "tie")], level=95)


def test_the_board_as_json():
    systems, references = world(5, {"a": 1, "b": 0})
    board = make_leaderboard(run_arena(systems, references, FakeJudge()), replicates=20)
    told = json.loads(json.dumps(board.to_json(), allow_nan=False))
    assert told["standings"][0]["name"] == "a"
    assert set(told["standings"][0]["rating"]) == {"value", "low", "high"}
    assert told["judges"] == ["fake|skill:None|bias:0.0"]


def test_arenas_are_had_from_the_package_and_loaded_when_asked_for():
    lines = (
        "import sys, capwright.evaluation as e",
        "before = 'capwright.evaluation.arena.play' in sys.modules",
        "found = [callable(getattr(e, name)) for name in ('run_arena', 'read_battles', 'make_leaderboard')]",
        "print(before, all(found), e.Judgement('1', 'a', 'b').repeat, all(hasattr(e, name) for name in e.__all__))",
    )
    told = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True", "0", "True"]
