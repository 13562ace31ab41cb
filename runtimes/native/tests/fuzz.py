"""Runs fuzzers on seeds of real files: `fuzz.py BUILD SECONDS FUZZER...`, or `all`. Fails where one finds something.

They run one after another, each for the seconds. Inputs live in a folder that is removed at the end; what a fault was
found with stays in BUILD/found.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samclip_edge import SamClip, data
from samclip_edge.photo.masks import encode_rle

sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))
from manifest_cases import bases  # of the package's own tests

TESTS = Path(__file__).parent

BUNDLES = (data.FOLDER / "photo", data.FOLDER / "tiny")
PHOTOS = sorted((data.FOLDER / "photos").glob("*.jpg"))
CAPTIONS = (
    "a photo of a dog",
    "The dogs' 12 caf\u00e9s &amp; co.",
    "<|startoftext|>x<|endoftext|>",
    "\u201cna\u00efve\u201d_\u4f60\u597d \U0001f436\u200d",
    "A\u0301\u0323 \ufb01 \u03a3\u03a3 \u0130",
    "&lt;b&gt; &#x41;&#233; &notit;",
    "cat\0dog",
)
OPTIONS = {
    "fuzz_manifest": (f"-dict={TESTS / 'fuzz_manifest.dict'}",),
    "fuzz_photo": ("-timeout=120", "-rss_limit_mb=4096"),  # a few bytes may say that they are 178,956,970 pixels
}


def manifests() -> Iterator[bytes]:
    """Those of the bundles, and of each kind of model, with one number of each reference."""
    for each in [json.loads((bundle / "manifest.json").read_text()) for bundle in BUNDLES] + list(bases().values()):
        for graph in each["graphs"]:
            for reference in graph["reference"].values():
                del reference["values"][1:]
        yield json.dumps(each).encode()


def npys() -> Iterator[bytes]:
    """The features of the bundles' rivals, whole and as the first rows."""
    for bundle in BUNDLES:
        for rows in (None, 0, 2):
            file = io.BytesIO()
            np.save(file, np.load(bundle / "rivals.npy")[:rows, : rows and 4])
            yield file.getvalue()


def tokenizers() -> Iterator[bytes]:
    """The tokenizers of the bundles, with their first merges: short ones are changed and read more often."""
    for bundle in BUNDLES:
        text = (bundle / "tokenizer.json").read_text()
        for merges in (0, 40):
            fields: dict[str, Any] = json.loads(text)
            model = fields["model"]
            del model["merges"][merges:]
            made = {"".join(pair) for pair in model["merges"]}
            kept = {word for word in model["vocab"] if word in made or word.startswith("<|") or len(word) == 1}
            kept |= {word for word in model["vocab"] if len(word.removesuffix("</w>")) == 1}
            model["vocab"] = {word: place for word, place in model["vocab"].items() if word in kept}
            yield json.dumps(fields, ensure_ascii=False).encode()


def texts() -> Iterator[bytes]:
    """Captions, names and templates."""
    yield from (caption.encode() for caption in CAPTIONS)
    for name in ("rivals.json", "templates.json"):
        yield json.dumps(json.loads((BUNDLES[0] / name).read_text())[:8], ensure_ascii=False).encode()
    yield b"a photo of {}\r\nmany {}\n"
    yield json.dumps(CAPTIONS).encode()


def masks() -> Iterator[bytes]:
    """The RLE of masks of a photo, behind its sides."""
    scene = SamClip.load(BUNDLES[0]).look(PHOTOS[0])
    for mask in scene.segment([[[250, 100]], [[60, 300]], [[400, 400]]]):
        height, width = mask.rle["size"]
        yield struct.pack("<HH", height - 1, width - 1) + str(mask.rle["counts"]).encode()
    yield struct.pack("<HH", 1, 1) + b"13"  # all of 2x2 but the first pixel


def questions() -> Iterator[bytes]:
    """What `fuzz_prompts.cpp` reads: each of its questions, with words behind it."""
    for kind in range(4):
        for byte in (0, 1, 2, 21, 255):
            yield bytes([kind]) + bytes([byte]) * 60 + b"\2dog\0        cat\0       \1rival"
    square = np.zeros((30, 40), np.bool_)
    square[10:20, 5:30] = True
    yield b"\3\1\0" + encode_rle(square)["counts"].encode().ljust(40, b"\0")


def photos() -> Iterator[bytes]:
    """Small photos of each kind that is read, and a whole one."""
    small = Image.open(PHOTOS[0]).convert("RGB").resize((24, 16))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[str, str, dict[str, Any]]] = [("RGB", "JPEG", {"exif": turned}), ("RGB", "PNG", {"exif": turned})]
    kinds += [("RGB", "JPEG", {"progressive": True}), ("L", "JPEG", {}), ("CMYK", "JPEG", {})]
    kinds += [(mode, "PNG", {}) for mode in ("RGBA", "L", "LA", "P", "1")]
    for mode, kind, more in kinds:
        file = io.BytesIO()
        small.convert(mode).save(file, kind, **more)
        yield file.getvalue()
    file = io.BytesIO()
    Image.fromarray(np.asarray(small.convert("L"), np.uint16) * 257).save(file, "PNG")  # 16 bits a sample
    yield file.getvalue()
    yield PHOTOS[0].read_bytes()


def pictures() -> Iterator[bytes]:
    """What `fuzz_picture.cpp` reads: a head for each format and way to lie, and samples."""
    for kind in range(10):
        for choices in (0, 6, 0xC8):
            planes = b"".join(struct.pack("<H2xIIB3x", 8192, 0, 0, 0) for _ in range(3))
            yield struct.pack("<iiiiB3x", kind, 30, 17, kind, choices) + planes + bytes(range(256))


SEEDS = {
    "fuzz_manifest": manifests, "fuzz_npy": npys, "fuzz_photo": photos, "fuzz_picture": pictures,
    "fuzz_prompts": questions, "fuzz_rle": masks, "fuzz_text": texts, "fuzz_tokenizer": tokenizers,
}  # fmt: skip


def run(build: Path, name: str, seconds: int) -> bool:
    """Whether a fuzzer found nothing."""
    found = build / "found"
    found.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for place, seed in enumerate(SEEDS[name]()):
            (Path(corpus) / f"seed-{place}").write_bytes(seed)
        options = (f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={found}/{name}-")
        ended = subprocess.run([build / name, *options, *OPTIONS.get(name, ()), corpus], check=False)
    print(f"{name}: {'nothing found' if ended.returncode == 0 else f'FOUND SOMETHING, see {found}'}", flush=True)
    return ended.returncode == 0


def main() -> None:
    """As the head of this file says."""
    build, seconds, names = Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:]
    names = sorted(SEEDS) if names == ["all"] else names
    found_nothing = [run(build, name, seconds) for name in names]  # all run, also behind one that found something
    sys.exit(not all(found_nothing))


if __name__ == "__main__":
    main()
