"""truncate, ftruncate, fallocate and holes."""

import errno
import os

from suite import *

PAGE = 4096


@each({f"{name} cuts, and grows with zeros": cut for name, cut in {
    "truncate": lambda size: os.truncate("file", size),
    "ftruncate": lambda size: truncated_by_descriptor(size),
}.items()})
def _(cut):
    make_file("file", b"x" * 10_000)
    wanted = b"x" * 10_000
    for size in (9_999, PAGE + 1, PAGE, PAGE - 1, 1, 0, 5_000, 4_000, 20_000):
        cut(size)
        wanted = wanted[:size].ljust(size, b"\0")
        equal((os.stat("file").st_size, content("file") == wanted), (size, True))


def truncated_by_descriptor(size):
    with opened("file", os.O_RDWR) as fd:
        os.ftruncate(fd, size)


@check("what was cut off does not come back, whatever the cache held")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"x" * 3 * PAGE)
        os.ftruncate(fd, 100)
        os.ftruncate(fd, 3 * PAGE)
        equal(os.pread(fd, 3 * PAGE, 0), b"x" * 100 + b"\0" * (3 * PAGE - 100))
        os.fsync(fd)
        os.ftruncate(fd, 50)
        os.pwrite(fd, b"y", 2 * PAGE)
        equal(os.pread(fd, 3 * PAGE, 0), b"x" * 50 + b"\0" * (2 * PAGE - 50) + b"y")
    equal(content("file"), b"x" * 50 + b"\0" * (2 * PAGE - 50) + b"y")


@each({f"truncate of {kind} is {wanted}": (make, wanted) for kind, make, wanted in [
    ("a directory", make_directory, "EISDIR"),
    ("a pipe", os.mkfifo, "EINVAL"),
    ("a socket", make_socket, "EINVAL"),
    ("a device", MAKERS["a character device"], "EINVAL"),
]})
def _(make, wanted):
    make("name")
    refused(wanted, os.truncate, "name", 0)


@check("a negative length is EINVAL, one beyond what the file system takes EFBIG")
def _():
    make_file("file", b"123")
    refused("EINVAL", os.truncate, "file", -1)
    refused("EFBIG", os.truncate, "file", 2**63 - 1)
    with opened("file", os.O_RDWR) as fd:
        refused("EINVAL", os.ftruncate, fd, -1)
        refused("EFBIG", os.ftruncate, fd, 2**63 - 1)
        refused("EINVAL EFBIG", os.pwrite, fd, b"12", 2**63 - 2)
    equal(content("file"), b"123")


@check("a process's limit of file sizes is EFBIG with SIGXFSZ, and nothing is written beyond it")
def _():
    import resource
    import signal

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with opened("file", os.O_CREAT | os.O_RDWR) as fd:
            equal(os.pwrite(fd, b"x" * 2000, 0), 1000)
            refused("EFBIG", os.pwrite, fd, b"x", 1000)
            refused("EFBIG", os.ftruncate, fd, 1001)
            refused("EFBIG", os.posix_fallocate, fd, 0, 1001)

    equal(in_child(limited), 0)
    equal(os.stat("file").st_size, 1000)


@check("truncate needs the right to write, and not that of opening")
def _():
    make_file("file", b"123", 0o444)
    make_file("dark", b"123", 0o222)
    with user(ALICE):
        refused("EACCES", os.truncate, "file", 0)
        os.truncate("dark", 1)
    equal((os.stat("file").st_size, os.stat("dark").st_size), (3, 1))


@check("fallocate makes a file longer with zeros, and leaves what is there")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"123")
        fallocate(fd, 0, 2, 10)
        equal((os.fstat(fd).st_size, os.pread(fd, 20, 0)), (12, b"123" + b"\0" * 9))
        fallocate(fd, 0, 0, 5)
        equal(os.fstat(fd).st_size, 12)
        fallocate(fd, KEEP_SIZE, 100, 100)
        equal(os.fstat(fd).st_size, 12)
        os.posix_fallocate(fd, 0, 5000)
        equal(os.fstat(fd).st_size, 5000)


@check("punching makes zeros and leaves the size, also behind the end")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"x" * 3 * PAGE)
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 10, 2 * PAGE)
        wanted = b"x" * 10 + b"\0" * 2 * PAGE + b"x" * (PAGE - 10)
        equal(os.pread(fd, 4 * PAGE, 0), wanted)
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 3 * PAGE - 1, 10 * PAGE)
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 10 * PAGE, PAGE)
        equal(os.pread(fd, 4 * PAGE, 0), wanted[:-1] + b"\0")
    equal(content("file"), wanted[:-1] + b"\0")


@check("zeroing a range makes zeros, and the file longer unless KEEP_SIZE is given")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"x" * PAGE)
        fallocate(fd, ZERO_RANGE, 10, 10)
        fallocate(fd, ZERO_RANGE | KEEP_SIZE, PAGE - 1, PAGE)
        equal(os.pread(fd, 2 * PAGE, 0), b"x" * 10 + b"\0" * 10 + b"x" * (PAGE - 21) + b"\0")
        fallocate(fd, ZERO_RANGE, PAGE, PAGE)
        equal(os.fstat(fd).st_size, 2 * PAGE)


@check("fallocate with a length of nothing, a negative range or a strange mode is refused")
def _():
    make_file("file", b"123")
    with opened("file", os.O_RDWR) as fd:
        refused("EINVAL", fallocate, fd, 0, 0, 0)
        refused("EINVAL", fallocate, fd, 0, -1, 10)
        refused("EINVAL", fallocate, fd, 0, 0, -1)
        refused("EFBIG", fallocate, fd, 0, 2**63 - 10, 10)
        refused("EOPNOTSUPP", fallocate, fd, PUNCH_HOLE, 0, 1)
        refused("EOPNOTSUPP EINVAL", fallocate, fd, 1 << 20, 0, 1)
    make_directory("directory")
    os.mkfifo("pipe")
    with opened("directory") as fd:
        refused("EBADF EISDIR", fallocate, fd, 0, 0, 1)
    with opened("pipe", os.O_RDWR) as fd:
        refused("ESPIPE", fallocate, fd, 0, 0, 1)
    equal(content("file"), b"123")


@check("ranges are collapsed and inserted, or refused with EOPNOTSUPP")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"a" * PAGE + b"b" * PAGE + b"c" * PAGE)
        for mode, wanted in ((COLLAPSE_RANGE, b"ac"), (INSERT_RANGE, b"a\0c")):
            try:
                fallocate(fd, mode, PAGE, PAGE)
            except OSError as error:
                equal(errno_name(error), "EOPNOTSUPP")
                return
            equal(os.pread(fd, 4 * PAGE, 0)[::PAGE], wanted)


@check("what was never written reads as zeros, before and after the file is closed")
def _():
    places = (0, 5 * PAGE + 7, 1 << 20, (1 << 24) + 1)
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        for place in reversed(places):
            os.pwrite(fd, b"x", place)
        for place in places[1:]:
            equal(os.pread(fd, 3, place - 1), b"\0x\0"[: 3 if place != places[-1] else 2])
    with opened("file") as fd:
        equal(os.fstat(fd).st_size, places[-1] + 1)
        for place in places[1:]:
            equal(os.pread(fd, 3, place - 1), b"\0x\0"[: 3 if place != places[-1] else 2])


@check("SEEK_DATA and SEEK_HOLE lead over all data and end at the end")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 65536, 0)
        os.pwrite(fd, b"x" * 65536, 1 << 20)
        size = (1 << 20) + 65536
        at, found = 0, bytearray(size)
        while True:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                equal(error.errno, errno.ENXIO)
                break
            end = os.lseek(fd, at, os.SEEK_HOLE)
            true(end > at, "data without length")
            found[at:end] = os.pread(fd, end - at, at)
            at = end
        equal(bytes(found) == os.pread(fd, size, 0), True, "what is between the holes")
        equal(os.lseek(fd, size - 1, os.SEEK_HOLE), size)
        refused("ENXIO", os.lseek, fd, size, os.SEEK_DATA)
        refused("ENXIO", os.lseek, fd, size, os.SEEK_HOLE)
        refused("ENXIO", os.lseek, fd, size + 1, os.SEEK_DATA)


@check("lseek: from the start, the place and the end, and EINVAL for what is before all bytes")
def _():
    make_file("file", b"0123456789")
    with opened("file", os.O_RDWR) as fd:
        equal([os.lseek(fd, 4, os.SEEK_SET), os.lseek(fd, 3, os.SEEK_CUR), os.lseek(fd, -1, os.SEEK_END)], [4, 7, 9])
        equal(os.read(fd, 5), b"9")
        refused("EINVAL", os.lseek, fd, -1, os.SEEK_SET)
        refused("EINVAL", os.lseek, fd, -11, os.SEEK_END)
        refused("EINVAL", os.lseek, fd, 0, 99)
        equal(os.lseek(fd, 0, os.SEEK_CUR), 10)
        equal(os.lseek(fd, 1 << 40, os.SEEK_SET), 1 << 40)
        equal(os.read(fd, 5), b"")


@check("another descriptor's changes of size are seen by SEEK_END and O_APPEND")
def _():
    make_file("file", b"12345")
    with opened("file", os.O_RDWR) as fd, opened("file", os.O_WRONLY | os.O_APPEND) as other:
        os.write(other, b"678")
        equal(os.lseek(fd, 0, os.SEEK_END), 8)
        os.ftruncate(fd, 2)
        os.write(other, b"x")
        equal(os.pread(fd, 9, 0), b"12x")


@check("a file larger than 4 GiB holds its last byte")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"x", 5 << 30)
        equal((os.fstat(fd).st_size, os.pread(fd, 2, (5 << 30) - 1)), ((5 << 30) + 1, b"\0x"))
        os.ftruncate(fd, 0)
