"""utimensat, and which calls mark which times."""

import os
import struct
import time

from suite import *

UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE


def utimensat(path, atime, mtime, flags=0):
    system("utimensat", AT_FDCWD, path, struct.pack("=qqqq", *atime, *mtime), flags)


def times(path):
    found = os.lstat(path)
    return found.st_atime_ns, found.st_mtime_ns


@each({f"{kind} keeps the times that were set, to the nanosecond": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    os.utime("name", ns=(1_234_567_890_123_456_789, 1_334_567_890_987_654_321), follow_symlinks=False)
    equal(times("name"), (1_234_567_890_123_456_789, 1_334_567_890_987_654_321))


@each({f"the year {year} can be set": seconds for year, seconds in {
    1902: -(2**31) + 60, 1969: -1, 1970: 0, 2038: 2**31 - 1, "2038, one second on": 2**31, 2106: 2**32, 2400: 13_569_465_600,
}.items()})
def _(seconds):
    make_file("file")
    make_directory("directory")
    for path in ("file", "directory"):
        utimensat(path, (seconds, 1), (seconds, 2))
        equal(times(path), (seconds * 10**9 + 1, seconds * 10**9 + 2))


@check("UTIME_OMIT leaves a time, UTIME_NOW sets the present")
def _():
    make_file("file")
    utimensat("file", (1, 1), (2, 2))
    utimensat("file", (0, UTIME_OMIT), (3, 3))
    equal(times("file"), (10**9 + 1, 3 * 10**9 + 3))
    utimensat("file", (4, 4), (0, UTIME_OMIT))
    equal(times("file"), (4 * 10**9 + 4, 3 * 10**9 + 3))
    utimensat("file", (0, UTIME_OMIT), (0, UTIME_NOW))
    make_file("later")
    true(times("file")[0] == 4 * 10**9 + 4, "the access time changed")
    true(abs(times("file")[1] - times("later")[1]) < 60 * 10**9, "now is not now")


@check("UTIME_OMIT twice changes nothing, not even the change time")
def _():
    make_file("file")
    before = os.stat("file")
    tick()
    utimensat("file", (0, UTIME_OMIT), (0, UTIME_OMIT))
    equal(os.stat("file"), before)


@check("nanoseconds beyond 999999999 are EINVAL")
def _():
    make_file("file")
    refused("EINVAL", utimensat, "file", (1, 10**9), (1, 1))
    refused("EINVAL", utimensat, "file", (1, 1), (1, -1))


@each({f"setting the times of {kind} marks its change time": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    before = os.lstat("name")
    tick()
    os.utime("name", (1, 1), follow_symlinks=False)
    true(os.lstat("name").st_ctime_ns > before.st_ctime_ns, "the change time stayed")


@check("utimensat follows links unless it is told not to")
def _():
    make_file("file")
    os.symlink("file", "link")
    os.utime("link", (1, 1))
    os.utime("link", (2, 2), follow_symlinks=False)
    equal((times("file"), times("link")), ((10**9,) * 2, (2 * 10**9,) * 2))


@check("the owner sets any time, who may write sets the present, anybody else neither")
def _():
    make_file("file", mode=0o666)
    os.chown("file", ALICE, ALICE)
    with user(ALICE):
        os.utime("file", (1, 1))
        os.utime("file")
    with user(BOB):
        os.utime("file")
        refused("EPERM", os.utime, "file", (1, 1))
        refused("EPERM", utimensat, "file", (0, UTIME_NOW), (0, UTIME_OMIT))
    os.chmod("file", 0o644)
    with user(BOB):
        refused("EACCES", os.utime, "file")
        refused("EPERM", os.utime, "file", (1, 1))
    os.chmod("file", 0o444)
    with user(ALICE):
        os.utime("file")


@check("futimens works on a descriptor for reading, and on one whose file was removed")
def _():
    make_file("file")
    with opened("file") as fd:
        os.utime(fd, (5, 6))
        os.unlink("file")
        equal((os.fstat(fd).st_atime, os.fstat(fd).st_mtime), (5, 6))
        os.utime(fd, (7, 8))
        equal((os.fstat(fd).st_atime, os.fstat(fd).st_mtime), (7, 8))


def with_file(do, flags=os.O_RDWR):
    with opened("file", flags) as fd:
        return do(fd)


MARKING = {
    "write": lambda: with_file(lambda fd: os.write(fd, b"1")),
    "a write behind the end": lambda: with_file(lambda fd: os.pwrite(fd, b"1", 99_999)),
    "a write of the same bytes": lambda: with_file(lambda fd: os.write(fd, b"12345678")),
    "truncate": lambda: os.truncate("file", 4),
    "truncate to something longer": lambda: os.truncate("file", 40),
    "truncate to the same size": lambda: os.truncate("file", 8),
    "ftruncate": lambda: with_file(lambda fd: os.ftruncate(fd, 4)),
    "ftruncate to something longer": lambda: with_file(lambda fd: os.ftruncate(fd, 40)),
    "O_TRUNC": lambda: os.close(os.open("file", os.O_WRONLY | os.O_TRUNC)),
    "fallocate that makes it longer": lambda: with_file(lambda fd: fallocate(fd, 0, 0, 100)),
    "punching a hole": lambda: with_file(lambda fd: fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 0, 4)),
    "copy_file_range": lambda: with_file(lambda fd: os.copy_file_range(fd, fd, 4, 0, 4)),
}


@each({f"{way} marks modification and change time": do for way, do in MARKING.items()})
def _(do):
    make_file("file", b"12345678")
    before = os.stat("file")
    tick()
    do()
    after = os.stat("file")
    true(after.st_mtime_ns > before.st_mtime_ns, "the modification time stayed")
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")


LEAVING = {
    "open": lambda: with_file(lambda fd: None),
    "close after writing nothing": lambda: with_file(lambda fd: os.write(fd, b"")),
    "fsync": lambda: with_file(os.fsync),
    "stat": lambda: os.stat("file"),
    "lseek": lambda: with_file(lambda fd: os.lseek(fd, 100, os.SEEK_END)),
    "a failed truncate": lambda: refused("EINVAL", os.truncate, "file", -1),
    "reading": lambda: with_file(lambda fd: os.read(fd, 8)),
}


@each({f"{way} leaves modification and change time": do for way, do in LEAVING.items()})
def _(do):
    make_file("file", b"12345678")
    before = os.stat("file")
    tick()
    do()
    after = os.stat("file")
    equal((after.st_mtime_ns, after.st_ctime_ns), (before.st_mtime_ns, before.st_ctime_ns))


READING = {
    "a file is read": lambda: content("file"),
    "a directory is read": lambda: os.listdir("directory"),
    "a link is followed": lambda: os.stat("link"),
}


@each({f"the access time is marked when {what}": do for what, do in READING.items()})
def _(do):
    make_file("file", b"1")
    make_directory("directory")
    make_file("directory/file")
    os.symlink("file", "link")
    paths = ("file", "directory", "link")
    before = [os.lstat(path).st_atime_ns for path in paths]
    tick()
    do()
    after = [os.lstat(path).st_atime_ns for path in paths]
    true(after != before, "the access time stayed")


@check("the times of a file after its close are those of its last write")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"1")
        written = os.fstat(fd)
        time.sleep(0.1)
    equal((os.stat("file").st_mtime_ns, os.stat("file").st_ctime_ns), (written.st_mtime_ns, written.st_ctime_ns))


@check("times that were set while a file is open survive its close")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"1")
        os.utime("file", (5, 6))
        os.fsync(fd)
        equal(os.stat("file").st_mtime, 6)
    equal((os.stat("file").st_atime, os.stat("file").st_mtime), (5, 6))


@check("a new file is not older than its directory was, nor than a file made before it")
def _():
    previous = os.stat(".").st_mtime_ns
    for number in range(10):
        make_file(str(number))
        equal(previous <= os.stat(str(number)).st_mtime_ns, True, "the order of the times")
        previous = os.stat(str(number)).st_mtime_ns


@check("all times move forward only, and none is in the future")
def _():
    make_file("file")
    last = 0
    for number in range(5):
        with opened("file", os.O_WRONLY) as fd:
            os.write(fd, b"1")
        found = os.stat("file")
        true(found.st_mtime_ns >= last, "time went backwards")
        equal(found.st_mtime_ns, found.st_ctime_ns)
        last = found.st_mtime_ns
