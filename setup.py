"""What pyproject.toml cannot say: the extension, the stage that is linked beside it, and where packages lie."""

from __future__ import annotations

import os
import runpy

from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext

STAGE = os.path.join("nsjail_py", "_stage")


class BuildExtAndStage(build_ext):
    """Build the extension, then the stage: a freestanding executable that no setuptools command knows of.

    It is an output of `build_ext` like the extension itself, so that wheels, lenient and strict editable
    installs and `--inplace` treat it alike.
    """

    def run(self) -> None:
        super().run()
        target = os.path.join(self.build_lib, STAGE)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        runpy.run_path(os.path.join("cffi_build", "build_stage.py"))["build"](target)
        if self.inplace:
            self.copy_file(target, STAGE)  # type: ignore[no-untyped-call, unused-ignore]

    def get_outputs(self) -> list[str]:
        return sorted({*super().get_outputs(), os.path.join(self.build_lib, STAGE)})

    def get_output_mapping(self) -> dict[str, str]:
        mapping = super().get_output_mapping()
        return {**mapping, os.path.join(self.build_lib, STAGE): STAGE} if self.inplace else mapping


setup(
    packages=find_packages(include=["nsjail_py", "nsjail_py.*"])
    + find_packages("plugins", include=["nsjail_py_plugins", "nsjail_py_plugins.*"]),
    package_dir={"nsjail_py_plugins": "plugins/nsjail_py_plugins"},
    package_data={"*": ["py.typed", "*.pyi"], "nsjail_py": ["profiles/*.toml"]},
    include_package_data=False,
    # A console entry point written by an older pip imports `re`, and an editable one far more: 6 ms of a cold start.
    scripts=["nsjail_py/cli/nsjail-py"],
    cffi_modules=["cffi_build/build_native.py:ffibuilder"],
    cmdclass={"build_ext": BuildExtAndStage},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    zip_safe=False,
)
