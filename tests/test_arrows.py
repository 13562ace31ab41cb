"""The rooms of DESIGN.md and the arrows between them."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = {"numpy", "cv2", "tokenizers", "pydantic", "typer", "rich"}
ROOMS = {  # folder: (third-party packages, rooms) that it may import
    "samclip_edge": (CORE, {"core"}),
    "samclip_edge/cli": (
        CORE | {"onnxruntime", "open_clip", "torch"},
        {"core", "model", "export", "runtimes", "train", "benchmarks"},
    ),
    "samclip_edge/model": (CORE | {"torch", "safetensors"}, {"core", "model"}),
    "runtimes": (CORE | {"onnxruntime", "coremltools", "torch", "PIL", "cuda"}, {"core", "runtimes"}),
    "export": (
        CORE | {"torch", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "open_clip", "coremltools"},
        {"core", "model", "runtimes", "export"},
    ),
    "train": (
        CORE | {"torch", "accelerate", "yaml", "matplotlib", "open_clip", "segment_anything"},
        {"core", "model", "train"},
    ),
    "benchmarks": (
        CORE | {"matplotlib", "onnx", "onnxruntime", "pycocotools", "segment_anything", "torch"},
        {"core", "model", "runtimes", "export", "train", "benchmarks"},
    ),
}
FILES = [(folder, path) for folder in ROOMS for path in sorted((ROOT / folder).glob("*.py"))]


def imports(tree: ast.AST) -> list[str]:
    """Every module that a file imports anywhere, but for types alone."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a room is named"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        found += imports(node)
    return found


@pytest.mark.parametrize(("folder", "path"), FILES, ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_a_file_imports_only_what_its_room_may(folder: str, path: Path) -> None:
    packages, rooms = ROOMS[folder]
    for module in imports(ast.parse(path.read_text())):
        first, *rest = module.split(".")
        if first == "samclip_edge":
            room = (
                rest[0] if rest and rest[0] in ("model", "runtimes", "export", "train", "benchmarks", "cli") else "core"
            )
            assert room in rooms or folder.endswith(room), f"{path} imports {module}"
        else:
            assert first in packages or first in sys.stdlib_module_names, f"{path} imports {module}"


def test_every_room_of_the_repository_is_held() -> None:
    packages = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/**/__init__.py")}
    assert {p for p in packages if not p.startswith((".venv", "build", "tests", "samclip_edge/data"))} == set(ROOMS)


def fresh(code: str) -> str:
    """What a fresh interpreter, far from the checkout, prints."""
    ran = subprocess.run([sys.executable, "-c", code], check=True, cwd="/", capture_output=True, text=True)
    return ran.stdout


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("samclip_edge.cli", ("torch", "cv2", "onnxruntime", "numpy", "pydantic", "tokenizers")),
        ("samclip_edge.pipeline", ("torch", "onnxruntime", "onnx", "samclip_edge.runtimes", "samclip_edge.model")),
        ("samclip_edge.bundle.verify", ("torch", "onnxruntime", "samclip_edge.export")),
        ("samclip_edge.runtimes.onnxruntime", ("torch", "onnx", "samclip_edge.export", "samclip_edge.model")),
    ],
)
def test_importing_a_room_loads_nothing_it_should_not(module: str, absent: tuple[str, ...]) -> None:
    loaded = fresh(f"import sys, {module}; print(*sys.modules)").split()
    assert module in loaded
    assert not set(absent) & set(loaded)


def test_help_answers_without_anything_heavy() -> None:
    code = (
        "import sys, samclip_edge.cli as c\nsys.argv = ['samclip-edge', '--help']\n"
        "try: c.main()\nexcept SystemExit: print('LOADED', *sys.modules)"
    )
    out, loaded = fresh(code).split("LOADED")
    assert "segment" in out
    assert not {"torch", "cv2", "onnxruntime"} & set(loaded.split())


def test_help_answers_in_under_half_a_second() -> None:
    """The one wall-clock promise of the design; the best of three, to measure the program and not the machine."""
    command = [Path(sys.executable).with_name("samclip-edge"), "--help"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("torch", ["init", "--preset", "tiny", "-o", "x.safetensors"], "export"),
        ("torch", ["export", "--model", "x.safetensors", "-o", "x"], "export"),
        ("open_clip", ["init", "--clip", "ViT-L-14:some_tag", "-o", "x.safetensors"], "train"),
    ],
)
def test_a_verb_whose_extra_is_missing_says_which(
    tmp_path: Path, missing: str, arguments: list[str], extra: str
) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import samclip_edge.cli; samclip_edge.cli.main()"
    ran = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"error: this needs {missing}, which is not installed; pip install 'samclip-edge[{extra}]'\n"
    assert not list(tmp_path.iterdir())
