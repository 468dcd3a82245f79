"""copy_file_range, sendfile, splice and reflinks."""

import fcntl
import os

from suite import *

BYTES = bytes(range(256)) * 64


@check("copy_file_range copies a range and moves both offsets")
def _():
    make_file("from", BYTES)
    with opened("from") as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        os.lseek(source, 10, os.SEEK_SET)
        copied = os.copy_file_range(source, target, 1000)
        equal((os.lseek(source, 0, os.SEEK_CUR), os.lseek(target, 0, os.SEEK_CUR)), (10 + copied, copied))
        equal(os.pread(target, 9999, 0), BYTES[10 : 10 + copied])


@check("copy_file_range with offsets leaves those of the descriptors")
def _():
    make_file("from", BYTES)
    with opened("from") as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        done = 0
        while done < 5000:
            done += os.copy_file_range(source, target, 5000 - done, done, 100 + done)
        equal((os.lseek(source, 0, os.SEEK_CUR), os.lseek(target, 0, os.SEEK_CUR)), (0, 0))
    equal(content("to"), b"\0" * 100 + BYTES[:5000])


@check("copy_file_range ends at the end of its source")
def _():
    make_file("from", b"12345")
    with opened("from") as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        equal(os.copy_file_range(source, target, 100, 3, 0), 2)
        equal(os.copy_file_range(source, target, 100, 5, 0), 0)
        equal(os.copy_file_range(source, target, 100, 50, 0), 0)
        equal(os.copy_file_range(source, target, 0, 0, 0), 0)
    equal(content("to"), b"45")


@check("copy_file_range within a file works where the ranges do not overlap, and is EINVAL where they do")
def _():
    make_file("file", b"0123456789")
    with opened("file", os.O_RDWR) as fd:
        equal(os.copy_file_range(fd, fd, 3, 0, 5), 3)
        refused("EINVAL", os.copy_file_range, fd, fd, 5, 0, 3)
    equal(content("file"), b"0123401289")


@check("copy_file_range sees what was not published yet, in both files")
def _():
    with opened("from", os.O_CREAT | os.O_RDWR) as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        os.write(source, b"new")
        os.write(target, b"0123456789")
        os.copy_file_range(source, target, 3, 0, 4)
        equal(os.pread(target, 20, 0), b"0123new789")


@check("copy_file_range is refused for directories, pipes, and what may not be read, written or appended to")
def _():
    make_file("file", BYTES)
    os.mkfifo("pipe")
    with opened("file", os.O_RDWR) as fd, opened("file", os.O_WRONLY) as writing, opened(".") as directory:
        with opened("pipe", os.O_RDWR) as pipe, opened("file", os.O_WRONLY | os.O_APPEND) as append:
            refused("EISDIR", os.copy_file_range, directory, fd, 1)
            refused("EINVAL", os.copy_file_range, pipe, fd, 1)
            refused("EBADF", os.copy_file_range, writing, fd, 1)
            refused("EBADF", os.copy_file_range, fd, append, 1)
    with opened("file") as reading, opened("file", os.O_RDWR) as fd:
        refused("EBADF", os.copy_file_range, fd, reading, 1, 0, 9000)


@check("a whole file is copied into an empty one")
def _():
    make_file("from", BYTES * 20)
    with opened("from") as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        done = 0
        while count := os.copy_file_range(source, target, 1 << 30):
            done += count
        equal(done, len(BYTES) * 20)
    equal(content("to") == BYTES * 20, True, "the copy")


@check("sendfile sends a file into a pipe, a socket and another file")
def _():
    import socket

    make_file("from", BYTES)
    with opened("from") as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        done = 0
        while done < len(BYTES):
            done += os.sendfile(target, source, done, len(BYTES) - done)
        equal(os.pread(target, len(BYTES), 0), BYTES)
        one, other = socket.socketpair()
        with one, other:
            equal(os.sendfile(one.fileno(), source, 5, 100), 100)
            equal(other.recv(200), BYTES[5:105])
        reading, writing = os.pipe()
        equal(os.sendfile(writing, source, 5, 100), 100)
        equal(os.read(reading, 200), BYTES[5:105])


@check("splice moves between a file and a pipe, both ways")
def _():
    make_file("from", BYTES)
    reading, writing = os.pipe()
    with opened("from") as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        equal(os.splice(source, writing, 5000, offset_src=7), 5000)
        done = 0
        while done < 5000:
            done += os.splice(reading, target, 5000 - done)
    equal(content("to"), BYTES[7:5007])


@check("a reflink is a copy, or EOPNOTSUPP")
def _():
    FICLONE = 0x40049409
    make_file("from", BYTES)
    with opened("from") as source, opened("to", os.O_CREAT | os.O_RDWR) as target:
        try:
            fcntl.ioctl(target, FICLONE, source)
        except OSError as error:
            equal(errno_name(error), "EOPNOTSUPP")
            return
    equal(content("to"), BYTES)
