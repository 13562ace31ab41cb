"""The rooms of CONTRIBUTING.md and the arrows between them. Imports for types and inside functions count too."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rooms import ROOMS

ROOT = Path(__file__).parent.parent
FOLDERS = ("runtimes", "export", "train", "benchmarks")  # which are one package with samclip_edge/


def module_of(path: Path) -> str:
    """The name by which a file of ours is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("samclip_edge", *parts) if parts[0] in FOLDERS else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


OTHERS = {
    ROOT / "runtimes" / name for name in ("native", "android", "web")
}  # C++, Java and TypeScript, and scripts to test them
PATHS = [
    p for top in ("samclip_edge", *FOLDERS) for p in sorted((ROOT / top).rglob("*.py")) if not OTHERS & {*p.parents}
]
FILES = {module_of(path): path for path in PATHS}
# What names a module in a string, to import it when it is asked for: runtimes, and the old names of what moved.
BY_NAME = {"samclip_edge.bundle.sessions", "samclip_edge.bundle.verify", "samclip_edge.moved"}
# And what names packages of others: NVIDIA's modules, Pillow's plugins, and those of ONNX Runtime.
BY_NAME |= {"samclip_edge.runtimes.tensorrt.library", "samclip_edge.photo.decode", "samclip_edge.runtimes.plugins"}
# And what names the file of a kind of image encoder.
BY_NAME |= {"samclip_edge.model.image_encoder", "samclip_edge.export.forms.encoders"}


def room_of(path: Path) -> str:
    """The smallest room that a file lies in."""
    inside = path.relative_to(ROOT).with_suffix("")
    return next(place.as_posix() for place in (inside, *inside.parents) if place.as_posix() in ROOMS)


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere: of ours by the file that it is, of others by its first name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a room is named"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in FILES else str(node.module) for name in inside]
            ours = node.module == "samclip_edge"
            assert not ours or {"__version__", *FILES} >= {
                a if a == "__version__" else f"samclip_edge.{a}" for a in (alias.name for alias in node.names)
            }, f"{path}: names of the package are for apps; import the module"
        else:
            continue
        for name in names:
            assert name in FILES or not name.startswith("samclip_edge"), f"{path} imports {name}, which is no file"
        found |= {name if name in FILES else name.partition(".")[0] for name in names}
    return found


IMPORTS = {module: imports(path) for module, path in FILES.items()}


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_only_what_its_room_may(module: str) -> None:
    room = room_of(FILES[module])
    packages, rooms = ROOMS[room]
    for imported in IMPORTS[module]:
        if imported in FILES:
            assert room_of(FILES[imported]) in rooms | {room}, f"{module} imports {imported}"
        else:
            assert imported in packages or imported in sys.stdlib_module_names, f"{module} imports {imported}"


def test_every_room_of_the_repository_is_held() -> None:
    """Every folder with code lies in a room, and goes into the wheel."""
    folders = {path.parent for path in FILES.values()}
    found = {path.parent for path in ROOT.glob("*/**/__init__.py") if path.relative_to(ROOT).parts[0] != "tests"}
    assert {f for f in found if not f.relative_to(ROOT).parts[0].startswith((".", "build", "demo"))} == folders
    packages = re.findall(r'^    "(samclip_edge[.\w]*)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert sorted(packages) == sorted(module_of(folder / "__init__.py") for folder in folders)


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """A way that leads back to where it began; empty where there is none."""
    done: set[str] = set()

    def search(way: list[str]) -> list[str]:
        for place in sorted(arrows[way[-1]] & arrows.keys()):
            if place in way:
                return [*way[way.index(place) :], place]
            if place not in done and (found := search([*way, place])):
                return found
        done.add(way[-1])
        return []

    return next(filter(None, (search([start]) for start in arrows if start not in done)), [])


def test_circles_are_found() -> None:
    assert circle({"a": {"b", "x"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"a"}}) == ["a", "a"]


def test_no_circle_of_files_nor_of_rooms() -> None:
    assert circle(IMPORTS) == []
    rooms: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module, imported in IMPORTS.items():
        own = room_of(FILES[module])
        rooms[own] |= {room_of(FILES[each]) for each in imported if each in FILES} - {own}
    assert circle(rooms) == []


def test_no_file_imports_ours_for_types_alone() -> None:
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                assert "samclip_edge" not in ast.unparse(node), f"{module} hides an import from the arrows"


def test_no_file_imports_ours_by_a_name_in_a_string() -> None:
    for module in FILES.keys() - BY_NAME:
        for node in ast.walk(ast.parse(FILES[module].read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                assert module == "samclip_edge", f"{module}:{node.lineno} hides an import from the arrows"


def test_the_stub_of_the_package_says_what_the_package_does() -> None:
    stub = ast.parse((ROOT / "samclip_edge" / "__init__.pyi").read_text())
    told = {a.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    package = ast.parse(FILES["samclip_edge"].read_text())
    (homes,) = (n.value for n in package.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "_HOME")
    assert told == {name: f"samclip_edge.{home}" for name, home in ast.literal_eval(homes).items()}


def test_a_folder_says_what_may_live_in_it() -> None:
    for folder in {path.parent for path in FILES.values()}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), f"{folder} has no docstring"
    for folder in (ROOT / "tests", ROOT / "docs", ROOT / "train" / "recipes"):
        assert (folder / "README.md").is_file(), f"{folder} has no README"
    told = (ROOT / "tests" / "README.md").read_text()
    for folder in {path.parent for path in (ROOT / "tests").glob("*/*.py")}:
        assert f"`{folder.name}/`" in told, f"tests/README.md does not name {folder.name}"


def test_files_and_functions_can_be_held_in_the_head() -> None:
    for path in (*FILES.values(), *(ROOT / "tests").rglob("*.py")):
        text = path.read_text()
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"


def test_private_attributes_stay_inside() -> None:
    """A name with an underscore is read from `self` or `cls`, or is torch's or a named tuple's; none is imported."""
    theirs = {"_replace", "_asdict", "_modules", "_parameters", "_is_avx512_bf16_supported"}
    theirs |= {"_native_batch_norm_legit_no_training"}
    for path in (*FILES.values(), *(ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and str(node.module).startswith("samclip_edge")
                and path in FILES.values()
            ):
                assert not any(alias.name.startswith("_") and alias.name != "__version__" for alias in node.names), path
            private = isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__")
            if private and node.attr not in theirs:
                assert ast.unparse(node.value) in ("self", "cls"), f"{path}:{node.lineno}: {ast.unparse(node)}"


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
        ("open_clip", ["init", "--clip", "ViT-L-14:some_tag", "-o", "x.safetensors"], "export"),
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
