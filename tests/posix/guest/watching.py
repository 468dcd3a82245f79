"""inotify: what processes of the same guest do is told."""

import os
import struct

from suite import *

MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF, ISDIR = (
    0x2, 0x4, 0x8, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x40000000,
)


def watch(path, mask):
    fd = system("inotify_init1", os.O_NONBLOCK)
    system("inotify_add_watch", fd, path, mask)
    return fd


def events(fd):
    try:
        buffer = os.read(fd, 65536)
    except BlockingIOError:
        return []
    found, place = [], 0
    while place < len(buffer):
        _, mask, _, length = struct.unpack_from("iIII", buffer, place)
        place += 16
        found.append((mask, buffer[place : place + length].rstrip(b"\0").decode()))
        place += length
    return found


CHANGES = {
    "making a file": (lambda: make_file("new"), CREATE, "new"),
    "making a directory": (lambda: os.mkdir("new"), CREATE | ISDIR, "new"),
    "making a link": (lambda: os.symlink("target", "new"), CREATE, "new"),
    "making a pipe": (lambda: os.mkfifo("new"), CREATE, "new"),
    "writing": (lambda: append(), MODIFY, "file"),
    "truncating": (lambda: os.truncate("file", 1), MODIFY, "file"),
    "closing what was written": (lambda: append(), CLOSE_WRITE, "file"),
    "chmod": (lambda: os.chmod("file", 0o600), ATTRIB, "file"),
    "setxattr": (lambda: os.setxattr("file", "user.a", b"1"), ATTRIB, "file"),
    "removing a file": (lambda: os.unlink("file"), DELETE, "file"),
    "removing a directory": (lambda: os.rmdir("directory"), DELETE | ISDIR, "directory"),
    "renaming away": (lambda: os.rename("file", "other"), MOVED_FROM, "file"),
    "renaming to": (lambda: os.rename("file", "other"), MOVED_TO, "other"),
}


def append():
    with opened("file", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"1")


@each({f"{what} is told to who watches the directory": change for what, change in CHANGES.items()})
def _(do, mask, name):
    make_file("file", b"123")
    make_directory("directory")
    fd = watch(".", mask & ~ISDIR)
    do()
    true((mask, name) in events(fd), "nothing was told")


@check("a file that is watched itself is told of its move and of its end")
def _():
    make_file("file")
    fd = watch("file", MOVE_SELF | DELETE_SELF)
    os.rename("file", "other")
    os.unlink("other")
    equal([mask for mask, _ in events(fd)][:2], [MOVE_SELF, DELETE_SELF])
