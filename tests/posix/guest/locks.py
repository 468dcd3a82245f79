"""flock, POSIX locks, locks of open file descriptions, and leases."""

import fcntl
import os
import signal
import struct

from suite import *

F_OFD_SETLK = 37


def lock_range(command, fd, kind, start=0, length=0):
    """struct flock: type, whence, start, length, pid."""
    return struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, struct.pack("hhqqi4x", kind, 0, start, length, 0)))


def elsewhere(command, kind, start=0, length=0, flags=os.O_RDWR):
    """The same from another process; gives the errno's name, or `granted`."""
    reading, writing = os.pipe()

    def attempt():
        with opened("file", flags) as fd:
            try:
                lock_range(command, fd, kind, start, length)
                os.write(writing, b"granted")
            except OSError as error:
                os.write(writing, errno_name(error).encode())

    equal(in_child(attempt), 0)
    return os.read(reading, 100).decode()


@check("an exclusive flock excludes all others, shared ones do not exclude each other")
def _():
    make_file("file")
    with opened("file") as one, opened("file") as other:
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        refused("EAGAIN", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused("EAGAIN", fcntl.flock, one, fcntl.LOCK_SH | fcntl.LOCK_NB)


@check("flock belongs to the open file: duplicates share it, the last close ends it")
def _():
    make_file("file")
    with opened("file") as other:
        fd = os.open("file", os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        copy = os.dup(fd)
        os.close(fd)
        refused("EAGAIN", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(copy)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@check("flock waits until it is free")
def _():
    make_file("file")
    fd = os.open("file", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    pid = os.fork()
    if pid == 0:
        os.close(fd)
        with opened("file") as own:
            fcntl.flock(own, fcntl.LOCK_EX)
            os.mkdir("got-it")
        os._exit(0)
    tick()
    equal(os.path.exists("got-it"), False)
    fcntl.flock(fd, fcntl.LOCK_UN)
    equal(os.waitpid(pid, 0)[1], 0)
    equal(os.path.exists("got-it"), True)


@check("a directory can be locked too")
def _():
    with opened(".") as one, opened(".") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        refused("EAGAIN", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@check("POSIX locks exclude by range and kind")
def _():
    make_file("file", b"x" * 100)
    with opened("file", os.O_RDWR) as fd:
        lock_range(fcntl.F_SETLK, fd, fcntl.F_WRLCK, 10, 10)
        lock_range(fcntl.F_SETLK, fd, fcntl.F_RDLCK, 50, 10)
        for kind, start, length, wanted in (
            (fcntl.F_WRLCK, 0, 10, "granted"), (fcntl.F_WRLCK, 0, 11, "EAGAIN"), (fcntl.F_RDLCK, 19, 1, "EAGAIN"),
            (fcntl.F_RDLCK, 20, 40, "granted"), (fcntl.F_WRLCK, 59, 1, "EAGAIN"), (fcntl.F_WRLCK, 60, 0, "granted"),
        ):
            equal(elsewhere(fcntl.F_SETLK, kind, start, length), wanted, f"{start}+{length}")


@check("F_GETLK tells who holds what is in the way")
def _():
    make_file("file")
    with opened("file", os.O_RDWR) as fd:
        lock_range(fcntl.F_SETLK, fd, fcntl.F_WRLCK, 5, 7)
        owner = os.getpid()

        def ask():
            with opened("file", os.O_RDWR) as own:
                equal(lock_range(fcntl.F_GETLK, own, fcntl.F_RDLCK, 0, 0), (fcntl.F_WRLCK, 0, 5, 7, owner))
                equal(lock_range(fcntl.F_GETLK, own, fcntl.F_RDLCK, 0, 5)[0], fcntl.F_UNLCK)

        equal(in_child(ask), 0)


@check("a POSIX lock can be split, joined and changed by its owner")
def _():
    make_file("file")
    with opened("file", os.O_RDWR) as fd:
        lock_range(fcntl.F_SETLK, fd, fcntl.F_WRLCK, 0, 100)
        lock_range(fcntl.F_SETLK, fd, fcntl.F_UNLCK, 40, 20)
        lock_range(fcntl.F_SETLK, fd, fcntl.F_RDLCK, 0, 10)
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_WRLCK, 40, 20), "granted")
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_RDLCK, 0, 10), "granted")
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_RDLCK, 39, 1), "EAGAIN")
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_RDLCK, 60, 1), "EAGAIN")


@check("POSIX locks end with any close of the file by their process, and with the process")
def _():
    make_file("file")
    with opened("file", os.O_RDWR) as fd:
        lock_range(fcntl.F_SETLK, fd, fcntl.F_WRLCK)
        os.close(os.open("file", os.O_RDONLY))
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_WRLCK), "granted")
        # The other process has ended, and its lock with it.
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_WRLCK), "granted")


@check("two processes that wait for each other: one is told EDEADLK")
def _():
    make_file("file", b"12")
    reading, writing = os.pipe()

    def other():
        with opened("file", os.O_RDWR) as fd:
            lock_range(fcntl.F_SETLK, fd, fcntl.F_WRLCK, 1, 1)
            os.write(writing, b"1")
            lock_range(fcntl.F_SETLKW, fd, fcntl.F_WRLCK, 0, 1)

    fd = os.open("file", os.O_RDWR)
    lock_range(fcntl.F_SETLK, fd, fcntl.F_WRLCK, 0, 1)
    pid = os.fork()
    if pid == 0:
        try:
            other()
            os._exit(0)
        except OSError as error:
            os._exit(1 if errno_name(error) == "EDEADLK" else 2)
    os.read(reading, 1)
    deadlocks = 0
    try:
        lock_range(fcntl.F_SETLKW, fd, fcntl.F_WRLCK, 1, 1)
    except OSError as error:
        equal(errno_name(error), "EDEADLK")
        deadlocks += 1
    os.close(fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    equal(deadlocks + status, 1)


@check("locks need a descriptor of their kind: EBADF")
def _():
    make_file("file")
    with opened("file") as reading, opened("file", os.O_WRONLY) as writing:
        refused("EBADF", lock_range, fcntl.F_SETLK, reading, fcntl.F_WRLCK)
        refused("EBADF", lock_range, fcntl.F_SETLK, writing, fcntl.F_RDLCK)


@check("OFD locks belong to the open file, also within one process")
def _():
    make_file("file")
    with opened("file", os.O_RDWR) as one, opened("file", os.O_RDWR) as other:
        lock_range(F_OFD_SETLK, one, fcntl.F_WRLCK, 0, 10)
        refused("EAGAIN", lock_range, F_OFD_SETLK, other, fcntl.F_WRLCK, 9, 1)
        lock_range(F_OFD_SETLK, other, fcntl.F_WRLCK, 10, 1)
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_WRLCK, 0, 1), "EAGAIN")
        lock_range(F_OFD_SETLK, one, fcntl.F_UNLCK)
        equal(elsewhere(fcntl.F_SETLK, fcntl.F_WRLCK, 0, 1), "granted")


@check("a lock stays with an open file that is renamed and removed")
def _():
    make_file("file")
    with opened("file") as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.rename("file", "renamed")
        with opened("renamed") as other:
            refused("EAGAIN", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink("renamed")
            refused("EAGAIN", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@check("a lease is told of another's open")
def _():
    make_file("file")
    told = []
    signal.signal(signal.SIGIO, lambda *_: told.append(True))
    fd = os.open("file", os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    equal(fcntl.fcntl(fd, fcntl.F_GETLEASE), fcntl.F_RDLCK)

    def other():
        refused("EAGAIN", os.open, "file", os.O_WRONLY | os.O_NONBLOCK)

    equal(in_child(other), 0)
    tick()
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    equal(told, [True])
