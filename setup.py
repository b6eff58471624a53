"""What pyproject.toml can't say: a wheel carries prefect.yaml, which lies in the root for `prefect deploy`, in deployments/."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithPrefectFile(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_file("prefect.yaml", str(Path(self.build_lib, "deployments")))


setup(cmdclass={"build_py": WithPrefectFile})
