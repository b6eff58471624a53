"""Plans in files: read exactly as they are written, refused by line, and laid under what is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from fieval_tasks.core.command_lines import NAMES
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.data.parameters import AsTyped
from fieval_tasks.data.plan_file import ALIASES, read_plan_file
from fieval_tasks.data.plan_schema import as_json, plan_schema
from flows.cli.plan_options import plan_of

ROOT = Path(__file__).parents[2]
AS_YAML = """
dataset: [answers.csv, s3://bucket/more.csv]
checks:
  - groundedness:turing_small
  - refund=contains
  - {template: tone, name: mood, params: {threshold: 0.10, words: [a, b]}}
model: turing_flash
map: {output: answer}
gate: groundedness.pass_rate >= 0.95
price: {turing_flash: 0.10}
max-cost: 12
limit: 100
item_timeout: 10m
sharing: false
"""
AS_TOML = """
dataset = ["answers.csv", "s3://bucket/more.csv"]
checks = ["groundedness:turing_small", "refund=contains",
          {template = "tone", name = "mood", params = {threshold = "0.10", words = ["a", "b"]}}]
model = "turing_flash"
map = {output = "answer"}
gate = "groundedness.pass_rate >= 0.95"
price = {turing_flash = 0.1}
max-cost = 12
limit = 100
item_timeout = "10m"
sharing = false
"""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(text: str, name: str = "p.yaml", *dataset: str, **said: Any) -> EvaluationPlan:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return plan_of(dataset, {"plan": name, **said})


def problems(text: str, name: str = "p.yaml", **said: Any) -> list[str]:
    with pytest.raises(PlanError) as refusal:
        plan(text, name, **said)
    return list(refusal.value.problems)


@pytest.mark.parametrize(("name", "text"), [("p.yaml", AS_YAML), ("p.toml", AS_TOML)])
def test_yaml_and_toml_say_the_same(name: str, text: str) -> None:
    found = plan(text, name)
    assert found.checks == (
        Check(template="groundedness", model="turing_small"),
        Check(template="contains", name="refund", model="turing_flash"),
        Check(template="tone", name="mood", model="turing_flash", params={"threshold": "0.10", "words": ["a", "b"]}),
    )
    assert isinstance(found.checks[2].params["threshold"], AsTyped), "its parameter's type decides how it is read"
    assert found.dataset == "answers.csv\ns3://bucket/more.csv"
    assert (found.mapping, found.gates) == ({"output": "answer"}, ("groundedness.pass_rate >= 0.95",))
    assert (found.max_cost, found.limit, found.item_timeout, found.sharing) == ("12", 100, 600.0, False)
    assert found.prices["turing_flash"] in ("0.10", "0.1"), "no float"


def test_paths_are_relative_to_the_file_and_urls_and_standard_input_are_left_alone() -> None:
    text = "dataset: '{}'\noutput: out\nstore: sqlite:///l.db\ntemplate: tone\n"
    found = plan(text.format("../d/*.csv"), "plans/p.yaml")
    assert (found.dataset, found.output, found.store) == ("plans/../d/*.csv", "plans/out", "sqlite:///l.db")
    for same in ("-", "/abs/d.csv", "~/d.csv", "https://host/d.csv"):
        assert plan(text.format(same), "plans/p.yaml").dataset == same


@pytest.mark.parametrize(
    ("named", "meant"),
    [("base.json", "plans/base.json"), ("../b/base", "plans/../b/base"), ("blessed", "blessed"), ("run-7", "run-7")],
)
def test_a_baseline_that_is_a_file_is_relative_too(named: str, meant: str) -> None:
    assert plan(f"baseline: {named}\ntemplate: tone\n", "plans/p.yaml").baseline == meant


def test_what_is_typed_goes_before_the_file() -> None:
    found = plan(
        AS_YAML, "p.yaml", "typed.csv",
        limit="7", mapping=["input=q", "output=reply"], prices=["turing_small=3"], gates=["failures <= 1"],
    )  # fmt: skip
    assert (found.dataset, found.limit, found.gates) == ("typed.csv", 7, ("failures <= 1",))
    assert found.mapping == {"output": "reply", "input": "q"}, "columns name by name"
    assert found.prices == {"turing_flash": "0.10", "turing_small": "3"}
    judged = plan(AS_YAML, model="turing_large", params=["mood.threshold=0.9"])
    assert [check.model for check in judged.checks] == ["turing_small", "turing_large", "turing_large"]
    assert judged.checks[2].params == {"threshold": "0.9", "words": ["a", "b"]}
    other = plan(AS_YAML, checks=[Check(template="completeness")])
    assert other.checks == (Check(template="completeness", model="turing_flash"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gats: [a]", "p.yaml, line 1: gats: there is no such field; did you mean 'gates'?"),
        ("dataset: a\n\nlimit: many", "p.yaml, line 3: limit: write a whole number"),
        ("max_items: 0", "p.yaml, line 1: max_items: write 1 or more"),
        ("max_cost: 5$", "p.yaml, line 1: max_cost: '5$' is not an amount: write a number such as 0.002"),
        ("price: {m: cheap}", "p.yaml, line 1: prices.m: 'cheap' is not an amount"),
        ("checks:\n- {template: tone, modle: x}", "p.yaml, line 2: checks.0: there is no field 'modle', did you mean model?"),
        ("checks:\n- tone\n- {name: x}", "p.yaml, line 3: checks.1.template: it is needed"),
        ("checks:\n- [tone]", "p.yaml, line 2: checks.0: write a template's name"),
        ("api_key: abc", "p.yaml, line 1: api_key: keys don't belong into a plan; set FI_API_KEY and FI_SECRET_KEY"),
        ("dataset: [{answer: a}]", "rows do not travel in parameters"),
        ("dataset: https://user:pw@host/d.csv", "a URL with a password or a signature would show"),
        ("id: a\nid_column: b", "p.yaml, line 2: id_column: id says the same; leave one of them out"),
        ("limit: 1\nlimit: 2", "an object has 'limit' more than once"),
        ("- a", "write one object of fields"),
        ("", "write one object of fields"),
        ("limit: [1", "it is no YAML that can be read: line 2"),
        ("run: !!python/object/apply:os.system [ls]", "is no text, list or object"),
    ],
)  # fmt: skip
def test_what_will_not_do_is_refused_with_its_place_and_the_next_step(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(text)), problems(text)


def test_toml_names_the_key_and_its_own_faults_the_line() -> None:
    assert problems('limit = "many"', "p.toml") == ["p.toml: limit: write a whole number"]
    [problem] = problems('a = 1\nb = ["x\nc = 1', "p.toml")
    assert "it is no TOML that can be read" in problem
    assert "line 2" in problem
    assert problems(f"a = {'[' * 9_000}", "p.toml") == ["--plan p.toml: it is nested too deeply to be a plan"]


def test_a_fault_that_was_typed_is_an_options_and_not_the_files() -> None:
    assert problems("limit: 5", sample="many") == ["--sample: write a whole number"]
    assert problems("limit: many", limit="lots") == ["--limit: write a whole number"]


def test_what_is_no_plan_is_said(tmp_path: Path) -> None:
    for name, said in {"missing.yaml": "No such file", ".": "Is a directory"}.items():
        with pytest.raises(PlanError, match=said):
            read_plan_file(name)
    (tmp_path / "d.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="no text in UTF-8"):
        read_plan_file("d.bin")
    (tmp_path / "large.yaml").write_text("x" * 1_000_001)
    with pytest.raises(PlanError, match="has more than 1,000,000 characters"):
        read_plan_file("large.yaml")


def test_every_options_name_is_a_name_in_a_file() -> None:
    as_typed = {option.removeprefix("--"): field for field, option in NAMES.items() if field != "dataset"}
    assert as_typed.items() <= ALIASES.items()


# -- the schema -----------------------------------------------------------------------------------------------------------


def test_the_schema_in_the_docs_is_the_one_that_the_fields_make() -> None:
    kept = (ROOT / "docs" / "plan.schema.json").read_text(encoding="utf-8")
    assert kept == as_json(), "python -m fieval_tasks.plan > docs/plan.schema.json"


def test_the_schema_knows_every_field_and_refuses_others() -> None:
    schema = plan_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"].keys() >= EvaluationPlan.model_fields.keys() | ALIASES.keys()
    with pytest.raises(jsonschema.ValidationError, match="gats"):
        jsonschema.validate({"gats": []}, schema)


@pytest.mark.parametrize("text", [AS_YAML, (ROOT / "docs" / "examples" / "plan.yaml").read_text(encoding="utf-8")])
def test_the_schema_takes_what_a_plan_file_may_say(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), plan_schema())


def test_the_example_is_a_plan_and_names_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = plan_of((), {"plan": "docs/examples/plan.yaml"})
    assert found.dataset == "docs/examples/answers.csv"
    assert Path(found.dataset).is_file()
    assert found.prices == {"turing_flash": "0.002", "turing_small": "0.004"}
    [modeline, *_] = Path("docs/examples/plan.yaml").read_text(encoding="utf-8").splitlines()
    assert (Path("docs/examples") / modeline.partition("$schema=")[2]).resolve() == ROOT / "docs" / "plan.schema.json"
    assert json.loads(as_json())["title"] == "Plan of an evaluation"
