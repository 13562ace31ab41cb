"""`doctor` tells flavours of packages apart: OpenCV of any, ONNX Runtime by whichever brought it, and its devices.

On a Jetson it says which JetPack that is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import onnxruntime
import pytest
from support import Ran

from samclip_edge.bundle import jetpack
from samclip_edge.cli import doctor


@pytest.fixture
def packages(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What `doctor --json` says where modules were brought by the distributions given, all of version 9.8.7."""

    def said(**brought: list[str]) -> Any:
        ours = {name for names in brought.values() for name in names}

        def version_of(name: str) -> str:
            if "onnxruntime" in brought and name == "onnxruntime" and name not in ours:
                raise PackageNotFoundError(name)
            return "9.8.7" if name in ours else version(name)

        monkeypatch.setattr(doctor, "packages_distributions", lambda: brought)
        monkeypatch.setattr(doctor, "version", version_of)
        ran = run("doctor", "--json")
        assert ran.code == 0, ran.err
        assert ran.err == ""
        return ran.json

    return said


@pytest.mark.parametrize(
    "flavour",
    ["opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"],
)
def test_any_flavour_of_opencv_will_do(flavour: str, packages: Callable[..., Any]) -> None:
    found = packages(cv2=[flavour])
    assert found["packages"]["opencv"] == f"{cv2.__version__} ({flavour} 9.8.7)"
    assert found["abilities"]["train"] == found["abilities"]["export"] == found["abilities"]["bench"] == "ready"


def test_two_flavours_of_opencv_are_told(packages: Callable[..., Any]) -> None:
    told = packages(cv2=["opencv-python", "opencv-contrib-python", "opencv-python"])["packages"]["opencv"]
    assert told.endswith("(opencv-contrib-python 9.8.7 and opencv-python 9.8.7, one over the other: keep one)")


def installed(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenCV of the system: a folder that no distribution records."""
    (folder / "cv2").mkdir()
    (folder / "cv2" / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def test_an_opencv_of_the_system_is_found(
    packages: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "__version__ = '4.8.0'", monkeypatch)
    found = packages()
    assert found["packages"]["opencv"] == "4.8.0 (of the system: no package records it)"
    assert found["abilities"]["train"] == "ready"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise ImportError('numpy.core.multiarray failed to import')", "ImportError: numpy.core.multiarray failed to"),
        ("import os; os.abort()", "it ends without a word"),
        ("import os; os._exit(3)", "it ends without a word"),
    ],
)
def test_an_opencv_that_does_not_load_is_told_and_no_crash(
    code: str, why: str, packages: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, code, monkeypatch)
    found = packages()
    assert found["packages"]["opencv"].startswith(f"does not load ({why}")
    assert found["abilities"]["run"] == "ready", "running needs no OpenCV"
    assert found["abilities"]["train"].startswith("needs opencv: pip install")


def test_no_opencv_at_all(packages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    found = packages()
    assert found["packages"]["opencv"] is None
    assert found["abilities"]["run"] == "ready"


@pytest.mark.parametrize(
    ("brought_by", "wanted"),
    [
        (["onnxruntime"], "9.8.7"),
        (["onnxruntime-directml"], "onnxruntime-directml 9.8.7"),
        (
            ["onnxruntime-gpu", "onnxruntime"],
            "onnxruntime 9.8.7 and onnxruntime-gpu 9.8.7, one over the other: keep one",
        ),
    ],
)
def test_onnx_runtime_is_named_by_what_brought_it(
    brought_by: list[str], wanted: str, packages: Callable[..., Any]
) -> None:
    found = packages(onnxruntime=brought_by)
    assert found["packages"]["onnxruntime"] == wanted
    assert found["abilities"]["run"] == "ready"


def test_devices_are_those_that_have_a_provider(packages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    here = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: here)
    machine = packages()["machine"]
    assert machine["devices"] == ["cpu", "cuda", "tensorrt"]
    assert machine["engines"][:3] == [f"onnxruntime {provider}" for provider in here]


def test_it_says_which_photos_of_phones_are_read(packages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: False)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert packages()["machine"]["photos"] == []
    monkeypatch.setattr(features, "check", lambda name: name == "avif")
    monkeypatch.setattr(doctor, "find_spec", lambda name: name in ("pillow_heif", "PIL.AvifImagePlugin") or None)
    assert packages()["machine"]["photos"] == ["avif", "heic"]
    assert "pillow" in packages()["packages"]


FIRST = "# {}, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n"
ROW = re.compile(r"^\W*jetson\b", re.MULTILINE)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for a Jetson's /etc/nv_tegra_release. It is not there yet."""
    place = tmp_path / "nv_tegra_release"
    monkeypatch.setattr(jetpack, "RELEASE", place)
    return place


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "R36 (release), REVISION: 4.3",
            "JetPack 6.2 (R36.4.3), CUDA 12.6, TensorRT 10.3, cuDNN 9.3, Python 3.10, cuda-bindings<13: "
            "see docs/jetson.md",
        ),
        (
            "R38 (release), REVISION: 2.2",
            "JetPack 7.0 (R38.2.2), CUDA 13.0, TensorRT 10.13, cuDNN 9.12, Python 3.12, cuda-bindings>=13,<14: "
            "see docs/jetson.md",
        ),
        (
            "R39 (release), REVISION: 2.0",
            "JetPack 7.2 (R39.2.0), CUDA 13.2, TensorRT 10.16, cuDNN 9.20, Python 3.12, cuda-bindings>=13,<14: "
            "see docs/jetson.md",
        ),
        ("R35 (release), REVISION: 4.1", "Jetson Linux R35.4.1, which is not in the table of docs/jetson.md"),
        ("R36 (release), REVISION: 4", "Jetson Linux R36.4, which is not in the table of docs/jetson.md"),
        ("R361 (release), REVISION: 4.3", "Jetson Linux R361.4.3, which is not in the table of docs/jetson.md"),
    ],
)
def test_a_jetson_is_told_its_jetpack(written: str, said: str, release: Path, run: Callable[..., Ran]) -> None:
    release.write_text(FIRST.format(written) + "# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n")
    assert run("doctor", "--json").json["machine"]["jetson"] == said
    assert ROW.search(run("doctor").out)


def test_what_is_no_jetson_has_no_row_of_one(release: Path, run: Callable[..., Ran]) -> None:
    assert not release.exists()
    assert "jetson" not in run("doctor", "--json").json["machine"]
    assert not ROW.search(run("doctor").out)


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"\xff\xfe\x00# R36",
        b"# R36 (release)\n",
        b"# R36 (release), REVISION: \n",
        b"# R36 (release), REVISION: 4.,",
        b"# R" + b"9" * 100_000 + b" (release), REVISION: 1.0",
        "# R３６ (release), REVISION: 4.3,".encode(),
        b"R36 (release), REVISION: 4.3\n",
    ],
)
def test_a_broken_release_file_is_told_and_no_crash(written: bytes, release: Path, run: Callable[..., Ran]) -> None:
    release.write_bytes(written)
    ran = run("doctor", "--json")
    assert ran.code == 0
    assert ran.json["machine"]["jetson"] == f"{release}: names no release of Jetson Linux"


def test_a_release_file_that_cannot_be_read_is_told(release: Path, run: Callable[..., Ran]) -> None:
    release.mkdir()
    ran = run("doctor", "--json")
    assert ran.code == 0
    assert ran.json["machine"]["jetson"] == f"{release}: Is a directory"


def test_the_table_of_the_docs_is_that_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "jetson.md").read_text("utf-8")
    lines = text.partition("| JetPack | for |")[2].partition("\n\n")[0].splitlines()[2:]
    wanted = [
        (
            ", ".join(dict.fromkeys(row.releases.values())),
            module,
            ", ".join(row.releases),
            *(row.cuda, row.tensorrt, row.cudnn, row.ubuntu, row.python, row.glibc),
            capability,
            f"`{row.bindings}`",
            row.onnxruntime,
        )
        for row in jetpack.JETPACKS
        for module, capability in row.modules.items()
    ]
    assert [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines] == wanted


def test_a_release_is_part_of_one_jetpack() -> None:
    releases = [release for row in jetpack.JETPACKS for release in row.releases]
    assert len(releases) == len(set(releases))
