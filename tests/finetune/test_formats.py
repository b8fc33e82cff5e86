import json

import pytest

from bot.errors import DocumentError
from bot.types import Message
from finetune.formats import Pair, find_split, is_row, pairs, read_records

Q, A = "how long?", "Three days."
SHAPES = {
    "messages": {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]},
    "prompt": {"prompt": Q, "completion": A},
    "prompt of messages": {
        "prompt": [{"role": "user", "content": Q}], "completion": [{"role": "assistant", "content": A}],
    },
    "alpaca": {"instruction": Q, "input": "", "output": A},
    "sharegpt": {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
    "question": {"question": Q, "answer": A},
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_becomes_the_same_pair(name):
    assert not is_row(SHAPES[name])
    assert list(pairs(SHAPES[name])) == [Pair("en", (), Q, A, system=False)]


@pytest.mark.parametrize("text", [lambda r: "\n".join(map(json.dumps, r)), lambda r: json.dumps(r, indent=1)])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_lists_and_lines_are_told_by_their_content(tmp_path, text, suffix):
    path = tmp_path / f"train{suffix}"
    path.write_text(text([SHAPES["alpaca"], SHAPES["prompt"]]), encoding="utf-8")

    records, problems = read_records(path)

    assert ([r.data for r in records], problems) == ([SHAPES["alpaca"], SHAPES["prompt"]], [])


def test_an_element_of_a_list_has_its_line(tmp_path):
    path = tmp_path / "train.json"
    path.write_text('[\n {"a": 1},\n\n {"b":\n 2}, {"c": 3}\n]', encoding="utf-8")

    assert [r.where for r in read_records(path)[0]] == [f"{path}:2", f"{path}:4", f"{path}:5"]


def test_a_list_that_breaks_off_is_read_up_to_there(tmp_path):
    path = tmp_path / "train.json"
    path.write_text('[\n {"a": 1},\n {"b" 2}\n]', encoding="utf-8")

    records, [problem] = read_records(path)

    assert len(records) == 1 and problem.startswith(f"{path}:3: the list is not JSON from here on")


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"prompt": "a\u2028b", "completion": "c"}, ensure_ascii=False), encoding="utf-8")

    assert read_records(path)[0][0].data["prompt"] == "a\u2028b"


@pytest.mark.parametrize("header", ["question,answer", "Answer;Question", "问题\t答案", "\ufeffquestion,answer"])
def test_a_csv_is_read_by_its_header(tmp_path, header):
    path = tmp_path / "train.csv"
    mark = max(",;\t", key=header.count)
    cells = [A, f'"{Q}\nreally{mark}?"'] if header.startswith("A") else [f'"{Q}\nreally{mark}?"', A]
    path.write_text(f"{header}\n{mark.join(cells)}\n{mark}\n{mark.join(reversed(['x', 'y']))}\n", encoding="utf-8")

    records, problems = read_records(path)

    assert problems == []
    assert records[0].data == {"question": f"{Q}\nreally{mark}?", "answer": A}
    assert [r.where for r in records] == [f"{path}:2", f"{path}:5"]  # line 4 is empty


def test_a_csv_without_a_header_is_refused_with_its_first_line(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(f"{Q},{A}\n", encoding="utf-8")

    assert read_records(path) == (
        [], [f"{path}:1: the first line must name the columns, `question,answer`; it reads 'how long?,Three days.'."]
    )  # fmt: skip


def test_a_csv_line_with_a_comma_too_many_is_named(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("question,answer\na,b,c\nd,e\n", encoding="utf-8")

    records, [problem] = read_records(path)

    assert len(records) == 1
    assert problem.startswith(f"{path}:2: the line has 3 columns and the first has 2")


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes("问题,答案\n".encode() + "多久,三天".encode("gbk"))

    assert read_records(path) == ([], [f"{path}:2: the file is not UTF-8; save it as UTF-8."])


def test_a_conversation_gives_a_pair_for_every_answer():
    said = [
        ("system", "Be kind."),
        ("assistant", "Hello!"),
        ("user", Q),
        ("assistant", A),
        ("user", "现在呢"),
        ("gpt", "好"),
    ]

    found = list(pairs({"messages": [{"role": r, "content": c} for r, c in said]}))

    assert found[0] == Pair("en", (), Q, A, system=True)
    assert found[1] == Pair("zh", (Message("user", Q), Message("assistant", A)), "现在呢", "好", system=True)


def test_an_alpaca_input_and_history_are_kept():
    [_, found] = pairs({"instruction": Q, "input": "for a lamp", "output": A, "history": [["hi", "hello"]]})

    assert (found.text, found.history) == (f"{Q}\nfor a lamp", (Message("user", "hi"), Message("assistant", "hello")))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            {"conversations": [{"from": "tool", "value": "x"}]},
            "`from` is 'tool'; it must be one of system, user, human",
        ),
        ({"messages": [{"role": "user", "content": " "}]}, "`content` must be a text that is not empty"),
        ({"messages": [{"role": "user", "content": "x"}]}, "holds no answer to a question"),
        ({"messages": [{"role": "user", "content": "x"}] * 2}, "two messages of the role user follow each other"),
        ({"messages": "x"}, "the messages must be a list"),
        ({"messages": ["x"]}, "a message is an object with `role` and `content`"),
        ({"prompt": "x", "completion": None}, "`completion` must be a text"),
        ({"question": Q, "answer": A, "language": "fr"}, "`language` is 'fr'"),
        (
            {"instruction": Q, "output": A, "history": [[1, 2]]},
            "a turn of `history` is a list of two texts, not '[1, 2]'",
        ),
        ({"instruction": Q, "output": A, "history": ["ab"]}, "a turn of `history` is a list of two texts, not 'ab'"),
        (["x"], "a record is an object in braces"),
    ],
)
def test_a_broken_record_says_what_is_wrong(data, reason):
    with pytest.raises(ValueError) as caught:
        list(pairs(data))

    assert reason in str(caught.value)


def test_a_split_is_one_file(tmp_path):
    (tmp_path / "train.csv").touch()
    assert find_split(tmp_path, "train") == tmp_path / "train.csv"
    assert find_split(tmp_path, "valid") is None
    assert find_split(tmp_path / "train.csv", "train") == tmp_path / "train.csv"
    assert find_split(tmp_path / "train.csv", "valid") is None

    (tmp_path / "train.json").touch()
    with pytest.raises(DocumentError, match=r"train.json and train.csv; keep one"):
        find_split(tmp_path, "train")


def test_an_object_over_many_lines_is_one_problem(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"data": [SHAPES["alpaca"]]}, indent=1), encoding="utf-8")

    records, [problem] = read_records(path)

    assert records == [] and "is one object over many lines; write a list of records" in problem
