"""A step of a GitHub workflow as its runner makes it: the files that it is told of, and what the runner reads of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunnerFiles:
    """The files of one step, in a folder."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        for file in (self.summary, self.output):
            file.touch()
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/answers",
            "GITHUB_RUN_ID": "7",
        }

    @property
    def summary(self) -> Path:
        return self.folder / "step-summary.md"

    @property
    def output(self) -> Path:
        return self.folder / "step-output.txt"

    def outputs(self) -> dict[str, str]:
        """As the runner reads them: `name=value` on a line, or all lines up to the word behind `name<<`."""
        found, lines = dict[str, str](), iter(self.output.read_text(encoding="utf-8").splitlines())
        for line in lines:
            name, mark, rest = line.partition("<<")
            if mark and "=" not in name:
                value = list[str]()
                while (part := next(lines)) != rest:
                    value.append(part)
                found[name] = "\n".join(value)
            else:
                name, _, found[name] = line.partition("=")
        return found
