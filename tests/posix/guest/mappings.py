"""mmap: shared and private, at and behind the end, and together with read and write."""

import ctypes
import mmap
import os
import signal

from suite import *

PAGE = 4096
libc.mmap.restype = ctypes.c_void_p


def shared(fd, length, **options):
    return mmap.mmap(fd, length, mmap.MAP_SHARED, **options)


@check("what is written through a shared mapping is in the file, at once for readers and after msync and unmapping")
def _():
    make_file("file", b"x" * 3 * PAGE)
    with opened("file", os.O_RDWR) as fd, shared(fd, 3 * PAGE) as memory:
        memory[PAGE : PAGE + 3] = b"abc"
        equal(os.pread(fd, 5, PAGE - 1), b"xabcx")
        memory.flush()
        memory[0:1] = b"y"
    equal(content("file"), b"y" + b"x" * (PAGE - 1) + b"abc" + b"x" * (2 * PAGE - 3))


@check("what is written to the file shows in a shared mapping")
def _():
    make_file("file", b"x" * 2 * PAGE)
    with opened("file", os.O_RDWR) as fd, shared(fd, 2 * PAGE) as memory:
        equal(memory[:1], b"x")
        os.pwrite(fd, b"new", PAGE)
        equal(memory[PAGE : PAGE + 4], b"newx")


@check("a private mapping changes nothing")
def _():
    make_file("file", b"x" * PAGE)
    with opened("file") as fd, mmap.mmap(fd, PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        memory[0:3] = b"abc"
        equal(memory[:4], b"abcx")
    equal(content("file"), b"x" * PAGE)


@check("two mappings in two processes are one memory")
def _():
    make_file("file", b"x" * PAGE)
    with opened("file", os.O_RDWR) as fd, shared(fd, PAGE) as memory:

        def change():
            with opened("file", os.O_RDWR) as own, shared(own, PAGE) as other:
                other[10:13] = b"abc"

        equal(in_child(change), 0)
        equal(memory[9:14], b"xabcx")


def map_pages(fd, count):
    """The address of whole pages, which Python's own mapping does not give behind the end."""
    address = libc.mmap(None, ctypes.c_size_t(count * PAGE), 3, mmap.MAP_SHARED, fd, ctypes.c_long(0))
    true(address != ctypes.c_void_p(-1).value, "it cannot be mapped")
    return address


@check("the rest of the last page is zeros, and writing there makes the file no longer")
def _():
    make_file("file", b"x" * 100)
    with opened("file", os.O_RDWR) as fd:
        address = map_pages(fd, 1)
        equal(ctypes.string_at(address + 99, 50), b"x" + b"\0" * 49)
        ctypes.memmove(address + 99, b"yz", 2)
        system("msync", ctypes.c_void_p(address), PAGE, 4)
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(PAGE))
        equal(os.fstat(fd).st_size, 100)
    equal(content("file"), b"x" * 99 + b"y")


def touch(offset, size, write):
    with opened("file", os.O_RDWR) as fd:
        address = map_pages(fd, 4)
        os.ftruncate(fd, size)
        if write:
            ctypes.memmove(address + offset, b"y", 1)
        else:
            ctypes.string_at(address + offset, 1)


@each({f"{what} a page behind the end is SIGBUS": write for what, write in {"reading": False, "writing": True}.items()})
def _(write):
    make_file("file", b"x" * 4 * PAGE)
    equal(in_child(lambda: touch(PAGE, PAGE, write)), signal.SIGBUS)
    equal(in_child(lambda: touch(PAGE - 1, PAGE, write)), 0)
    equal(in_child(lambda: touch(0, 0, write)), signal.SIGBUS)


@check("a mapping sees a file grow")
def _():
    make_file("file", b"x" * PAGE)
    with opened("file", os.O_RDWR) as fd, shared(fd, PAGE) as memory:
        os.ftruncate(fd, 2 * PAGE)
        memory.resize(2 * PAGE)
        memory[PAGE : PAGE + 1] = b"y"
        equal(os.pread(fd, 2, PAGE), b"y\0")


@check("truncation takes pages out of a mapping, and what comes back is zeros")
def _():
    make_file("file", b"x" * 2 * PAGE)
    with opened("file", os.O_RDWR) as fd, shared(fd, 2 * PAGE) as memory:
        equal(memory[PAGE + 1 : PAGE + 2], b"x")
        os.ftruncate(fd, 10)
        os.ftruncate(fd, 2 * PAGE)
        equal(memory[8:12], b"xx\0\0")
        equal(memory[PAGE : PAGE + 1], b"\0")


@check("a mapping outlives the descriptor")
def _():
    make_file("file", b"x" * PAGE)
    fd = os.open("file", os.O_RDWR)
    memory = shared(fd, PAGE)
    os.close(fd)
    memory[0:1] = b"y"
    memory.flush()
    memory.close()
    equal(content("file")[:2], b"yx")


@check("the right to map follows the descriptor: EACCES for writing to one for reading")
def _():
    make_file("file", b"x" * PAGE)
    with opened("file") as fd:
        refused("EACCES", shared, fd, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        shared(fd, PAGE, prot=mmap.PROT_READ).close()
    with opened("file", os.O_WRONLY) as fd:
        refused("EACCES", shared, fd, PAGE, prot=mmap.PROT_READ)


@check("a directory cannot be mapped: ENODEV")
def _():
    with opened(".") as fd:
        refused("ENODEV", mmap.mmap, fd, PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ)


@check("writing through a mapping marks the times at msync")
def _():
    make_file("file", b"x" * PAGE)
    before = os.stat("file")
    tick()
    with opened("file", os.O_RDWR) as fd, shared(fd, PAGE) as memory:
        memory[0:1] = b"y"
        memory.flush()
    after = os.stat("file")
    true(after.st_mtime_ns > before.st_mtime_ns, "the modification time stayed")
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")


@check("a file of holes can be mapped and filled in any order")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 64 * PAGE)
        with shared(fd, 64 * PAGE) as memory:
            for page in (63, 0, 31, 7):
                memory[page * PAGE] = page
    found = content("file")
    equal([page for page in range(64) if found[page * PAGE]], [7, 31, 63])


@check("a mapping takes part in write: from a mapped file to itself and to another")
def _():
    make_file("file", bytes(range(256)) * 32)
    with opened("file", os.O_RDWR) as fd, shared(fd, 2 * PAGE) as memory:
        with opened("other", os.O_CREAT | os.O_RDWR) as other:
            equal(os.write(other, memory), 2 * PAGE)
            equal(os.pread(other, 2 * PAGE, 0), bytes(range(256)) * 32)
        equal(os.pwrite(fd, memoryview(memory)[:PAGE], PAGE), PAGE)
