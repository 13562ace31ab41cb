"""samclip-edge-cli, held against `samclip-edge` of Python: answers, photos of many kinds, and errors."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from samclip_edge import SamClip, data
from samclip_edge.photo.masks import decode_rle
from samclip_edge.photo.read import read_photo

BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", Path(__file__).parents[3] / "build" / "native"))
CAT = str(data.FOLDER / "photos" / "chelsea.jpg")
CUP = str(data.FOLDER / "photos" / "coffee.jpg")
BUNDLE = ("--bundle", str(data.PHOTO))
Bits = npt.NDArray[np.uint8]


def native(*words: str, bundle: tuple[str, ...] = BUNDLE) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUILD / "samclip-edge-cli", *bundle, *words], capture_output=True, text=True)


def answered(*words: str) -> Any:
    """What the native program prints, and says nothing beside it."""
    done = native(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def python(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "samclip_edge.cli", *words, *BUNDLE, "--json"]
    return subprocess.run(command, capture_output=True, text=True)


def same(own: Any, wanted: Any) -> None:
    """Keys, texts and whole numbers are the same; other numbers nearly, and masks in 999 of 1000 pixels."""
    if isinstance(wanted, dict):
        assert set(own) == set(wanted)
        if "counts" in wanted:
            assert own["size"] == wanted["size"]
            mine, theirs = decode_rle(own), decode_rle(wanted)
            assert (mine & theirs).sum() >= 0.999 * (mine | theirs).sum()
            return
        for key, value in wanted.items():
            if key == "area":
                assert own[key] == pytest.approx(value, rel=0.002)
            elif key == "box":
                assert own[key] == pytest.approx(value, abs=2)
            else:
                same(own[key], value)
    elif isinstance(wanted, list):
        assert len(own) == len(wanted)
        for each, other in zip(own, wanted, strict=True):
            same(each, other)
    elif isinstance(wanted, float):
        assert own == pytest.approx(wanted, abs=1e-4)
    else:
        assert own == wanted
        assert type(own) is type(wanted)


@pytest.mark.parametrize(
    "question",
    [
        ("classify", CAT, "--label", "dog", "--label", "cat", "--label", " Cat "),
        ("classify", CUP, "--label", "cup", "--size", "384"),
        ("segment", CAT, "--point", "200,150"),
        ("segment", CAT, "--point", "200,150", "--point", "10,10,0", "--size", "256x256"),
        ("segment", CUP, "--point", "300,150,1", "--box", "150,50,450,330"),
        ("segment", CUP, "--box", "150,50,450,330", "--box", "-5.5,2e1,100,100"),
        ("segment", CAT, "--text", "cat", "--text", " zebra ", "--text", "Zebra", "--text", "dog"),
        ("segment", CUP, "--text", "cup", "--min-score", "0.9", "--threads", "2"),
        ("segment", CAT, "--everything", "--size", "256", "--min-iou", "0.7", "--min-stability", "0.7"),
        ("segment", CUP, "--everything", "--size", "256", "--min-iou", "0", "--min-stability", "0.9"),
        ("segment", CAT, "--everything", "--size", "256", "--label", "cat", "--label", "dog", "--min-score", "0.3"),
    ],
)
def test_answers_are_python_s(question: tuple[str, ...]) -> None:
    own = answered(*question)
    same(own, json.loads(python(*question).stdout))
    assert own.get("photos") or own["masks"] or own["absent"]


def blocks(side: int = 96) -> Bits:
    """A photo (64,96,3) of which no turn and no mirror is like another: blocks of colours, random but fixed."""
    few = np.random.default_rng(1).integers(0, 256, (8, side // 8, 3), np.uint8)
    return few.repeat(8, 0).repeat(8, 1)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def turned(form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(blocks()), form, exif=exif)


RGB = Image.fromarray(blocks())
DEEP = Image.fromarray(np.linspace(0, 65535, 64 * 96).astype(np.uint16).reshape(64, 96))
JPEG = encoded(RGB, "JPEG", quality=95)
PHOTOS = {
    **{f"orientation-{each}.jpg": turned("JPEG", each) for each in range(1, 9)},
    "orientation-6.png": turned("PNG", 6),
    "orientation-9.jpg": turned("JPEG", 9),
    "grey.jpg": encoded(RGB.convert("L"), "JPEG"),
    "cmyk.jpg": encoded(RGB.convert("CMYK"), "JPEG"),
    "progressive.jpg": encoded(RGB, "JPEG", progressive=True),
    "full-colour.jpg": encoded(RGB, "JPEG", subsampling=0),
    "half.jpg": JPEG[: len(JPEG) // 2],
    "rgb.png": encoded(RGB, "PNG"),
    "rgba.png": encoded(Image.fromarray(np.dstack([blocks(), blocks()[..., :1]])), "PNG"),
    "grey.png": encoded(RGB.convert("L"), "PNG"),
    "grey-alpha.png": encoded(RGB.convert("LA"), "PNG"),
    "bits.png": encoded(RGB.convert("1"), "PNG"),
    "16-bit.png": encoded(DEEP, "PNG"),
    "palette.png": encoded(RGB.convert("P"), "PNG"),
    "palette-alpha.png": encoded(RGB.convert("P"), "PNG", transparency=3),
    "two-bits.png": encoded(RGB.convert("P", palette=Image.Palette.ADAPTIVE, colors=4), "PNG", bits=2),
}


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load(data.PHOTO)


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_is_read_as_by_python(name: str, tmp_path: Path, model: SamClip) -> None:
    photo = tmp_path / name
    photo.write_bytes(PHOTOS[name])
    labels = ["red", "green", "blue", "grey"]
    (own,) = answered("classify", str(photo), *(word for each in labels for word in ("--label", each)))["photos"]
    scene = model.look(photo, model.names_size)
    assert (own["width"], own["height"]) == (scene.frame.width, scene.frame.height)
    same(own["labels"], [guess._asdict() for guess in scene.classify(labels)])
    # Without a mask, the picture is the upright photo.
    picture = tmp_path / "picture.png"
    seen = answered("segment", str(photo), "--text", "zebra", "--min-score", "1", "--size", "256", "-o", str(picture))
    assert (seen["masks"], seen["absent"]) == ([], ["zebra"])
    assert np.array_equal(np.asarray(Image.open(picture)), read_photo(photo))


def test_the_picture_shows_the_masks(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    boxes = ("--box", "150,50,450,330", "--box", "0,0,120,120")
    masks = [decode_rle(mask["segmentation"]) for mask in answered("segment", CUP, *boxes, "-o", str(picture))["masks"]]
    photo, drawn = read_photo(CUP).astype(int), np.asarray(Image.open(picture)).astype(int)
    inside = masks[0] | masks[1]
    assert np.array_equal(drawn[~inside], photo[~inside])
    # A pixel whose four neighbours are in the mask too is the mean of the photo and the mask's red; others are lighter.
    around = np.pad(masks[0], 1, mode="edge")
    deep = around[1:-1, :-2] & around[1:-1, 2:] & around[:-2, 1:-1] & around[2:, 1:-1]
    first = masks[0] & ~masks[1]
    assert min((first & deep).sum(), (first & ~deep).sum()) > 100
    assert np.array_equal(drawn[first & deep], (photo[first & deep] + (231, 43, 43)) // 2)
    assert (drawn[first & ~deep] == ((231 + 510) // 3, (43 + 510) // 3, (43 + 510) // 3)).all()


def bad(*words: str, bundle: tuple[str, ...] = BUNDLE) -> str:
    """The one line that bad input is told in; nothing is printed."""
    done = native(*words, bundle=bundle)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr


@pytest.mark.parametrize(
    "question",
    [
        ("segment", "nope.jpg", "--point", "1,1"),
        ("segment", str(data.FOLDER), "--point", "1,1"),
        ("segment", CAT),
        ("segment", CAT, "--label", "dog"),
        ("segment", CAT, "--text", "cat", "--label", "dog"),
        ("segment", CAT, "--point", "1"),
        ("segment", CAT, "--point", "1,2,3,4"),
        ("segment", CAT, "--point", "1,2,2"),
        ("segment", CAT, "--point", "900,1"),
        ("segment", CAT, "--point", "nan,1"),
        ("segment", CAT, "--box", "1,2,3"),
        ("segment", CAT, "--box", "3,3,1,1"),
        ("segment", CAT, "--box", "1,1,9,9", "--box", "1,1,9,9", "--point", "3,3"),
        ("segment", CAT, "--point", "1,1", "--size", "100"),
        ("segment", CAT, "--point", "1,1", "--min-score", "0.5"),
        ("segment", CAT, "--text", "cat", "--min-iou", "0.5"),
        ("segment", CAT, "--everything", "--min-iou", "nan"),
        ("segment", CAT, "--text", ""),
        ("segment", CAT, "--everything", "--label", " "),
        ("segment", CAT, "--text", "cat", "--min-score", "1.5"),
        ("segment", CAT, "--point", "1,1", "-o", "nowhere/x.png"),
        ("classify", CAT),
        ("classify", CAT, "--label", ""),
        ("classify",),
        ("classify", CAT, "--label", "cat", "--size", "12x"),
        ("unknown", CAT),
    ],
)
def test_errors_are_python_s(question: tuple[str, ...]) -> None:
    wanted = python(*question)
    assert wanted.returncode == 2
    told = wanted.stderr.splitlines()[-1].replace("--point and --box, or --click,", "--point and --box,")
    told = told.replace("IMAGE...", "PHOTO")
    assert bad(*question) == told + "\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("classify", CAT, CUP, "--label", "cat"), "PHOTO: is one photo; ask for each by itself"),
        (("classify", CAT, "--label"), "Option '--label' requires an argument. (see --help)"),
        (("classify", CAT, "--point", "1,1"), "No such option: --point (see --help)"),
        (("classify", CAT, "--label", "cat", "--foo", "1"), "No such option: --foo (see --help)"),
        (("classify", CAT, "--label", "cat", "--threads", "0"), "--threads 0: give a whole number, 1 to 1024"),
        (("classify", CAT, "--label", "cat", "--threads", "two"), "--threads two: not of the form NUMBER"),
        (("classify", CAT, "--label", "cat", "--device", "foo"), "--device foo: there is no foo device; give cpu, "),
        (("segment", CAT, "--text", "cat", "--min-score", "x"), "--min-score x: not of the form NUMBER"),
        (("segment", CAT, "--point", "1,1", "-o", "x.jpg"), "-o x.jpg: not a picture's name; end it in .png"),
        ((), "Missing command. (see --help)"),
    ],
)
def test_bad_options_are_told(words: tuple[str, ...], wanted: str) -> None:
    assert bad(*words).startswith(f"error: {wanted}")


def test_a_bundle_that_is_not_there_or_not_whole_is_told(tmp_path: Path) -> None:
    question = ("classify", CAT, "--label", "cat")
    assert bad(*question, bundle=()) == "error: Missing option '--bundle'. (see --help)\n"
    assert bad(*question, bundle=("--bundle", "no such")).startswith("error: no such: no such bundle folder; ")
    shutil.copytree(data.PHOTO, tmp_path / "photo")
    weights = tmp_path / "photo" / "text_encoder.weights"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert "text_encoder.weights" in bad(*question, bundle=("--bundle", str(tmp_path / "photo")))


def test_the_picture_does_not_replace_the_photo(tmp_path: Path) -> None:
    photo, link = tmp_path / "photo.png", tmp_path / "link.png"
    photo.write_bytes(PHOTOS["rgb.png"])
    link.symlink_to(photo)
    for output in (photo, link):
        line = bad("segment", str(photo), "--point", "1,1", "-o", str(output))
        assert line == f"error: -o {output}: is the photo itself; name another file\n"
    assert photo.read_bytes() == PHOTOS["rgb.png"]


def sides(png: bytes, width: int, height: int) -> bytes:
    """A PNG that says it has other sides, with a sum that fits."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


BAD = {
    "empty.jpg": (b"", "the file is empty; pass a photo"),
    "text.jpg": (b"hello", "not a JPEG or PNG photo; convert it to one"),
    "gif.png": (encoded(RGB, "GIF"), "not a JPEG or PNG photo; convert it to one"),
    "begun.jpg": (JPEG[:3], "the photo is truncated or damaged ("),
    "header.jpg": (JPEG[:200], "the photo is truncated or damaged ("),
    "half.png": (PHOTOS["rgb.png"][: len(PHOTOS["rgb.png"]) // 2], "the photo is truncated or damaged ("),
    "begun.png": (PHOTOS["rgb.png"][:8], "the photo is truncated or damaged ("),
    "damaged.png": (PHOTOS["rgb.png"][:60] + b"?????" + PHOTOS["rgb.png"][65:], "the photo is truncated or damaged ("),
    "huge.png": (sides(PHOTOS["rgb.png"], 20000, 20000), "is 20000x20000, 400000000 pixels; make it smaller"),
    "wide.png": (sides(PHOTOS["rgb.png"], 2**31 - 1, 2**31 - 1), "the photo is truncated or damaged ("),
    "none.png": (sides(PHOTOS["rgb.png"], 0, 9), "the photo is truncated or damaged ("),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_photo_is_told(name: str, tmp_path: Path) -> None:
    photo = tmp_path / name
    content, wanted = BAD[name]
    photo.write_bytes(content)
    assert bad("classify", str(photo), "--label", "cat").startswith(f"error: {photo}: {wanted}")
    assert python("classify", str(photo), "--label", "cat").returncode == (0 if name == "gif.png" else 2)


def test_no_mask_at_all_is_told_as_by_python() -> None:
    question = ("segment", CUP, "--everything", "--size", "256", "--min-iou", "1.5")
    done = native(*question)
    assert (done.returncode, json.loads(done.stdout)["masks"]) == (0, [])
    assert done.stderr == python(*question).stderr
    assert done.stderr.startswith("note: no mask reaches --min-iou 1.5 and --min-stability 0.95; ")


def test_help_says_what_there_is() -> None:
    done = native("--help", bundle=())
    assert (done.returncode, done.stderr) == (0, "")
    assert all(word in done.stdout for word in ("classify", "segment", "--everything", "--min-score", "-o"))
    assert native(bundle=()).returncode == 2
