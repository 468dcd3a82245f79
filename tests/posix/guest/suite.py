"""What a check is, and the words that checks are written in.

A check is a function with a sentence for a name. It runs as root with umask 022 in an empty directory of its own, which everyone
may write to. It fails by raising anything or by taking too long. Open files, identity, umask and working directory need not be
put back.
back.
"""

import contextlib
import ctypes
import errno
import os
import time

CHECKS = []

ALICE, BOB = 1001, 1002
"""Two users that own nothing but what a check gives them. Their groups have the same numbers."""
STAFF = 2001
"""One more group."""

LONGEST_PATH = 4095
LONGEST_NAME = int(os.environ.get("LONGEST_NAME", 255))
"""Some services take less than the 255 bytes of Linux."""


def check(name):
    """Makes a function a check of the subject that its module is."""

    def register(function):
        subject = function.__module__.replace("_", " ")
        CHECKS.append((f"{subject}: {name}", function))
        return function

    return register


def each(cases):
    """One check for each case, by its name: `cases` maps a sentence to the arguments."""

    def register(function):
        for name, arguments in cases.items():
            given = arguments if isinstance(arguments, tuple) else (arguments,)
            check(name)(bound(function, given))
        return function

    return register


def bound(function, arguments):
    def run():
        return function(*arguments)

    run.__module__ = function.__module__
    return run


class Wrong(Exception):
    """The file system did something else than it should."""


def equal(found, wanted, what="it"):
    if found != wanted:
        raise Wrong(f"{what} is {found!r}, not {wanted!r}")


def true(condition, what):
    if not condition:
        raise Wrong(what)


def refused(names, call, *arguments, **options):
    """The call must fail with the errno of that name, or with one of several: `'EEXIST ENOTEMPTY'`."""
    try:
        result = call(*arguments, **options)
    except OSError as error:
        found = errno_name(error)
        if found not in names.split():
            raise Wrong(f"{found}, not {names}") from error
        return
    raise Wrong(f"success ({result!r}), not {names}")


# Linux has one number for two names.
NAMES = errno.errorcode | {errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EDEADLK: "EDEADLK"}


def errno_name(error):
    return NAMES[error.errno]


@contextlib.contextmanager
def user(uid, gid=None, groups=()):
    """What is inside is done as a user without privileges."""
    os.setgroups(groups)
    os.setegid(uid if gid is None else gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


@contextlib.contextmanager
def opened(path, flags=os.O_RDONLY, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def make_file(path, content=b"", mode=0o644):
    with opened(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL) as fd:
        written = 0
        while written < len(content):
            written += os.write(fd, content[written:])
    os.chmod(path, mode)
    return path


def make_directory(path, mode=0o755):
    os.mkdir(path)
    os.chmod(path, mode)
    return path


def make_socket(path):
    os.mknod(path, 0o140644)


MAKERS = {
    "a file": make_file,
    "a directory": make_directory,
    "a symbolic link": lambda path: os.symlink("target", path),
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a character device": lambda path: os.mknod(path, 0o020644, os.makedev(1, 3)),
    "a block device": lambda path: os.mknod(path, 0o060644, os.makedev(7, 99)),
}
"""One way to make each kind of thing that a directory can hold."""


def content(path):
    with open(path, "rb") as file:
        return file.read()


def permissions(path):
    return os.lstat(path).st_mode & 0o7777


def in_child(function):
    """Runs it in a process of its own; returns the signal that ended it, 0 if it came to its end. Its failure is ours."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            function()
            os._exit(0)
        except BaseException as failure:
            os.write(writing, repr(failure).encode()[:4000])
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        words = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status) != 0:
        raise Wrong(words)
    return 0


def tick():
    """Until the clocks that file systems take times from have gone on."""
    time.sleep(0.02)


libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
BAD_ADDRESS = ctypes.c_void_p(8)


def system(name, *arguments):
    """A function of the C library that returns -1 on failure. Integers are passed as 64 bits, text as a path."""
    ctypes.set_errno(0)
    result = getattr(libc, name)(*map(converted, arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def converted(argument):
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    return os.fsencode(argument) if isinstance(argument, str) else argument


RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def renameat2(old, new, flags):
    system("renameat2", AT_FDCWD, old, AT_FDCWD, new, flags)


KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32


def fallocate(fd, mode, offset, length):
    system("fallocate", fd, mode, offset, length)


def drop_capability(number):
    """Takes one of the first 32 capabilities from this process, for good."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    system("capget", header, data)
    for field in (0, 1):
        data[field] &= ~(1 << number)
    system("capset", header, data)


def direct_asynchronously(path, data, offset):
    """One write with O_DIRECT by io_submit; returns what io_getevents says of it."""
    import mmap

    block = mmap.mmap(-1, len(data))
    block[:] = data
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    kernel = AsynchronousIo()
    try:
        with opened(path, os.O_WRONLY | os.O_DIRECT) as fd:
            kernel.submit_write(fd, address, len(data), offset)
            return kernel.wait()
    finally:
        kernel.close()


class AsynchronousIo:
    """A context of the kernel's own asynchronous I/O, with one request at a time."""

    SETUP, DESTROY, GETEVENTS, SUBMIT = (206, 207, 208, 209) if os.uname().machine == "x86_64" else (0, 1, 4, 2)

    def __init__(self):
        context = ctypes.c_ulong(0)
        system("syscall", self.SETUP, 8, ctypes.byref(context))
        self.context = context.value

    def submit_write(self, fd, address, length, offset):
        # struct iocb: data, key and flags, opcode (1 is PWRITE) and priority, fd, buffer, bytes, offset, two reserved fields
        self.block = (ctypes.c_uint64 * 8)(0, 0, 1 | fd << 32, address, length, offset, 0, 0)
        list_of_one = (ctypes.c_void_p * 1)(ctypes.addressof(self.block))
        system("syscall", self.SUBMIT, self.context, 1, list_of_one)

    def wait(self):
        event = (ctypes.c_int64 * 4)()
        system("syscall", self.GETEVENTS, self.context, 1, 1, event, None)
        return event[2]

    def close(self):
        system("syscall", self.DESTROY, self.context)
