"""The programs of docs/native.md are built as they stand there, and answer as Python does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from samclip_edge import SamClip, data

NATIVE = Path(__file__).parents[1]
ROOT = NATIVE.parents[1]
BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", ROOT / "build" / "native"))
PHOTOS, AT = data.FOLDER / "photos", (200, 150)
NAMES = ["cat", "dog", "cup"]
COMPILERS = {"c": ["cc", "-std=c11"], "cpp": ["c++", "-std=c++17"]}


def cached(name: str) -> str:
    """A variable of the build's CMake cache; "" where it is not set."""
    found = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found[1] if found else ""


def block(language: str) -> str:
    """The first block of code in a language."""
    found = re.search(
        rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / "native.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load(data.PHOTO)


def program(language: str, folder: Path) -> Path:
    source, made, ort = folder / f"app.{language}", folder / "app", os.path.dirname(cached("onnxruntime_LIBRARY"))
    source.write_text(block(language))
    flags = ["-Wall", "-Wextra", "-Werror", f"-I{NATIVE / 'include'}", f"-L{BUILD}"]
    linked = ["-lsamclip_edge", f"-Wl,-rpath,{BUILD}", f"-Wl,-rpath-link,{ort}"]
    if sanitizers := cached("SAMCLIP_EDGE_SANITIZE"):
        flags.append(f"-fsanitize={sanitizers}")
    command: list[str | Path] = [*COMPILERS[language], *flags, source, "-o", made, *linked]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made


def ppm(name: str, folder: Path) -> Path:
    """A photo that ships, in the form that the programs read."""
    Image.open(PHOTOS / name).convert("RGB").save(folder / "photo.ppm")
    return folder / "photo.ppm"


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_program_of_the_page_names_what_is_under_a_click(language: str, tmp_path: Path, model: SamClip) -> None:
    made = program(language, tmp_path)
    for name, label in (("chelsea.jpg", "cat"), ("coffee.jpg", "cup"), ("astronaut.jpg", None)):
        scene = model.look(PHOTOS / name)
        (mask,) = scene.name(scene.segment([AT]), NAMES)
        assert mask.label == label
        words: list[str | Path] = [
            made,
            data.PHOTO,
            ppm(name, tmp_path),
            *map(str, AT),
            *(NAMES if language == "c" else []),
        ]
        done = subprocess.run(words, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        found = re.fullmatch(r"(.*), (\d+) pixels\n", done.stdout)
        assert found is not None
        assert found[1] == (label or "none of these")
        assert int(found[2]) == pytest.approx(mask.area, rel=0.002)


def test_the_program_in_c_tells_what_is_wrong(tmp_path: Path) -> None:
    words: list[str | Path] = [program("c", tmp_path), "nowhere", ppm("chelsea.jpg", tmp_path), "1", "1", "cat"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nowhere: no such bundle folder; ")
    assert done.stderr.count("\n") == 1


def test_the_program_in_c_is_the_example_and_short() -> None:
    assert block("c") == (NATIVE / "examples" / "click.c").read_text()
    assert block("c").count("\n") <= 30


def test_the_example_of_the_header_compiles(tmp_path: Path) -> None:
    """The comment that `samclip_edge.h` opens with: fifteen lines of C, after the two of includes."""
    text = (NATIVE / "include" / "samclip_edge.h").read_text()
    indented = re.search(r"^    #include.*?^    }$", text, re.MULTILINE | re.DOTALL)
    assert indented is not None
    example = re.sub(r"^    ", "", indented[0], flags=re.MULTILINE)
    assert len(example.strip().splitlines()) == 2 + 1 + 15  # and an empty one between
    source = tmp_path / "example.c"
    source.write_text(f"{example}\n")
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE / 'include'}", "-fsyntax-only", source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
