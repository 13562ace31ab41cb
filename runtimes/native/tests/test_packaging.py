"""What is installed: two Debian packages, and apps that are built against them."""

import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[1]
BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", NATIVE.parents[1] / "build" / "native"))

APP = """
#include <samclip_edge.h>
#include <stdio.h>
int main(void) {
    samclip_model *model;
    printf("%s %d", samclip_version_text(), samclip_load("no such folder", NULL, &model));
    return 0;
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.22)
project(app C CXX)
find_package(samclip_edge {version} REQUIRED COMPONENTS static)
foreach(library samclip_edge samclip_edge_static)
    add_executable(with_${{library}} app.c)
    target_link_libraries(with_${{library}} PRIVATE samclip_edge::${{library}})
endforeach()
"""


def said(*command: object, **environment: str) -> str:
    """Run a command; what it wrote on stdout."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cached(name: str) -> str:
    """A variable of the build's CMake cache; "" where it is not set."""
    found = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found[1] if found else ""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if cached("SAMCLIP_EDGE_SANITIZE"):
        pytest.skip("a sanitizer's library wants apps that are built with it too")
    folder = tmp_path_factory.mktemp("packages")
    said("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", folder)
    return {said("dpkg-deb", "--field", file, "Package").strip(): file for file in folder.glob("*.deb")}


@pytest.fixture(scope="module")
def root(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which both packages are unpacked."""
    folder = tmp_path_factory.mktemp("root")
    for file in packages.values():
        said("dpkg-deb", "--extract", file, folder)
    return folder


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app.c").write_text(APP)
    return tmp_path


def onnxruntime_folder() -> str:
    return os.path.dirname(cached("onnxruntime_LIBRARY"))


def run_app(program: Path, root: Path) -> None:
    """It finds the library, which says its version and that there is no such bundle."""
    folders = f"{root}/usr/lib:{onnxruntime_folder()}"
    assert said(program, LD_LIBRARY_PATH=folders) == f"{version('samclip-edge')} 1"


def test_the_packages_hold_what_their_names_say(packages: dict[str, Path]) -> None:
    assert set(packages) == {"libsamclip-edge0", "libsamclip-edge-dev"}
    runtime, development = packages["libsamclip-edge0"], packages["libsamclip-edge-dev"]

    def files(package: Path) -> set[str]:
        lines = said("dpkg-deb", "--contents", package).splitlines()
        return {line.split(maxsplit=5)[5] for line in lines if not line.startswith("d")}

    library = f"libsamclip_edge.so.{version('samclip-edge')}"
    assert files(runtime) == {
        "./usr/bin/samclip-edge-cli",
        f"./usr/lib/libsamclip_edge.so.0 -> {library}",
        f"./usr/lib/{library}",
        "./usr/share/doc/libsamclip-edge0/copyright",
    }
    assert files(development) > {
        "./usr/include/samclip_edge.h",
        "./usr/include/samclip_edge_engine.h",
        "./usr/lib/libsamclip_edge.a",
        "./usr/lib/libsamclip_edge.so -> libsamclip_edge.so.0",
        "./usr/lib/cmake/samclip_edge/samclip_edgeConfig.cmake",
        "./usr/lib/pkgconfig/samclip_edge.pc",
    }
    assert said("dpkg-deb", "--field", development, "Depends") == f"libsamclip-edge0 (= {version('samclip-edge')})\n"
    needs = said("dpkg-deb", "--field", runtime, "Depends")
    assert all(re.search(rf"\b{name}", needs) for name in ("libc6", "libutf8proc", "libjpeg", "libpng"))


def test_the_shared_library_exports_the_functions_of_its_header_and_nothing_else() -> None:
    header = (NATIVE / "include" / "samclip_edge.h").read_text()
    declared = set(re.findall(r"^SAMCLIP_API [^;(]*?\b(samclip_\w+)\(", header, re.MULTILINE))
    symbols = said("nm", "--dynamic", "--defined-only", BUILD / "libsamclip_edge.so").split("\n")
    assert {line.split()[2] for line in symbols if line} == declared


def test_an_app_is_built_by_cmake(app: Path, root: Path) -> None:
    (app / "CMakeLists.txt").write_text(PROJECT.format(version=version("samclip-edge")))
    said(
        "cmake",
        *("-S", app, "-B", app / "build", f"-DCMAKE_PREFIX_PATH={root}/usr"),
        f"-DONNXRUNTIME_ROOT={cached('ONNXRUNTIME_ROOT')}",
        # the linker looks through what the shared library needs
        f"-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath-link,{onnxruntime_folder()}",
    )
    said("cmake", "--build", app / "build")
    for library in ("samclip_edge", "samclip_edge_static"):
        run_app(app / "build" / f"with_{library}", root)


@pytest.mark.parametrize("static", [False, True])
def test_an_app_is_built_by_pkg_config(app: Path, root: Path, static: bool) -> None:
    if static:
        root = shutil.copytree(root, app / "root", symlinks=True)
        (root / "usr/lib/libsamclip_edge.so").unlink()  # the linker would take it
    options = ["--static"] if static else []
    flags = said(
        *("pkg-config", *options, "--cflags", "--libs", "samclip_edge"), PKG_CONFIG_PATH=f"{root}/usr/lib/pkgconfig"
    )
    ort = onnxruntime_folder()
    said("cc", app / "app.c", "-o", app / "app", *flags.split(), f"-L{ort}", f"-Wl,-rpath-link,{ort}")
    run_app(app / "app", root)
