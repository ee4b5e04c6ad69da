"""The one writer of files looks at what is there before it writes."""

import errno
import json
import os
import resource
import socket
import stat
import threading

import pytest

from simulator.errors import OutputError
from simulator.files import entry_lines, is_standard_output, scratch_beside, staged, write_file


def nothing_aside(folder):
    return [file.name for file in folder.iterdir() if file.name.endswith(".part")] == []


def test_a_regular_file_keeps_its_permissions_and_is_replaced(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(0o640)
    inode = target.stat().st_ino
    write_file(target, "new")
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.stat().st_ino != inode
    assert nothing_aside(tmp_path)


def test_folders_on_the_way_are_made(tmp_path):
    write_file(tmp_path / "a" / "b" / "c.txt", b"\x00\x01")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"\x00\x01"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path, there):
    """Written beside the real file, whether that exists already or not."""
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real.txt", tmp_path / "link.txt"
    if there:
        real.write_text("old")
    link.symlink_to(real)
    with staged(link) as aside:
        assert aside.parent == real.parent
        aside.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert not real.is_symlink()


def test_a_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_file(pipe, b"x" * 200_000)
    reader.join(20)
    assert received == [b"x" * 200_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert scratch_beside(pipe) is None
    assert nothing_aside(tmp_path)


def test_a_reader_that_goes_away_is_told(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def look_and_go():
        with pipe.open("rb") as stream:
            stream.read(1)

    reader = threading.Thread(target=look_and_go, daemon=True)
    reader.start()
    with pytest.raises(OutputError, match="whoever read it has gone"):
        write_file(pipe, b"x" * 1_000_000)
    reader.join(20)


def test_a_descriptor_of_this_process_is_shared_not_opened_anew(tmp_path):
    """What is written to it afterwards comes after it, also where it is a regular file."""
    file = tmp_path / "shared"
    with file.open("wb", buffering=0) as stream:
        stream.write(b"before ")
        link = tmp_path / "link"
        link.symlink_to(f"/dev/fd/{stream.fileno()}")
        write_file(link, b"through ")
        stream.write(b"after")
    assert file.read_bytes() == b"before through after"
    assert link.is_symlink()


def test_a_character_device_is_written_through(tmp_path, monkeypatch):
    """Told by its mode alone: no device is touched here."""
    target = tmp_path / "device"
    target.write_bytes(b"")
    inode = target.stat().st_ino
    monkeypatch.setattr(stat, "S_IFMT", lambda mode: stat.S_IFCHR)
    write_file(target, b"abc")
    monkeypatch.undo()
    assert target.read_bytes() == b"abc"
    assert target.stat().st_ino == inode


def test_what_cannot_be_a_file_is_refused_and_stays(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="it is a folder"):
        write_file(tmp_path, "x")
    monkeypatch.chdir(tmp_path)  # the name of a socket has a short limit
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OutputError, match="socket: cannot be written: it is a socket"):
            write_file(tmp_path / "socket", "x")
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OutputError, match="links lead in a circle"):
        write_file(tmp_path / "one", "x")
    (tmp_path / "dangling").symlink_to(tmp_path / "not" / "there")
    with pytest.raises(OutputError, match="a folder on its path is not there"):
        write_file(tmp_path / "dangling", "x")
    assert (tmp_path / "dangling").is_symlink()
    with pytest.raises(OutputError, match="the name is too long"):
        write_file(tmp_path / ("x" * 300), "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file, not a folder"):
        write_file(tmp_path / "file" / "x", "x")


def test_a_long_name_that_the_disk_takes_is_taken(tmp_path):
    write_file(tmp_path / ("ä" * 120), "x")
    assert (tmp_path / ("ä" * 120)).read_text() == "x"


def write_half(target, error):
    with staged(target) as aside:
        aside.write_text("half")
        raise error


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    full = OSError(errno.ENOSPC, "No space left on device")
    for raised, seen in ((full, OutputError), (KeyboardInterrupt(), KeyboardInterrupt)):
        with pytest.raises(seen):
            write_half(target, raised)
    assert target.read_text() == "old"
    assert nothing_aside(tmp_path)


def test_a_limit_of_the_system_is_told(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(OutputError, match="larger than is allowed"):
            write_file(tmp_path / "a", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_standard_output_is_known_by_its_names(tmp_path):
    assert is_standard_output(tmp_path / ".." / ".." / "dev" / "stdout") is False
    (tmp_path / "link").symlink_to("/dev/fd/1")
    assert is_standard_output(tmp_path / "link")
    assert not is_standard_output(tmp_path / "absent")
    assert not is_standard_output(tmp_path)


def test_json_with_a_line_for_each_entry():
    data = {"name": "a", "points": [{"x": [1, 2]}, {}], "none": [], "few": {"b": {"c": 0.1}}}
    text = entry_lines(data).decode()
    assert json.loads(text) == data
    assert text.splitlines() == [
        "{",
        '  "name": "a",',
        '  "points": [',
        '    {"x": [1, 2]},',
        "    {}",
        "  ],",
        '  "none": [],',
        '  "few": {',
        '    "b": {"c": 0.1}',
        "  }",
        "}",
    ]
    assert json.loads(entry_lines({})) == {}
    for broken in ({"a": float("nan")}, {"a": [float("inf")]}, {"a": {"b": float("nan")}}):
        with pytest.raises(ValueError, match="JSON"):
            entry_lines(broken)
