"""What stands around the answer: encodings, closed pipes, full devices, signals, exit codes, the log, completion."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from PIL import Image
from support import Ran
from torch._utils import ExceptionWrapper

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.cli import main
from samclip_edge.cli.terminal import LOG
from samclip_edge.errors import InputError

PHOTO = data.photos()[0]
NAMES = ("info", data.TINY)
# The command line with verbs of this file, which start faster than those that load a model.
VERBS = """
import multiprocessing, sys, time
from samclip_edge.cli import app, main
from samclip_edge.cli.common import Json, emit, table

@app.command()
def tell(name: str, json: Json = False) -> None:
    emit({"photo": name}, json, lambda: table(("photo", "n"), [(name, "1"), ("a", "2")], name))

@app.command()
def wait(workers: int = 0) -> None:
    started = [multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)) for _ in range(workers)]
    try:
        for worker in started:
            worker.start()
            time.sleep(0.3)
            worker.terminate()
            worker.join()
            print(worker.exitcode)
        print("ready", flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.2)
        print("tidied")

main()
"""


def hears_signals() -> None:
    """In a new process: undo that these tests may run under `nohup`, or in the background of a shell."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def started(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """The command line with `VERBS`, in a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": hears_signals} | options
    return subprocess.Popen([sys.executable, "-c", VERBS, *map(str, arguments)], **options)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("ascii", "café.jpg"),
        ("cp1252", "café.jpg"),
        ("cp1252", "犬 é.jpg"),
        ("ascii:surrogateescape", os.fsdecode(b"photo caf\xe9.jpg")),
        ("utf-8", os.fsdecode(b"photo caf\xe9.jpg")),
    ],
)
def test_json_is_valid_whatever_stdout_can_print(encoding: str, name: str) -> None:
    code, out, err = ended(started("tell", name, "--json", env=os.environ | {"PYTHONIOENCODING": encoding}))
    assert (code, err) == (0, b"")
    encoding = encoding.partition(":")[0]
    assert json.loads(out.decode(encoding)) == {"photo": name}
    try:
        assert name.encode(encoding) in out
    except UnicodeEncodeError:
        assert out.isascii()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_table_has_question_marks_and_ascii_lines_where_stdout_has_no_other(encoding: str) -> None:
    code, out, err = ended(started("tell", "caf犬.jpg", env=os.environ | {"PYTHONIOENCODING": encoding}))
    assert (code, err) == (0, b"")
    assert out.isascii()
    title, *rows = out.decode().splitlines()
    assert title.strip() == "caf?.jpg"
    assert "caf?.jpg" in out.decode()
    assert len({len(row) for row in rows}) == 1  # the frame is straight


def test_a_table_shows_names_as_they_are() -> None:
    _, out, _ = ended(started("tell", ":dog: [b]犬[/b]", env=os.environ | {"PYTHONIOENCODING": "utf-8"}))
    assert ":dog: [b]犬[/b]" in out.decode().splitlines()[0]


def test_names_of_files_need_not_be_utf8(run: Callable[..., Ran], tmp_path: Path) -> None:
    photo, drawn = (tmp_path / os.fsdecode(name) for name in (b"photo caf\xe9.jpg", b"drawn caf\xe9.png"))
    try:
        shutil.copy(PHOTO, photo)
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    ran = run("classify", photo, "--label", "circle", "--json", "-o", drawn)
    assert ran.code == 0
    assert ran.json["photos"][0]["photo"] == str(photo)
    assert Image.open(drawn).size
    assert run("segment", photo, "--point", "9,9").code == 0
    ran = run("classify", tmp_path / os.fsdecode(b"none caf\xe9.jpg"), "--label", "circle")
    assert ran.code == 2
    assert "none caf\\udce9.jpg" in ran.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [
        ("utf-8", ("--help",)),
        ("ascii", ("--help",)),
        ("utf-8", ("tell", "x")),
        ("utf-8", ("tell", "x" * 99999, "--json")),
    ],
)
def test_a_closed_pipe_ends_the_program_quietly(encoding: str, arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        code, _, err = ended(started(*arguments, stdout=pipe, env=os.environ | {"PYTHONIOENCODING": encoding}))
    assert (code, err) == (141, b"")


@pytest.mark.parametrize("arguments", [("--help",), ("tell", "x"), ("tell", "x", "--json")])
@pytest.mark.parametrize(("where", "said"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")])
def test_a_stdout_that_takes_nothing_is_an_error(arguments: tuple[str, ...], where: str, said: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-c", VERBS, *arguments]
    ran = subprocess.run(shell, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (2, f"error: stdout: {said}\n")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_the_answer_is_whole_where_stderr_takes_nothing(where: str) -> None:
    """The shipped model has a note to tell."""
    command = [sys.executable, "-m", "samclip_edge.cli", "classify", PHOTO, "--label", "circle", "--json"]
    ran = subprocess.run(["sh", "-c", f'exec "$@" {where}', "sh", *map(str, command)], capture_output=True, text=True)
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["photos"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("a\nb"), 70, "a fault of samclip-edge (RuntimeError: a b); please report it"),
        (RecursionError("deep"), 70, "RecursionError: deep"),
        (Fail("node"), 70, "Fail: node"),
        (ModuleNotFoundError("none", name="samclip_edge.none"), 70, "none"),
        (type("PanicException", (BaseException,), {})("panicked"), 70, "PanicException: panicked"),
        (MemoryError("Unable to allocate 5 PiB"), 70, "too little memory for it (Unable to allocate 5 PiB)"),
        (OSError(28, "No space left on device", "x"), 2, "[Errno 28] No space left on device: 'x'"),
        (SystemExit(1), 2, ""),
    ],
)
def test_what_nobody_foresaw_is_no_answer(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    """Exit code 1 is for `verify` and for parity."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Bundle, "open", fail)
    ran = run(*NAMES)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", bool(said))
    assert said in ran.err


def test_an_error_of_a_worker_process_is_one_line(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        try:
            raise InputError("shard.tar: cut off; copy it again")
        except InputError:
            wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
        wrapped.reraise()

    monkeypatch.setattr(Bundle, "open", fail)
    assert run(*NAMES).err == "error: shard.tar: cut off; copy it again\n"


@pytest.mark.parametrize("arguments", [("--verbose", "info", "none"), ("info", "none", "--verbose")])
def test_verbose_shows_where_an_error_arose(run: Callable[..., Ran], arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    *trace, last = ran.err.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert any("bundle/folder.py" in line for line in trace)
    assert run("info", "none").err == f"{last}\n"


def test_verbose_can_be_the_name_of_a_photo(run: Callable[..., Ran]) -> None:
    err = run("--verbose", "classify", "--label", "x", "--", "--verbose").err
    assert err.splitlines()[-1].startswith("error: --verbose: no such photo")


def test_the_library_logs_and_the_command_line_tells(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        logger = logging.getLogger("samclip_edge.photo.read")
        logger.warning("%s: cut off,\nread as far as it goes", "a.jpg")
        logger.info("read")
        raise InputError("x")

    monkeypatch.setattr(Bundle, "open", fail)
    before = LOG.level, list(LOG.handlers)
    assert run(*NAMES).err == "note: a.jpg: cut off, read as far as it goes\nerror: x\n"
    assert "note: read\n" in run(*NAMES, "--verbose").err
    assert (LOG.level, LOG.handlers) == before


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_lets_the_program_tidy_up(number: str, code: int) -> None:
    process = started("wait")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, number))
    if number != "SIGINT":  # `timeout` sends its signal twice
        process.send_signal(getattr(signal, number))
    assert ended(process) == (code, b"tidied\n", b"error: stopped\n")


def test_a_worker_process_ends_as_it_would_without_us() -> None:
    process = started("wait", "--workers", 1)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"%d\n" % -signal.SIGTERM, b"ready\n"]
    process.terminate()
    assert ended(process) == (143, b"tidied\n", b"error: stopped\n")


def test_a_program_may_run_it_in_a_thread_and_collect_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[object] = []
    collected = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["samclip-edge", "info", "none", "--verbose"])
    monkeypatch.setattr(sys, "stderr", collected)

    def call() -> None:
        try:
            main()
        except SystemExit as stop:
            codes.append(stop.code)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert codes == [2]
    assert collected.getvalue().splitlines()[-1].startswith("error: none: no such bundle folder")
    assert sys.stderr is collected


def test_shells_complete_verbs_and_files(tmp_path: Path) -> None:
    script = str(Path(sys.executable).with_name("samclip-edge"))
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}

    def said(*arguments: str, **more: str) -> str:
        return subprocess.run([script, *arguments], env=environment | more, stdout=subprocess.PIPE, text=True).stdout

    shown = said("--show-completion", "bash")
    assert "complete -o default -F _samclip_edge_completion samclip-edge" in shown  # files, where nothing is offered
    said("--install-completion", "bash")
    assert (tmp_path / ".bash_completions" / "samclip-edge.sh").read_text().strip() == shown.strip()
    asked = {"_SAMCLIP_EDGE_COMPLETE": "complete_bash"}
    assert said(**asked, COMP_WORDS="samclip-edge cl", COMP_CWORD="1").split() == ["classify"]
    assert said(**asked, COMP_WORDS="samclip-edge classify ph", COMP_CWORD="2").split() == []
