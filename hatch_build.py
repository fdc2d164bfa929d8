"""What a build does beyond copying: the dashboard's page is built (hatch_ui.py), and in a wheel the modules of the data
path are compiled by mypyc, as they stand.

`BROKER_BUILD` says whether: `compiled`, or the build fails; `plain`; or `auto`, the default, which builds plain, with
one line that names the fix, where it cannot compile. An editable install is always plain, as its source would otherwise
change without the extension modules that hide it.

Whoever names a level of optimisation in CFLAGS gets that one: with `-O1` compiling takes half as long, and a message
six instructions more in a hundred.

Compiling happens in a temporary folder and on a copy. So nothing is left in the tree, and setuptools, which mypyc works
through, does not see our pyproject.toml, whose licence it may be too old to understand. Where `BROKER_BUILD_CACHE`
names a folder, the extension modules are kept there, and taken from there when the C that mypyc writes is the same.

The build runs this file a second time, as a program in that folder: mypyc and setuptools print and exit as they like.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Compiled together, so that a call from one to another is a call in C.
COMPILED: Final = (
    "broker/packets/*.py",
    "broker/websocket/frames.py",
    "broker/websocket/mask.py",
    "broker/websocket/upgrade.py",
    "broker/core/*.py",
    "broker/transport/admission.py",
    "broker/transport/layers.py",
    "broker/transport/link.py",
    "broker/transport/listeners.py",
    "broker/transport/pump.py",
    "broker/transport/ticker.py",
    "broker/store/batches.py",
    "broker/store/clock.py",
    "broker/store/load.py",
    "broker/store/reading.py",
    "broker/store/records.py",
    "broker/store/state.py",
    "broker/store/store.py",
    "broker/bench/histogram.py",
    "broker/bench/engine/*.py",
)
NOT_COMPILED: Final = ("broker/core/grants.py",)  # kinds of permission subclass Grant, which may be a program's own
# A minor version of mypy is a version of the compiler: the next one is taken when the tests have passed with it.
REQUIREMENTS: Final = ["mypy[mypyc]==2.4.*"]
CHOICES: Final = ("auto", "compiled", "plain")
EXTENSION: Final = str(sysconfig.get_config_var("EXT_SUFFIX"))

# Third-party packages are not there when a wheel is built, and what comes from them is `Any` then. Of ours all must be.
MYPY_SETTINGS: Final = """\
[mypy]
ignore_missing_imports = true
[mypy-broker.*]
ignore_missing_imports = false
"""
# Nothing but the modules' own entry points is seen from outside, so a call within the library goes straight there.
COMPILER_FLAGS: Final = ["-fvisibility=hidden"]
LINK_TIME_FLAGS: Final = ["-O3", "-flto=auto"]  # inlines across the modules' C files, where compiler and linker can


class CompiledBuild(BuildHookInterface[Any]):
    """The hook: hatchling asks it for its requirements, in a process of its own, and then to do its part of a build."""

    def dependencies(self) -> list[str]:
        compiles = self.target_name == "wheel" and self._choice() != "plain" and missing() is None
        try:
            node = page().requirements(Path(self.root))
        except page().CannotBuild as problem:
            self.app.abort(str(problem))
        return [*(REQUIREMENTS if compiles else []), *node]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._build_page()
        if self.target_name != "wheel":
            return
        choice = self._choice()
        if choice == "plain" or version == "editable":
            return
        problem = missing()
        if problem is None:
            folder = TemporaryDirectory(prefix="triomq-")
            output = compile_copy(Path(self.root), Path(folder.name))
            if output is None:
                self._take(folder, build_data)
                return
            folder.cleanup()
            problem = "the compiler failed; BROKER_BUILD=compiled makes the build stop and show why."
            if choice == "compiled":
                problem = f"the compiler failed.\n{output}"
        if choice == "compiled":
            self.app.abort(f"TrioMQ cannot be compiled: {problem}")
        self.app.display_warning(f"TrioMQ is built plain, not compiled, and works, but slower: {problem}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _build_page(self) -> None:
        ui = page()
        choice = None
        try:
            choice = ui.choice()
            if choice != "skip":
                ui.build(Path(self.root))
        except ui.CannotBuild as problem:
            if choice is None:
                self.app.abort(str(problem))
            if choice == "require":
                self.app.abort(f"The dashboard cannot be built: {problem}")
            reason = str(problem).splitlines()[0]
            self.app.display_warning(f"TrioMQ is built without its dashboard: {reason} BROKER_UI=require shows why.")

    def _take(self, folder: TemporaryDirectory[str], build_data: dict[str, Any]) -> None:
        """Have the extension modules in `folder` put into the wheel, each beside its source."""
        self._folder = folder
        for path in built(Path(folder.name)):
            build_data["force_include"][str(folder.name / path)] = path.as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def _choice(self) -> str:
        choice = os.environ.get("BROKER_BUILD") or "auto"
        if choice not in CHOICES:
            self.app.abort(f"BROKER_BUILD is '{choice}'; it may be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}.")
        return choice


def page() -> Any:
    """The module beside this one; hatchling runs this file by its path, from wherever it was started."""
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module("hatch_ui")


def modules(root: Path) -> list[str]:
    """What is compiled, as paths below `root`. A package's `__init__.py` has nothing in it that takes time."""
    found = (path for pattern in COMPILED for path in root.glob(pattern) if path.name != "__init__.py")
    return sorted({path.relative_to(root).as_posix() for path in found} - set(NOT_COMPILED))


def compiler() -> str:
    """The command of the C compiler: what CC says, else what this Python was built with, else `cc`."""
    for words in (os.environ.get("CC"), sysconfig.get_config_var("CC")):
        if words and (os.environ.get("CC") == words or shutil.which(shlex.split(words)[0])):
            return str(words)
    return "cc"


def missing() -> str | None:
    """What compiling lacks on this machine and how to get it; None where nothing is known to be missing."""
    if sys.implementation.name != "cpython":
        return f"mypyc compiles for CPython and this is {sys.implementation.name}."
    command = shlex.split(compiler())[0]
    if shutil.which(command) is None:
        return f"there is no C compiler '{command}'. Install one (Debian: apt install gcc python3-dev) and build again."
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        return f"there is no {header}. Install Python's headers (Debian: apt install python3-dev) and build again."
    return None


def compile_copy(root: Path, folder: Path) -> str | None:
    """Compile in `folder` what `root` has; what the compilers wrote where that failed, or None."""
    shutil.copytree(root / "broker", folder / "broker", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (folder / "broker/__init__.py").write_text("")  # it imports the server, and so would have mypy read all there is
    (folder / "mypy.ini").write_text(MYPY_SETTINGS)
    environment = {**os.environ, "CC": compiler()}
    environment.pop("MYPYPATH", None)
    done = subprocess.run(
        [sys.executable, root / "hatch_build.py", *modules(root)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode else None


def compile_here(paths: list[str]) -> None:
    """In the working folder, which is a copy, put the extension modules beside the modules in `paths`."""
    from mypyc.build import mypycify
    from setuptools import setup

    extensions = mypycify(["--config-file=mypy.ini", *paths], debug_level="0", multi_file=True, group_name="triomq")
    flags = [*COMPILER_FLAGS, *(wanted_level() or (LINK_TIME_FLAGS if can_link_with(LINK_TIME_FLAGS) else []))]
    extensions[0].extra_compile_args += flags  # the library; the others only fetch a module out of it
    extensions[0].extra_link_args += flags

    cache = os.environ.get("BROKER_BUILD_CACHE")
    kept = Path(cache, fingerprint(flags)) if cache else None
    if kept is not None and kept.exists():
        shutil.copytree(kept, ".", dirs_exist_ok=True)
        return
    setup(script_args=["--quiet", "build_ext", "--inplace"], packages=[], ext_modules=extensions, cmdclass=commands())
    if kept is not None:
        keep(kept)


def keep(folder: Path) -> None:
    """Put the extension modules into `folder`, and take away what other folders beside it have of builds before."""
    shutil.rmtree(folder.parent, ignore_errors=True)
    for path in built(Path()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, folder / path)


def built(folder: Path) -> list[Path]:
    """The extension modules in the working folder, relative to it; the library that the others fetch from is first."""
    found = [*folder.glob(f"*{EXTENSION}"), *folder.joinpath("broker").rglob(f"*{EXTENSION}")]
    return [path.relative_to(folder) for path in found]


def commands() -> dict[str, Any]:
    """A `build_ext` that gives each core a C file; setuptools' own takes one after the other within a library."""
    from setuptools.command.build_ext import build_ext

    cores = os.cpu_count() or 1

    class ParallelBuild(build_ext):  # type: ignore[misc]  # setuptools has no types
        def finalize_options(self) -> None:
            super().finalize_options()
            self.parallel = cores

        def build_extensions(self) -> None:
            compile_in_turn = self.compiler.compile

            def compile_side_by_side(sources: list[str], output_dir: str, **options: Any) -> list[str]:
                for source in sources:  # or two of them make the same folder at once
                    Path(output_dir, source.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                with ThreadPoolExecutor(cores) as pool:
                    one = pool.map(lambda source: compile_in_turn([source], output_dir, **options), sources)
                    return [object_file for objects in one for object_file in objects]

            self.compiler.compile = compile_side_by_side
            super().build_extensions()

    return {"build_ext": ParallelBuild}


def wanted_level() -> list[str]:
    """The level of optimisation that CFLAGS names, if it does; mypyc's own flags would come after it."""
    return [word for word in shlex.split(os.environ.get("CFLAGS", "")) if word.startswith("-O")][-1:]


def can_link_with(flags: list[str]) -> bool:
    """Whether compiler and linker make a library with `flags`."""
    Path("probe.c").write_text("int probe(void) { return 0; }\n")
    words = [*shlex.split(compiler()), *flags, "-fPIC", "-shared", "probe.c", "-o", "probe.so"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def fingerprint(flags: list[str]) -> str:
    """Of all that the extension modules are made from."""
    made_with = [
        sys.version,
        sysconfig.get_platform(),
        version_of("mypy"),
        compiler(),
        *flags,
        os.environ.get("CFLAGS"),
    ]
    digest = hashlib.sha256(repr(made_with).encode())
    for path in sorted(Path("build").rglob("*.[ch]")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    compile_here(sys.argv[1:])
