"""Photos, prompts and names that are wrong: one clear line, exit 2, nothing half-written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Ran, saved

from samclip_edge import SamClip, data
from samclip_edge.errors import InputError
from samclip_edge.tasks.everything import Settings

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400


@pytest.fixture
def refuse(run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path) -> Callable[..., str]:
    """Run a verb that must refuse: exit 2, one line on stderr that is returned, nothing written."""

    def refused(verb: str, *arguments: object) -> str:
        ran = run(verb, *arguments, "--bundle", tiny_folder, "-o", tmp_path / "out.png")
        lines = [line for line in ran.err.splitlines() if not line.startswith("note: untrained")]
        assert (ran.code, len(lines), ran.out) == (2, 1, ""), ran
        assert not (tmp_path / "out.png").exists()
        assert not list(tmp_path.glob(".*"))
        return lines[0]

    return refused


def noise() -> Image.Image:
    return Image.fromarray(np.random.RandomState(0).randint(0, 255, (60, 80, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ("JPEG", 0.02),  # behind its header a JPEG is decoded as far as it goes: see test_photos_in.py
        *((kind, share) for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") for share in (0.02, 0.5, 0.98)),
    ],
)
def test_a_truncated_photo_is_refused(refuse: Callable[..., str], tmp_path: Path, kind: str, share: float) -> None:
    whole = saved(noise(), kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(whole[: int(len(whole) * share)])
    said = refuse("classify", path, "--label", "cat")
    assert str(path) in said
    assert "truncated" in said or "not a JPEG" in said


def bomb(side: int) -> bytes:
    """A whole PNG of side x side black pixels in a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    refuse: Callable[..., str], run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(16000))
    assert f"--max-pixels 178956970: {path} is 16000x16000, 256000000 pixels; raise it if you trust the file" in refuse(
        "classify", path, "--label", "x"
    )
    small = tmp_path / "small.png"
    small.write_bytes(bomb(800))
    arguments = ("--label", "cat", "--bundle", tiny_folder, "--json")
    assert "--max-pixels" in refuse("classify", small, "--label", "cat", "--max-pixels", 639_999)
    assert run("classify", small, *arguments, "--max-pixels", 640_000).code == 0


def test_what_is_no_photo_is_named(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\0\0\0\0IEND\xaeB`\x82")
    (tmp_path / "folder.jpg").mkdir()
    for name, said in (
        ("empty.jpg", "empty"),
        ("text.jpg", "not a JPEG"),
        ("noise.png", ""),
        ("folder.jpg", "is a folder"),
        ("none.jpg", "no such photo"),
    ):
        for verb, rest in (("classify", ("--label", "cat")), ("segment", ("--point", "1,1"))):
            message = refuse(verb, tmp_path / name, *rest)
            assert str(tmp_path / name) in message
            assert said in message


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 5000), (5000, 2)])
def test_the_smallest_and_thinnest_photos_work(
    run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path, shape: tuple[int, int]
) -> None:
    path = tmp_path / "thin.png"
    Image.fromarray(np.full((*shape, 3), 90, np.uint8)).save(path)
    for arguments in (
        ("--point", "0,0"),
        ("--text", "cat"),
        ("--everything", "--grid", 2, "--min-iou", -9, "--label", "a"),
    ):
        ran = run("segment", path, *arguments, "--bundle", tiny_folder, "-o", tmp_path / "o.png", "--json")
        assert ran.code == 0, ran.err
        assert (ran.json["height"], ran.json["width"]) == shape
        for mask in ran.json["masks"]:
            assert mask["segmentation"]["size"] == list(shape)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_photo_works(run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path, mode: str) -> None:
    colour = Image.open(PHOTO)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 257)
    else:
        image = colour.convert(mode)
    path = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    image.save(path)
    ran = run("segment", path, "--box", "10,10,200,300", "--bundle", tiny_folder, "--json")
    assert ran.code == 0
    assert (ran.json["width"], ran.json["height"]) == (600, 400)


def test_a_rotated_photo_is_prompted_as_it_is_seen(run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: 600 x 400 is stored, 400 x 600 is seen
    Image.open(PHOTO).save(tmp_path / "turned.jpg", exif=exif)
    ran = run("segment", tmp_path / "turned.jpg", "--point", "390,590", "--bundle", tiny_folder, "--json")
    assert (ran.json["width"], ran.json["height"]) == (400, 600)
    ran = run("segment", tmp_path / "turned.jpg", "--point", "590,390", "--bundle", tiny_folder, "--json")
    assert ran.code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--point", "601,10"), "point 601,10: outside the photo, which is 600x400"),
        (("--point", "10,-1"), "point 10,-1: outside"),
        (("--point", "nan,5"), "point: NaN"),
        (("--point", "5"), "--point 5: not of the form"),
        (("--point", "a,b"), "--point a,b: not of the form"),
        (("--point", "5,5,2"), "--point 5,5,2: the label is 0"),
        (("--box", "10,10,5,20"), "box 10,10,5,20: reversed"),
        (("--box", "10,10,10,20"), "box 10,10,10,20: reversed or empty"),
        (("--box", "601,0,700,400"), "box 601,0,700,400: does not meet the photo"),
        (("--click", "1,2,0"), "--click 1,2,0: not of the form"),
        (("--click", "1,2", "--point", "1,1"), "give either --point"),
        (("--point", "1,1", "--format", "jpg"), "--format jpg: give rle, polygons, coco or png"),
        (("--box", "0,0,inf,400"), "box: NaN or infinite"),
        (("--box", "1,2,3"), "--box 1,2,3: not of the form"),
        (("--box", "0,0,9,9", "--box", "0,0,5,5", "--point", "1,1"), "2 boxes together with points"),
        (("--text", ""), "--text: name 1 of 1 is empty"),
        (("--text", "cat", "--text", "  "), "--text: name 2 of 2 is empty"),
        (("--everything", "--label", ""), "--label: name 1 of 1 is empty"),
        (("--everything", "--grid", 0), "--grid 0"),
        (("--label", "cat", "--point", "1,1"), "--label: names the masks of --everything"),
        ((), "give either --point"),
        (("--text", "cat", "--point", "1,1"), "give either --point"),
        (("--point", "1,1", "--size", 512), "--size 512: the bundle holds 128, 256"),
        (("--point", "1,1", "--threads", 0), "--threads"),
        (("--pint", "1,1"), "--pint"),
    ],
)
def test_bad_prompts_are_named(refuse: Callable[..., str], arguments: tuple[object, ...], said: str) -> None:
    assert said in refuse("segment", PHOTO, *arguments)


def test_no_label_is_named_and_many_are_fine(
    refuse: Callable[..., str], run: Callable[..., Ran], tiny_folder: Path
) -> None:
    assert "--label: no name" in refuse("classify", PHOTO)
    assert "--label: name 1 of 1 is empty" in refuse("classify", PHOTO, "--label", "")
    many = [part for index in range(2000) for part in ("--label", f"thing number {index}")]
    ran = run("classify", PHOTO, *many, "--bundle", tiny_folder, "--json")
    assert ran.code == 0
    labels = ran.json["photos"][0]["labels"]
    assert len(labels) == 2000
    assert sum(label["share"] for label in labels) == pytest.approx(1, abs=1e-4)


def test_bad_photos_among_good_ones_cost_nothing_else(
    run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    photos = (PHOTO, tmp_path / ("a" * 300), PHOTO, tmp_path / "empty.jpg")  # no system takes the first bad name
    for verb, rest in (("classify", ("--label", "cat")), ("segment", ("--point", "1,1"))):
        ran = run(verb, *photos, *rest, "--bundle", tiny_folder, "--json")
        assert ran.code == 2
        assert [each["photo"] for each in ran.json["photos"]] == [str(PHOTO)] * 2
        assert [each["photo"] for each in ran.json["failed"]] == [str(photos[1]), str(photos[3])]
        told = [line for line in ran.err.splitlines() if line.startswith("error: ")]
        assert [str(photo) in line for photo, line in zip((photos[1], photos[3]), told, strict=True)] == [True] * 2


def test_an_option_at_fault_is_told_once(run: Callable[..., Ran], tiny_folder: Path) -> None:
    ran = run("classify", PHOTO, PHOTO, "--label", "cat", "--size", 512, "--bundle", tiny_folder)
    assert (ran.code, ran.out, ran.err.count("error: ")) == (2, "", 1)
    assert "error: --size 512: the bundle holds 128, 256" in ran.err


def test_rank_leaves_out_what_it_cannot_read(tiny: SamClip, caplog: pytest.LogCaptureFixture) -> None:
    ranked = tiny.rank(["none.jpg", PHOTO], "a cup")
    assert [index for index, _ in ranked] == [1]
    assert "none.jpg" in caplog.text
    with pytest.raises(InputError, match=r"none\.jpg"):
        tiny.rank(["none.jpg"], "a cup")


@pytest.mark.parametrize("name", ["picture.txt", "nowhere/picture.png", "picture"])
def test_a_picture_that_cannot_be_written_is_named(
    run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path, name: str
) -> None:
    ran = run("segment", PHOTO, "--point", "1,1", "--bundle", tiny_folder, "-o", tmp_path / name)
    assert (ran.code, ran.out) == (2, "")
    assert f"-o {tmp_path / name}" in ran.err


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"points": [1, 2, 3]},
        {"points": [[1, 2], [3]]},
        {"points": "ab"},
        {"points": np.zeros((0, 2))},
        {"points": [[1, 2]], "labels": [1, 0]},
        {"points": [[1, 2]], "labels": [2]},
        {"labels": [1]},
        {"boxes": [1, 2, 3]},
        {"points": [[[1, 2]], [[3, 4]]], "boxes": [0, 0, 5, 5]},
        {"mask": np.zeros((10, 10))},
        {"mask": np.full((64, 64), np.nan)},
        {"points": [[10**400, 1]]},
        {"points": [["1", "a"]]},
        {"points": [[1, 2]], "labels": [None]},
        {"boxes": [[0, 0, 5, 5], [0, 0, 5]]},
    ],
    ids=str,
)
def test_bad_prompts_in_python_are_input_errors(tiny: SamClip, prompt: dict[str, object]) -> None:
    with pytest.raises(InputError):
        tiny.look(PHOTO).segment(**prompt)


@pytest.mark.parametrize(
    "photo",
    [np.zeros((4, 4, 3)), np.zeros((6, 6, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), b"", b"\xff\xd8\xff"],
    ids=str,
)
def test_bad_photos_in_python_are_input_errors(tiny: SamClip, photo: object) -> None:
    with pytest.raises(InputError):
        tiny.look(photo)


def test_labels_must_be_a_list_of_texts(tiny: SamClip) -> None:
    scene = tiny.look(PHOTO, size=128)
    for labels, said in (("cat", "one string"), ([b"cat"], "no text"), (["a", None], "name 2 of 2"), (3, "a list")):
        for ask in (scene.classify, scene.find):
            with pytest.raises(InputError, match=f"^labels.*{said}"):
                ask(labels)


def test_errors_in_python_name_arguments(tiny: SamClip) -> None:
    scene = tiny.look(PHOTO, size=128)
    for call, argument in (
        (lambda: tiny.look(PHOTO, size=512), "size"),
        (lambda: tiny.look(PHOTO, size="256px"), "size"),
        (lambda: tiny.look(PHOTO, size=(128, 128)), "size"),
        (lambda: tiny.look(PHOTO, max_pixels=9), "max_pixels"),
        (lambda: scene.classify([]), "labels"),
        (lambda: scene.find(["cat"], points=4), "points"),
        (lambda: scene.find(["cat"], threshold=2), "threshold"),
        (lambda: scene.find(["cat"], min_score=2), "min_score"),
        (lambda: scene.find(["cat"], background=[""]), "background"),
        (lambda: Settings(points_per_side=0), "points_per_side"),
        (lambda: Settings(points_per_side=2.5), "points_per_side"),
        (lambda: Settings(stability=float("nan")), "stability"),
        (lambda: Settings(predicted_iou="high"), "predicted_iou"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert str(error.value).startswith(argument)
        assert "--" not in str(error.value)


def test_a_whole_number_in_another_type_is_a_size(tiny: SamClip) -> None:
    for size in (128.0, np.int64(128), np.float32(128)):
        assert tiny.look(PHOTO, size=size).frame.size == 128
