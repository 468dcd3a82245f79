"""read, write and their kin, O_DIRECT, O_SYNC and fsync."""

import ctypes
import mmap
import os
import signal

from suite import *


@each({f"a file of {size} bytes comes back as it was written, in pieces of {piece}": (size, piece)
       for size, piece in [(1, 1), (4095, 4096), (4096, 4096), (4097, 1000), (1 << 20, 1 << 20), ((1 << 20) + 1, 65_537), (3 << 20, 123_457)]})
def _(size, piece):
    wanted = bytes((place * 7 + (place >> 8)) % 251 for place in range(8192)) * (size // 8192 + 1)
    wanted = wanted[:size]
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        for place in range(0, size, piece):
            equal(os.write(fd, wanted[place : place + piece]), len(wanted[place : place + piece]))
        os.lseek(fd, 0, os.SEEK_SET)
        parts = []
        while part := os.read(fd, piece):
            parts.append(part)
        equal(b"".join(parts) == wanted, True, "what was read")
    equal(content("file") == wanted, True, "what was read after the close")


@check("pread and pwrite leave the offset, readv and writev move it")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        equal(os.writev(fd, [b"0123", b"", b"456789"]), 10)
        os.pwrite(fd, b"xx", 2)
        equal(os.pread(fd, 4, 1), b"1xx4")
        equal(os.lseek(fd, 0, os.SEEK_CUR), 10)
        os.lseek(fd, 0, os.SEEK_SET)
        buffers = [bytearray(3), bytearray(20)]
        equal(os.readv(fd, buffers), 10)
        equal(bytes(buffers[0] + buffers[1][:7]), b"01xx456789")
        equal(os.pwritev(fd, [b"a", b"b"], 0), 2)
        refused("EINVAL", os.pread, fd, 1, -1)
        refused("EINVAL", os.pwrite, fd, b"1", -1)


@check("reading at and behind the end gives nothing, across it what is there")
def _():
    make_file("file", b"12345")
    with opened("file") as fd:
        equal([os.pread(fd, 9, place) for place in (3, 5, 6, 1 << 40)], [b"45", b"", b"", b""])


@check("reading and writing nothing is allowed")
def _():
    make_file("file", b"1")
    with opened("file", os.O_RDWR) as fd:
        equal((os.read(fd, 0), os.write(fd, b"")), (b"", 0))
    equal(content("file"), b"1")


@check("reading a directory is EISDIR")
def _():
    with opened(".") as fd:
        refused("EISDIR", os.read, fd, 1)
        refused("EISDIR EINVAL", os.pread, fd, 1, 0)


@check("two processes that append interleave whole records")
def _():
    def append(letter):
        with opened("file", os.O_WRONLY | os.O_APPEND) as fd:
            for _ in range(50):
                os.write(fd, letter * 99 + b"\n")

    make_file("file")
    pids = []
    for letter in (b"a", b"b"):
        pid = os.fork()
        if pid == 0:
            append(letter)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        equal(os.waitpid(pid, 0)[1], 0)
    lines = content("file").splitlines()
    equal((len(lines), set(lines)), (100, {b"a" * 99, b"b" * 99}))


@check("a child shares the offset of the descriptors that it inherits")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"1")
        in_child(lambda: os.write(fd, b"2"))
        os.write(fd, b"3")
        other = os.dup(fd)
        os.write(other, b"4")
        os.close(other)
        os.write(fd, b"5")
    equal(content("file"), b"12345")


def aligned(size):
    return mmap.mmap(-1, size)


@check("O_DIRECT writes and reads aligned blocks, and the page cache sees them")
def _():
    block = aligned(8192)
    block[:] = b"d" * 8192
    make_file("file", b"c" * 16384)
    equal(content("file"), b"c" * 16384)
    with opened("file", os.O_RDWR | os.O_DIRECT) as fd:
        equal(os.pwritev(fd, [block], 4096), 8192)
        back = aligned(4096)
        equal(os.preadv(fd, [back], 8192), 4096)
        equal(back[:], b"d" * 4096)
        equal(os.preadv(fd, [back], 16384), 0)
    equal(content("file"), b"c" * 4096 + b"d" * 8192 + b"c" * 4096)


@check("O_DIRECT reads what was written through the page cache")
def _():
    back = aligned(4096)
    with opened("file", os.O_CREAT | os.O_RDWR) as fd, opened("file", os.O_RDONLY | os.O_DIRECT) as direct:
        for letter in (b"a", b"b"):
            os.pwrite(fd, letter * 4096, 0)
            equal(os.preadv(direct, [back], 0), 4096)
            equal(back[:], letter * 4096)


@check("a buffered read finds what an asynchronous direct write has stored")
def _():
    make_file("file", b"a" * 65536)
    with opened("file", os.O_RDONLY) as reader:
        for letter in b"bcdefgh":
            # The reader's pages are in the cache before each write.
            os.pread(reader, 65536, 0)
            equal(direct_asynchronously("file", bytes([letter]) * 16384, 16384), 16384)
            equal(set(os.pread(reader, 16384, 16384)), {letter})


@check("a buffered read beside direct writes and other readers is as new as the last write that has ended before it began")
def _():
    size = 65536
    block = aligned(size)
    make_file("file", bytes(size))
    readers = [reading_all_the_time("file", size) for _ in range(2)]
    try:
        with opened("file", os.O_RDWR | os.O_DIRECT) as fd, opened("file") as checker:
            for number in range(1, 60):
                block[:] = bytes([number]) * size
                equal(os.pwritev(fd, [block], 0), size)
                equal(set(os.pread(checker, size, 0)), {number}, f"what is read after write {number}")
    finally:
        for pid in readers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def reading_all_the_time(path, size):
    """In a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            with opened(path) as fd:
                while True:
                    os.pread(fd, size, 0)
        finally:
            os._exit(1)
    return pid


@check("fcntl switches O_APPEND and O_DIRECT on and off")
def _():
    import fcntl

    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"12")
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"3")
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        os.pwrite(fd, b"x", 0)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    equal(content("file"), b"x23")


@each({f"{name} of a file, of one for reading, and of a directory succeeds": sync for name, sync in {
    "fsync": os.fsync, "fdatasync": os.fdatasync, "syncfs": lambda fd: system("syncfs", fd),
}.items()})
def _(sync):
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"1")
        sync(fd)
        os.write(fd, b"2")
        sync(fd)
    for path in ("file", "."):
        with opened(path) as fd:
            sync(fd)
    equal(content("file"), b"12")


@check("fsync of a pipe is EINVAL")
def _():
    os.mkfifo("pipe")
    with opened("pipe", os.O_RDWR) as fd:
        refused("EINVAL", os.fsync, fd)


@check("sync_file_range and posix_fadvise are accepted")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"1" * 10_000)
        system("sync_file_range", fd, 0, 10_000, 7)
        for advice in range(6):
            os.posix_fadvise(fd, 0, 0, advice)
        equal(os.pread(fd, 20_000, 0), b"1" * 10_000)


@each({f"{name} writes like any other": flag for name, flag in {"O_SYNC": os.O_SYNC, "O_DSYNC": os.O_DSYNC}.items()})
def _(flag):
    with opened("file", os.O_CREAT | os.O_RDWR | flag) as fd:
        for number in range(5):
            os.write(fd, b"%d" % number)
    equal(content("file"), b"01234")


@check("pwritev2 appends with RWF_APPEND, and writes through with RWF_DSYNC")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"12")
        os.pwritev(fd, [b"3"], 0, os.RWF_DSYNC)
        os.pwritev(fd, [b"4"], 0, 0x10)
    equal(content("file"), b"324")


@check("an unknown ioctl is ENOTTY, FIONREAD says how much is left")
def _():
    import array
    import fcntl
    import termios

    make_file("file", b"12345")
    with opened("file") as fd:
        os.read(fd, 2)
        left = array.array("i", [0])
        fcntl.ioctl(fd, termios.FIONREAD, left)
        equal(left[0], 3)
        refused("ENOTTY", fcntl.ioctl, fd, 0x5401, ctypes.create_string_buffer(64).raw)


@check("select and poll find a file ready")
def _():
    import select

    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        equal(select.select([fd], [fd], [], 0), ([fd], [fd], []))
        poll = select.poll()
        poll.register(fd, select.POLLIN | select.POLLOUT)
        equal(poll.poll(0), [(fd, select.POLLIN | select.POLLOUT)])
