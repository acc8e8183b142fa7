"""Judges over a chat: the lexical reader, asked in words, must say what it says when it is asked directly."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from capwright.judges.client.messages import ChatAnswer
from capwright.judges.llm_judge import LLMJudge
from capwright.judges.load import load_judge
from capwright.judges.multiple_choice import letters_of
from capwright.judges.protocols import VERDICTS, Claims, Judge, Preference, Reader, Split, Verdict, Writer
from capwright.robustness import prompt_injection as injection
from capwright.scenes import casual_captions, expert_captions, facts, questions, sample_scene
from capwright.scenes.lexical_judge import LexicalJudge
from capwright.types import CapwrightError, ModelError, Question
from chat_server import ChatServer
from lexical_server import LexicalChat, lexical_reply

LEXICAL = LexicalJudge()
COLOR = Question("What color is the geoboard?", ("blue", "red", "green", "pink"), "red")
RED, BLUE = "A red geoboard is on the left.", "A blue geoboard is on the left."
ATTACKS = tuple(injection.ATTACKS.values())


def saying(*texts: str, status: str = "ok"):
    """A chat that replies with these texts in turn, read as JSON where a schema was given."""
    left = iter(texts)

    def spoil(request, _):
        text = next(left)
        if request.schema is None or status != "ok":
            return ChatAnswer(status, text, reason="planted" if status != "ok" else "")
        return ChatAnswer("ok", text, json.loads(text))

    return LLMJudge(LexicalChat(spoil), "planted")


def scenes(n: int):
    for index in range(n):
        scene = sample_scene(11, index)
        yield scene, expert_captions(scene)[0] if index % 2 else casual_captions(scene)[0]


def same_as_lexical(judge, n: int) -> None:
    """All ports of the reader, asked in words and directly."""
    asked = [(caption, question) for scene, caption in scenes(n) for question in questions(scene)]
    told, wanted = judge.answer(asked), LEXICAL.answer(asked)
    assert [(a.option, a.abstained, a.status) for a in told] == [(a.option, a.abstained, a.status) for a in wanted]
    texts = [caption for _, caption in scenes(n)]
    claims = LEXICAL.split(texts)
    assert judge.split(texts) == claims
    held = [(one.claims, other) for one, other in zip(claims, texts[1:] + texts[:1])]
    told_verdicts, wanted_verdicts = judge.verify(held), LEXICAL.verify(held)
    for told_, wanted_ in zip(told_verdicts, wanted_verdicts):
        assert [(v.verdict, v.pointable) for v in told_] == [(v.verdict, v.pointable) for v in wanted_]
    lists = [[fact.sentence for fact in facts(scene)] for scene, _ in scenes(n)]
    matched = [(one.claims, known) for one, known in zip(claims, lists[1:] + lists[:1])]
    assert judge.match(matched) == LEXICAL.match(matched)
    pairs = [(None, one, other, one) for one, other in pairwise(texts)]
    assert judge.compare(pairs) == LEXICAL.compare(pairs)


def test_it_implements_every_port():
    judge = LLMJudge(LexicalChat(), "toy")
    for port in (Reader, Claims, Writer, Judge):
        assert isinstance(judge, port)


def test_the_lexical_reader_asked_in_words_says_the_same():
    same_as_lexical(LLMJudge(LexicalChat(), "toy"), 30)


def test_fifty_scenes_over_http(tmp_path):
    with ChatServer(lambda body: lexical_reply(body["messages"])) as server:
        judge = load_judge(server.address, model="toy", cache=str(tmp_path))
        server.fault("500")
        server.fault("malformed")
        same_as_lexical(judge, 50)
        assert judge.chat.account.calls > 400
        judge.chat.close()


def test_options_are_shown_in_their_order_and_the_key_is_not():
    chat = LexicalChat()
    LLMJudge(chat).answer([(RED, COLOR), (BLUE, Question("What color?", ("x", "y"), "x"))])
    shown = chat.requests[0].messages[1].text
    assert "A) blue\nB) red\nC) green\nD) pink\nF) This can not be told" in shown
    assert chat.requests[0].choices == letters_of(4)
    assert "A) x\nB) y\nF) " in chat.requests[1].messages[1].text
    other_key = LLMJudge(again := LexicalChat())
    other_key.answer([(RED, Question(COLOR.text, COLOR.options, "pink"))])
    assert again.requests[0] == chat.requests[0]


def test_the_same_request_is_sent_once():
    with ChatServer(lambda body: lexical_reply(body["messages"])) as server:
        judge = load_judge(server.address, model="toy", cache=None)
        answers = judge.answer([(RED, COLOR), (BLUE, COLOR), (RED, COLOR)])
        judge.chat.close()
    assert [answer.option for answer in answers] == [1, 0, 1]
    assert len(server.bodies) == 2


def test_probabilities_come_with_the_answer():
    def spoil(request, text):
        return ChatAnswer("ok", text, probabilities=(0.1, 0.6, 0.1, 0.1, 0.1))

    (answer,) = LLMJudge(LexicalChat(spoil)).answer([(RED, COLOR)])
    assert answer.option == 1
    assert answer.probabilities == (0.1, 0.6, 0.1, 0.1, 0.1)


def test_replies_that_can_not_be_read_are_unknown():
    judge = saying("A cat", "north", "E", "B")
    answers = judge.answer([(text, COLOR) for text in ("one", "two", "three", "four")])
    assert [answer.status for answer in answers] == ["unparseable"] * 3 + ["ok"]
    assert [answer.option for answer in answers] == [None, None, None, 1]
    assert answers[0].text == "A cat"


@pytest.mark.parametrize("status", ["timeout", "refusal", "judge_error", "truncated", "missing_image"])
def test_a_failed_call_is_unknown_everywhere(status):
    def failing():
        return saying("nothing", status=status)

    (answer,) = failing().answer([(RED, COLOR)])
    assert (answer.option, answer.abstained, answer.status) == (None, False, status)
    assert failing().split([RED]) == [Split((), status=status)]
    assert failing().verify([(["a", "b"], RED)]) == [[Verdict(None, status=status)] * 2]
    assert failing().match([(["a"], ["b"])]) == [[]]
    assert failing().compare([(None, RED, BLUE, RED)]) == [Preference(None, status, "planted")]
    (grade,) = failing().grade(["clarity"], [RED])
    assert (grade.marks, grade.status) == ({}, status)
    (record,) = failing().write("terms", [{"caption": RED}])
    assert record == {"status": status, "reason": "planted"}


def test_one_failed_call_leaves_the_others_alone():
    def spoil(request, _):
        return ChatAnswer("timeout") if "blue" in request.messages[1].text.partition("<question>")[0] else None

    answers = LLMJudge(LexicalChat(spoil)).answer([(RED, COLOR), (BLUE, COLOR), (RED, COLOR)])
    assert [answer.status for answer in answers] == ["ok", "timeout", "ok"]


def test_questions_without_choices_are_not_asked():
    chat = LexicalChat()
    many = Question("Which?", tuple(f"option {i}" for i in range(26)))
    answers = LLMJudge(chat).answer([(RED, Question("What?")), (RED, many), (RED, COLOR)])
    assert [answer.status for answer in answers] == ["judge_error", "judge_error", "ok"]
    assert len(chat.requests) == 1


def test_evidence_is_a_text_an_image_or_nothing():
    chat = LexicalChat()
    judge = LLMJudge(chat)
    image = Path("photo.png")
    judge.answer([(RED, COLOR), (image, COLOR), ("", COLOR), (None, COLOR)])
    judge.verify([(["The geoboard is red."], image), (["The geoboard is red."], RED)])
    judge.compare([(image, RED, BLUE, ""), (None, RED, BLUE, RED)])
    assert chat.requests[2] == chat.requests.pop(3), "no text and no evidence are the same"
    tasks = [request.protocol.partition(":")[0] for request in chat.requests]
    assert tasks == ["answer_text", "answer_image", "answer_blind", "verify_image", "verify_text", "compare", "compare"]
    assert [request.messages[1].images for request in chat.requests] == [
        (), (image,), (), (image,), (), (image,), ()
    ]  # fmt: skip
    assert "<caption>" not in chat.requests[2].messages[1].text
    assert "<reference>\n(none)\n</reference>" in chat.requests[5].messages[1].text


def test_what_needs_no_asking_is_not_asked():
    chat = LexicalChat()
    judge = LLMJudge(chat)
    assert judge.split(["", " \n"]) == [Split(()), Split(())]
    assert judge.verify([([], RED), (["a", "b"], "")]) == [[], [Verdict("neutral")] * 2]
    assert judge.match([([], ["a"]), (["a", "b"], [])]) == [[], [None, None]]
    assert judge.grade(["clarity"], [" "])[0].status == "empty"
    assert judge.answer([]) == []
    assert chat.requests == []


def test_claims_of_a_caption_each_once_on_one_line():
    claims = [
        {"claim": text, "descriptive": told}
        for text, told in (("a\nb", True), ("c", False), ("a b", False), ("", True))
    ]
    assert saying(json.dumps({"claims": claims})).split([RED]) == [Split(("a b", "c"), (True, False))]


def test_verdicts_go_by_number_and_missing_ones_are_unknown():
    records = [
        {"number": 3, "verdict": "neutral", "pointable": False},
        {"number": 1, "verdict": "entailed", "pointable": True},
        {"number": 9, "verdict": "entailed", "pointable": True},
        {"number": 4, "verdict": "entailed", "pointable": True},
        {"number": 4, "verdict": "contradicted", "pointable": True},
    ]
    (verdicts,) = saying(json.dumps({"verdicts": records})).verify([(["a", "b", "c", "d"], RED)])
    unknown = Verdict(None, status="unparseable")
    assert verdicts == [Verdict("entailed", True), unknown, Verdict("neutral", False), unknown]


def test_verdicts_that_are_counted_from_0_are_unknown_and_not_those_of_the_neighbors():
    records = [{"number": i, "verdict": verdict, "pointable": True} for i, verdict in enumerate(VERDICTS)]
    (verdicts,) = saying(json.dumps({"verdicts": records})).verify([(["a", "b", "c"], RED)])
    assert verdicts == [Verdict(None, status="unparseable")] * 3


def test_many_claims_are_verified_in_several_calls():
    chat = LexicalChat()
    claims = [fact.sentence for fact in facts(sample_scene(3, 1))]
    caption = expert_captions(sample_scene(3, 1))[0]
    (verdicts,) = LLMJudge(chat, claims_per_call=4).verify([(claims, caption)])
    assert [verdict.verdict for verdict in verdicts] == ["entailed"] * len(claims)
    assert len(chat.requests) == -(-len(claims) // 4)


@pytest.mark.parametrize(
    "records",
    [[], [{"claim": 1, "fact": 1}], [{"claim": 1, "fact": 1}, {"claim": 2, "fact": 3}],
     [{"claim": 1, "fact": -1}, {"claim": 2, "fact": 0}],
     [{"claim": 1, "fact": 1}, {"claim": 1, "fact": 2}, {"claim": 2, "fact": 0}]],
)  # fmt: skip
def test_a_match_that_is_not_whole_is_unknown(records):
    assert saying(json.dumps({"matches": records})).match([(["a", "b"], ["c", "d"])]) == [[]]


def test_a_match_counts_facts_from_one_and_none_as_zero():
    records = [{"claim": 2, "fact": 0}, {"claim": 1, "fact": 2}]
    assert saying(json.dumps({"matches": records})).match([(["a", "b"], ["c", "d"])]) == [[1, None]]


def test_marks_from_one_to_five_become_nought_to_one():
    reply = json.dumps({"reason": "fine", "marks": {"clarity": 1, "fluency": 4, "coherence": 5}})
    judge = saying(reply)
    (grade,) = judge.grade(["clarity", "fluency", "coherence"], [RED])
    assert grade.marks == {"clarity": 0.0, "fluency": 0.75, "coherence": 1.0}
    (request,) = judge.chat.requests
    marks = request.schema["properties"]["marks"]
    assert marks["required"] == ["clarity", "fluency", "coherence"]
    assert marks["properties"]["clarity"] == {"type": "integer", "enum": [1, 2, 3, 4, 5]}
    assert '"fluency": grammar' in request.messages[0].text
    with pytest.raises(ModelError, match="cannot grade beauty"):
        judge.grade(["beauty"], [RED])


def test_writing_by_task():
    judge = saying('{"terms": ["geoboard"]}')
    assert judge.write("terms", [{"caption": RED}]) == [{"terms": ["geoboard"], "status": "ok"}]
    image = Path("photo.png")
    asked = saying('{"questions": []}')
    asked.write("questions", [{"id": "a", "image": image, "facts": (), "n": 5}])
    (request,) = asked.chat.requests
    assert request.messages[1].images == (image,)
    assert "<n>\n5\n</n>" in request.messages[1].text
    with pytest.raises(ModelError, match="task 'poem'.*terms"):
        judge.write("poem", [])
    with pytest.raises(ModelError, match="needs the image image"):
        judge.write("questions", [{"n": 5}])
    with pytest.raises(ModelError, match="also needs caption"):
        judge.write("terms", [{}])


def test_orders_in_a_caption_change_no_other_item():
    """Whatever a caption says, the requests about other captions are the same to the byte, and so are the results."""
    clean = [(RED, COLOR), (BLUE, COLOR)]
    alone_chat, among_chat = LexicalChat(), LexicalChat()
    alone = LLMJudge(alone_chat).answer(clean)
    among = LLMJudge(among_chat).answer([clean[0], *((text, COLOR) for text in ATTACKS), clean[1]])
    assert [among[0], among[-1]] == alone
    assert [among_chat.requests[0], among_chat.requests[-1]] == alone_chat.requests
    wanted = LEXICAL.answer([(text, COLOR) for text in ATTACKS])
    assert [(answer.option, answer.status) for answer in among[1:-1]] == [(answer.option, "ok") for answer in wanted]
    claims, both = ["The geoboard is red."], LLMJudge(LexicalChat())
    verdicts = both.verify([(claims, RED), *((claims, f"{BLUE} {text}") for text in ATTACKS)])
    assert [one[0].verdict for one in verdicts] == ["entailed"] + ["contradicted"] * len(ATTACKS)


def test_orders_in_a_caption_stay_between_its_tags():
    chat = LexicalChat()
    for attack in ATTACKS:
        LLMJudge(chat).compare([(None, attack, RED, RED), (None, RED, attack, RED)])
        LLMJudge(chat).verify([([attack, "b"], RED)])
    for request in chat.requests:
        text = request.messages[1].text
        for tag in ("first", "second", "reference", "claims", "evidence"):
            assert text.count(f"<{tag}>") == text.count(f"</{tag}>") <= 1
        assert "<|" not in text
        assert request.messages[0].role == "system"
        assert len(request.messages) == 2


def test_the_signature_changes_with_what_can_change_an_answer(tmp_path):
    (tmp_path / "split.yaml").write_text("version: 1\nsystem: Cut.\nuser: '{caption}'\n")
    chat = LexicalChat()
    several = [
        LLMJudge(chat, "toy"), LLMJudge(chat, "other"), LLMJudge(chat, "toy", prompts=tmp_path),
        LLMJudge(chat, "toy", temperature=0.7), LLMJudge(chat, "toy", temperature={"split": 0.7}),
        LLMJudge(chat, "toy", thinking_tokens=100), LLMJudge(chat, "toy", claims_per_call=3),
    ]  # fmt: skip
    assert len({one.signature for one in several}) == len(several)
    assert LLMJudge(chat, "toy").signature == several[0].signature
    assert several[0].signature.startswith("chat:toy;prompts=")
    assert several[0].prompts["split"].startswith("split:1:")


def test_the_signature_changes_with_what_is_sent_along():
    def signature(**options):
        return load_judge("http://localhost:1/v1", model="toy", cache=None, **options).signature

    several = [signature(), signature(extra={"top_p": 0.5}), signature(extra={"top_p": 0.6}), signature(max_pixels=9)]
    assert len(set(several)) == 4
    assert signature(concurrency=3) == several[0]


def test_temperature_seed_and_room_for_thinking_reach_the_request():
    chat = LexicalChat()
    judge = LLMJudge(chat, temperature={"split": 1.0}, thinking_tokens=100)
    judge.split([RED], seed=7)
    judge.answer([(RED, COLOR)], seed=2**31 + 8)
    assert [(r.temperature, r.seed) for r in chat.requests] == [(1.0, 7), (0.0, 8)]
    assert chat.requests[1].max_tokens == 110


@pytest.mark.parametrize(
    ("options", "says"),
    [({"temperature": -1.0}, "from 0 to 2"), ({"temperature": {"split": "hot"}}, "from 0 to 2"),
     ({"thinking_tokens": "many"}, "whole number"), ({"temperature": {"splt": 1}}, "no prompt splt"),
     ({"thinking_tokens": -1}, "thinking_tokens"), ({"claims_per_call": 0}, "claims_per_call")],
)  # fmt: skip
def test_options_that_make_no_sense(options, says):
    with pytest.raises(CapwrightError, match=says):
        LLMJudge(LexicalChat(), **options)


@pytest.mark.parametrize(
    ("name", "says"),
    [("gpt", "there is no judge 'gpt'"), ("", "there is no judge"), ({"model": "m"}, 'needs the key "name"'),
     ({"name": "lexical", "model": "m"}, "has no options, but model is given"),
     ({"name": "http://localhost:1/v1", "model": "m", "temprature": 1},
      r"no option temprature \(did you mean temperature\? options: model, .*prompts"),
     ("http://localhost:1/v1", "say which model.* judge.model=NAME"), ({"name": 3}, "there is no judge 3")],
)  # fmt: skip
def test_names_and_options_that_can_not_be_opened(name, says):
    with pytest.raises(CapwrightError, match=says):
        load_judge(name)


def test_the_same_name_and_options_are_one_judge_while_it_is_held():
    given = {"name": "http://localhost:1/v1", "model": "m", "cache": None}
    one = load_judge(given)
    assert load_judge("http://localhost:1/v1", cache=None, model="m") is one
    assert load_judge({**given, "temperature": 0.5}) is not one
    assert one.signature.startswith("chat:m;")


def test_a_server_with_one_model_needs_no_name(monkeypatch):
    with ChatServer(lambda body: "B") as server:
        judge = load_judge(server.address, cache=None)
        assert judge.chat.model == "toy"
        server.models = ["toy", "other"]
        with pytest.raises(ModelError, match=r"say which model to ask, .* \(it has toy, other\): model=NAME"):
            load_judge(server.address, cache=None, retries=1)
        monkeypatch.setenv("OPENAI_BASE_URL", server.address)
        assert load_judge("openai", model="toy", cache=None, retries=2).chat.address == server.address
    with pytest.raises(ModelError, match="say which model to ask, by the name it has at the server: model"):
        load_judge(server.address, cache=None, retries=3)


def test_openai_is_where_its_own_client_looks(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert load_judge("openai", model="toy", cache=None).chat.address == "https://api.openai.com/v1"
