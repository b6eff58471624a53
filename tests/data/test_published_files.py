"""Files as other tools publish them, read without a hand-made conversion. Each is in its tool's own shape; the words are ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.core.templates import bundled_catalogue
from fieval_tasks.data.binding import bind
from fieval_tasks.data.dataset import Reading, read_dataset
from fieval_tasks.data.intake import items

SPIDER, ANT = "How many legs has a spider?", "How many legs has an ant?"
EIGHT, SIX = "A spider has eight legs.", "An ant has six legs."
BOTH = [(SPIDER, EIGHT), (ANT, SIX)]


@dataclass(frozen=True)
class Published:
    """A tool's files, and what one types to have their questions and answers."""

    files: Mapping[str, str | bytes]
    mapping: Mapping[str, str] = field(default_factory=dict)
    rows: str | None = None
    name: str | None = None
    """What is named; None: the folder."""
    says: str = ""
    """What is told of how it was read."""


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def parquet(*answers: tuple[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = pa.BufferOutputStream()
    questions, texts = zip(*answers, strict=True) if answers else ((), ())
    columns = {"question": pa.array(questions, pa.string()), "answer": pa.array(texts, pa.string())}
    pq.write_table(pa.table(columns), held)
    return bytes(held.getvalue())


PROMPTFOO_CONFIG = f"""\
# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
description: Legs
prompts:
  - 'Answer: {{{{question}}}}'
  - file://prompts/short.txt
providers:
  - id: openai:gpt-4o-mini
    config: {{temperature: 0.10}}
defaultTest:
  assert: &asserts
    - type: llm-rubric
      value: is short
tests:
  - description: yes
    vars:
      question: {SPIDER}
      reference: {EIGHT}
      count: 008
    assert: *asserts
  - vars: {{question: '{ANT}', reference: '{SIX}', count: ~}}
"""
PROMPTFOO_TESTS = f"""\
- vars:
    question: {SPIDER}
    answer: >-
      A spider has
      eight legs.
- vars:
    question: {ANT}
    answer: {SIX}
  assert:
    - type: contains
      value: six
"""
PROMPTFOO_OUTPUT = {
    "evalId": "eval-abc-2026-08-01T12:00:00",
    "results": {
        "version": 3,
        "timestamp": "2026-08-01T12:00:00.000Z",
        "prompts": [{"raw": "Answer: {{question}}", "label": "a", "provider": "openai:gpt-4o-mini", "metrics": {}}],
        "results": [
            {
                "promptIdx": 0,
                "testIdx": n,
                "testCase": {"vars": {"question": question}, "assert": [{"type": "contains", "value": "legs"}]},
                "vars": {"question": question},
                "response": {"output": answer, "tokenUsage": {"total": 30}, "cached": False},
                "success": True,
                "score": 1,
                "gradingResult": {"pass": True, "score": 1, "componentResults": []},
            }
            for n, (question, answer) in enumerate(BOTH)
        ],
        "stats": {"successes": 2, "failures": 0},
    },
    "config": {"description": "Legs", "tests": [{"vars": {"question": SPIDER}}, {"vars": {"question": ANT}}]},
    "shareableUrl": None,
}
RAGAS = [
    {
        "metric_input": {"user_input": question, "response": answer, "reference": answer},
        "metric_output": 1,
        "prompts": {
            "single_turn_aspect_critic_prompt": {
                "prompt_input": {"user_input": question, "response": answer},
                "prompt_output": {"reason": "It names the number.", "verdict": 1},
                "is_accepted": True,
                "edited_output": None,
            }
        },
        "is_accepted": True,
    }
    for question, answer in BOTH
]
LM_EVAL = [
    {
        "doc_id": n,
        "doc": {"question": question, "answer": f"#### {answer}"},
        "target": answer,
        "arguments": {"gen_args_0": {"arg_0": question, "arg_1": {"until": ["\n\n"], "do_sample": False}}},
        "resps": [[f" {answer}"]],
        "filtered_resps": [answer],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "doc_hash": "0" * 64,
        "exact_match": 1.0,
    }
    for n, (question, answer) in enumerate(BOTH)
]
BATCH = [
    {
        "id": f"batch_req_{n}",
        "custom_id": question,
        "response": {
            "status_code": 200,
            "request_id": f"req_{n}",
            "body": {
                "object": "chat.completion",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": answer, "refusal": None}}],
            },
        },
        "error": None,
    }
    for n, (question, answer) in enumerate(BOTH)
]
LANGFUSE = [
    {
        "id": f"obs-{n}",
        "timestamp": "2026-08-01T12:00:00.000Z",
        "name": "qa",
        "input": [{"role": "system", "content": "Be short."}, {"role": "user", "content": question}],
        "output": {"role": "assistant", "content": answer},
        "metadata": {"env": "prod"},
        "tags": ["a"],
    }
    for n, (question, answer) in enumerate(BOTH)
]


def langfuse_csv() -> str:
    cells = [[json.dumps(row["input"]), json.dumps(row["output"])] for row in LANGFUSE]
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]
    return "\n".join(['"input","output"', *quoted]) + "\n"


FILES: Mapping[str, Published] = {
    "promptfoo, tests in YAML": Published(
        {"tests.yaml": PROMPTFOO_TESTS}, {"input": "vars.question", "output": "vars.answer"}, name="tests.yaml"
    ),
    "promptfoo, its configuration": Published(
        {"promptfooconfig.yaml": PROMPTFOO_CONFIG},
        {"input": "vars.question", "output": "vars.reference"},
        rows="tests",
        name="promptfooconfig.yaml",
    ),
    "promptfoo, tests in CSV": Published(
        {
            "tests.csv": f'question,answer,__expected,__description\n{SPIDER},{EIGHT},"contains:eight",a\n{ANT},{SIX},,\n'
        },
        name="tests.csv",
    ),
    "promptfoo, its output": Published(
        {"output.json": json.dumps(PROMPTFOO_OUTPUT, indent=2)},
        {"input": "vars.question", "output": "response.output"},
        rows="results.results",
        name="output.json",
    ),
    "deepeval, goldens": Published(
        {
            "goldens.json": json.dumps(
                [
                    {
                        "input": question,
                        "actual_output": answer,
                        "expected_output": answer,
                        "retrieval_context": None,
                        "context": ["Spiders are arachnids."],
                        "name": None,
                        "source_file": None,
                    }
                    for question, answer in BOTH
                ],
                indent=4,
            )
        },
        name="goldens.json",
    ),
    "deepeval, a test run": Published(
        {
            ".latest_test_run.json": json.dumps(
                {
                    "testFile": "test_legs.py",
                    "testCases": [
                        {"name": f"t{n}", "input": question, "actualOutput": answer, "success": True, "metricsData": []}
                        for n, (question, answer) in enumerate(BOTH)
                    ],
                    "conversationalTestCases": [],
                    "metricsScores": [],
                }
            )
        },
        name=".latest_test_run.json",
        says="its rows are the list 'testCases'",
    ),
    "ragas, annotations": Published(
        {"annotated.json": json.dumps({"helpfulness": RAGAS})},
        {"input": "metric_input.user_input", "output": "metric_input.response"},
        name="annotated.json",
        says="its rows are the list 'helpfulness'",
    ),
    "ragas, a dataset": Published(
        {
            "dataset.jsonl": lines(
                *({"user_input": q, "retrieved_contexts": ["x"], "response": a, "reference": a} for q, a in BOTH)
            )
        },
        name="dataset.jsonl",
    ),
    "lm-eval, samples": Published(
        {"samples_legs_2026-08-01T12-00-00.123456.jsonl": lines(*LM_EVAL)},
        {"input": "arguments.gen_args_0.arg_0", "output": "filtered_resps[0]"},
        name="samples_legs_2026-08-01T12-00-00.123456.jsonl",
    ),
    "Hugging Face, a folder": Published(
        {
            "README.md": "---\nconfigs: []\n---\n",
            ".gitattributes": "*.parquet filter=lfs\n",
            "dataset_infos.json": "{}",
            "data/train-00000-of-00002.parquet": parquet(BOTH[0]),
            "data/train-00001-of-00002.parquet": parquet(BOTH[1]),
        },
        says="these are not read: README.md, dataset_infos.json",
    ),
    "Langfuse, JSONL": Published(
        {"export.jsonl": lines(*LANGFUSE)},
        {"input": "input[1].content", "output": "output.content"},
        name="export.jsonl",
    ),
    "Langfuse, CSV": Published(
        {"export.csv": langfuse_csv()}, {"input": "input[1].content", "output": "output.content"}, name="export.csv"
    ),
    "OpenAI, a batch": Published(
        {"batch_output.jsonl": lines(*BATCH)},
        {"input": "custom_id", "output": "response.body.choices[0].message.content"},
        name="batch_output.jsonl",
    ),
    "LangSmith, examples": Published(
        {
            "examples.jsonl": lines(
                *(
                    {"id": q, "inputs": {"question": q}, "outputs": {"answer": a}, "metadata": {"split": ["base"]}}
                    for q, a in BOTH
                )
            )
        },
        {"input": "inputs.question", "output": "outputs.answer"},
        name="examples.jsonl",
    ),
    "Spark, a folder": Published(
        {
            "_SUCCESS": "",
            "._SUCCESS.crc": b"crc\0",
            "part-00000-0a.c000.csv": f"question,answer\n{SPIDER},{EIGHT}\n",
            "part-00001-0a.c000.csv": "question,answer\n",
            "part-00002-0a.c000.csv": f"question,answer\n{ANT},{SIX}\n",
        },
        says="part-00001-0a.c000.csv (0)",
    ),
    "Spark, partitions": Published(
        {
            "_SUCCESS": "",
            "day=2026-08-01/part-00000.snappy.parquet": parquet(BOTH[0]),
            "day=2026-08-02/part-00000.snappy.parquet": parquet(BOTH[1]),
            "day=2026-08-03/part-00000.snappy.parquet": parquet(),
        },
    ),
}


def written(published: Published, folder: Path) -> str:
    for name, content in published.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / published.name if published.name else folder)


@pytest.mark.parametrize("tool", FILES)
def test_what_a_tool_publishes_is_read_as_it_is(tool: str, tmp_path: Path) -> None:
    published = FILES[tool]
    location = written(published, tmp_path)
    plan = EvaluationPlan(
        dataset=location, checks=(Check(template="completeness"),), mapping=dict(published.mapping), rows=published.rows
    )
    with read_dataset(location, Reading(rows=published.rows)) as dataset:
        found = list(items(dataset, bind(plan, dataset.columns, bundled_catalogue())))
    assert [(item.inputs["input"], item.inputs["output"]) for item, _ in found] == BOTH
    assert [failed for _, failed in found] == [None, None]
    assert published.says in "; ".join(dataset.notices)


@pytest.mark.parametrize(
    ("tool", "lists"),
    [
        ("promptfoo, its configuration", "providers (1), defaultTest.assert (1), tests (2)"),
        ("promptfoo, its output", "results.prompts (1), results.results (2), config.tests (2)"),
    ],
)
def test_of_several_lists_the_user_says_which(tool: str, lists: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as raised:
        read_dataset(written(FILES[tool], tmp_path))
    assert raised.value.problems[0].endswith(f"holds several lists of objects: {lists}; say which by --rows PATH")


def test_yaml_is_the_text_that_was_typed(tmp_path: Path) -> None:
    location = written(FILES["promptfoo, its configuration"], tmp_path)
    first, second = read_dataset(location, Reading(rows="tests")).rows()
    assert first.values["description"] == "yes"
    assert first.values["vars"]["count"] == "008"  # type: ignore[index]
    assert second.values["vars"]["count"] is None  # type: ignore[index]
    assert first.values["assert"] == [{"type": "llm-rubric", "value": "is short"}]


BOMB = "a: &a [x, x, x, x]\n" + "".join(f"{z}: &{z} [*{y}, *{y}, *{y}, *{y}, *{y}, *{y}, *{y}, *{y}]\n" for y, z in zip("abcdefghi", "bcdefghij"))  # noqa: B905  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\n\tb: 2\n", "line 2: found"),
        ("- a: 1\n  a: 2\n", "line 1: an object has 'a' more than once"),
        ("- a: !!python/object:os.system x\n", "line 1: tag:yaml.org,2002:python/object:os.system is no text"),
        ("- a: !!binary aGk=\n", "line 1: tag:yaml.org,2002:binary is no text"),
        ("- ? [a]\n  : b\n", "line 1: a name of an object is a list"),
        ("- a: &x [*x]\n", "line 1: *x stands for nothing that is complete"),
        ("[" * 100_000, "line 1: it is nested more than 200 levels deep"),
        (BOMB, "line 10: with its aliases written out it has more than"),
        ("- a: \x00\n", "unacceptable character"),
    ],
)
def test_yaml_that_has_no_exact_form_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(PlanError) as raised:
        read_dataset(str(tmp_path / "a.yaml"))
    assert raised.value.problems[0].startswith(f"a.yaml is not YAML that can be read: {told}")


def test_what_yaml_takes_over_is_there_and_its_own_goes_first(tmp_path: Path) -> None:
    text = (
        "base: &base {model: small, top: 1.10}\nrows:\n- <<: *base\n  model: large\n- {<<: [{model: x}, *base]}\n---\n"
    )
    (tmp_path / "a.yml").write_text(text.removesuffix("---\n"))
    rows = [dict(row.values) for row in read_dataset(str(tmp_path / "a.yml")).rows()]
    assert rows == [{"model": "large", "top": "1.10"}, {"model": "x", "top": "1.10"}]
