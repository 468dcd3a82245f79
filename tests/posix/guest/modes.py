"""chmod and fchmod."""

import os
import stat

from suite import *

NODES = {kind: make for kind, make in MAKERS.items() if kind != "a symbolic link"}


@each({f"every bit of the mode of {kind} is kept": make for kind, make in NODES.items()})
def _(make):
    make("name")
    for mode in [1 << bit for bit in range(12)] + [0, 0o7777, 0o644]:
        os.chmod("name", mode)
        equal(permissions("name"), mode)


@check("chmod follows links, and a link itself has no mode to change")
def _():
    make_file("file", mode=0o600)
    os.symlink("file", "link")
    os.chmod("link", 0o640)
    equal((permissions("file"), permissions("link")), (0o640, 0o777))
    refused("EOPNOTSUPP ENOTSUP", system, "fchmodat", AT_FDCWD, "link", 0o600, 0x100)


@check("fchmod works on a descriptor whose file was removed")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.unlink("file")
        os.fchmod(fd, 0o604)
        equal(os.fstat(fd).st_mode, stat.S_IFREG | 0o604)


@each({f"only the owner and root change the mode of {kind}": make for kind, make in NODES.items()})
def _(make):
    make("name")
    os.chown("name", ALICE, ALICE)
    os.chmod("name", 0o666)
    with user(BOB):
        refused("EPERM", os.chmod, "name", 0o600)
    with user(ALICE):
        os.chmod("name", 0o640)
    equal(permissions("name"), 0o640)


@check("the right to write does not help: fchmod by another user is EPERM")
def _():
    make_file("file", mode=0o666)
    with user(ALICE), opened("file", os.O_RDWR) as fd:
        refused("EPERM", os.fchmod, fd, 0o777)


@each({f"chmod of {kind} marks the change time only": make for kind, make in NODES.items()})
def _(make):
    make("name")
    before = os.stat("name")
    tick()
    os.chmod("name", 0o711)
    after = os.stat("name")
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")
    equal((after.st_mtime_ns, after.st_atime_ns), (before.st_mtime_ns, before.st_atime_ns))


@check("a refused chmod leaves the times")
def _():
    make_file("file")
    before = os.stat("file")
    tick()
    with user(ALICE):
        refused("EPERM", os.chmod, "file", 0o777)
    equal(os.stat("file"), before)


@check("setgid is cleared when the owner is no member of the group")
def _():
    make_file("file")
    os.chown("file", ALICE, STAFF)
    with user(ALICE):
        os.chmod("file", 0o2755)
    equal(permissions("file"), 0o755)
    with user(ALICE, ALICE, (STAFF,)):
        os.chmod("file", 0o2755)
    equal(permissions("file"), 0o2755)


@check("setgid of a directory is cleared when the owner is no member of the group")
def _():
    make_directory("directory")
    os.chown("directory", ALICE, STAFF)
    with user(ALICE):
        os.chmod("directory", 0o2755)
    equal(permissions("directory"), 0o755)


@check("a file may have the sticky bit from anybody who owns it")
def _():
    with user(ALICE):
        make_file("file")
        os.chmod("file", 0o1644)
    equal(permissions("file"), 0o1644)


def privileged(mode):
    make_file("file", b"12345678")
    os.chown("file", ALICE, ALICE)
    os.chmod("file", mode)


def appending():
    with opened("file", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"1")


def punching():
    with opened("file", os.O_WRONLY) as fd:
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 4)


def direct():
    import mmap

    block = mmap.mmap(-1, 4096)
    with opened("file", os.O_WRONLY | os.O_DIRECT) as fd:
        os.pwritev(fd, [block], 0)


def growing():
    with opened("file", os.O_WRONLY) as fd:
        fallocate(fd, 0, 0, 100)


def reserving():
    with opened("file", os.O_WRONLY) as fd:
        fallocate(fd, KEEP_SIZE, 0, 100)


def zeroing():
    with opened("file", os.O_WRONLY) as fd:
        fallocate(fd, ZERO_RANGE, 0, 4)


def copying():
    with opened("/proc/self/exe") as source, opened("file", os.O_WRONLY) as fd:
        os.sendfile(fd, source, 0, 100)


def mapping():
    import mmap

    with opened("file", os.O_RDWR) as fd, mmap.mmap(fd, 8) as memory:
        memory[0] = 1


CHANGES = {
    "write": appending,
    "truncate": lambda: os.truncate("file", 0),
    "truncate to the same size": lambda: os.truncate("file", 8),
    "O_TRUNC": lambda: os.close(os.open("file", os.O_WRONLY | os.O_TRUNC)),
    "fallocate": punching,
    "a direct write": direct,
    "an asynchronous direct write": lambda: direct_asynchronously("file", b"1" * 4096, 0),
    "growing by fallocate": growing,
    "reserving by fallocate": reserving,
    "zeroing by fallocate": zeroing,
    "sendfile": copying,
}


@each({f"{way} by another user clears setuid and setgid": do for way, do in CHANGES.items()})
def _(do):
    privileged(0o6777)
    with user(BOB):
        do()
    equal(permissions("file"), 0o777)


@each({f"{way} by a user outside the group clears setgid where the group may not execute": do for way, do in CHANGES.items()})
def _(do):
    privileged(0o6767)
    with user(BOB):
        do()
    equal(permissions("file"), 0o767)


@each({f"{way} through an open file whose mode has been looked at clears setuid and setgid": do for way, do in CHANGES.items()})
def _(do):
    privileged(0o6777)
    with opened("file") as fd:
        equal(stat.S_IMODE(os.fstat(fd).st_mode), 0o6777)
        with user(BOB):
            do()
            equal(stat.S_IMODE(os.fstat(fd).st_mode), 0o777)


@each({f"{way} by another user leaves setgid where the group may not execute": do for way, do in CHANGES.items() if way != "O_TRUNC"})
def _(do):
    privileged(0o2767)
    with user(BOB, ALICE):
        do()
    equal(permissions("file"), 0o2767)


@each({f"{way} by root without CAP_FSETID clears setuid and setgid": do for way, do in CHANGES.items()})
def _(do):
    privileged(0o6777)

    def change():
        drop_capability(4)
        do()

    in_child(change)
    equal(permissions("file"), 0o777)


@each({f"{way} by root leaves setuid and setgid": do for way, do in CHANGES.items()})
def _(do):
    privileged(0o6777)
    do()
    equal(permissions("file"), 0o6777)


@check("reading leaves setuid and setgid")
def _():
    privileged(0o6755)
    with user(BOB):
        equal(len(content("file")), 8)
    equal(permissions("file"), 0o6755)
