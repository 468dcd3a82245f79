"""setxattr, getxattr, listxattr and removexattr."""

import ctypes
import os

from suite import *

LARGEST_VALUE = 65536


@each({f"{kind} keeps attributes, also over a rename": make for kind, make in
       {"a file": make_file, "a directory": make_directory}.items()})
def _(make):
    make("name")
    values = {"user.a": b"1", "user.empty": b"", "user.binary": bytes(range(256)), "trusted.t": b"t", "security.s": b"s"}
    for name, value in values.items():
        os.setxattr("name", name, value)
    os.rename("name", "renamed")
    equal(sorted(os.listxattr("renamed")), sorted(values))
    equal({name: os.getxattr("renamed", name) for name in values}, values)
    for name in values:
        os.removexattr("renamed", name)
        refused("ENODATA", os.getxattr, "renamed", name)
    equal(os.listxattr("renamed"), [])


@check("a value is replaced by another, longer or shorter")
def _():
    make_file("file")
    for value in (b"12345", b"1", b"x" * 500, b""):
        os.setxattr("file", "user.a", value)
        equal(os.getxattr("file", "user.a"), value)
    equal(os.listxattr("file"), ["user.a"])


@check("XATTR_CREATE refuses what is there with EEXIST, XATTR_REPLACE what is not with ENODATA")
def _():
    make_file("file")
    refused("ENODATA", os.setxattr, "file", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr("file", "user.a", b"1", os.XATTR_CREATE)
    refused("EEXIST", os.setxattr, "file", "user.a", b"2", os.XATTR_CREATE)
    os.setxattr("file", "user.a", b"3", os.XATTR_REPLACE)
    equal(os.getxattr("file", "user.a"), b"3")
    refused("EINVAL", os.setxattr, "file", "user.a", b"1", 8)


@check("what is not there is ENODATA, to read and to remove")
def _():
    make_file("file")
    refused("ENODATA", os.getxattr, "file", "user.a")
    refused("ENODATA", os.removexattr, "file", "user.a")


@each({f"a name {kind} is {wanted}": (name, wanted) for kind, name, wanted in [
    ("in no namespace", "a", "EOPNOTSUPP"),
    ("in an unknown namespace", "strange.a", "EOPNOTSUPP"),
    ("of a namespace alone", "user.", "EINVAL"),
    ("of 256 bytes", "user." + "n" * 251, "ERANGE"),
    ("of nothing", "", "ERANGE"),
]})
def _(name, wanted):
    make_file("file")
    refused(wanted, os.setxattr, "file", name, b"1")
    refused(wanted, os.getxattr, "file", name)
    refused(wanted, os.removexattr, "file", name)


@check("a name of 255 bytes and one that is not UTF-8 are kept")
def _():
    make_file("file")
    names = [b"user." + b"n" * 250, b"user.\xff\x80"]
    for name in names:
        os.setxattr("file", name, name)
        equal(os.getxattr("file", name), name)
    equal(sorted(os.fsencode(name) for name in os.listxattr("file")), sorted(names))


@check("a value beyond 64 KiB is E2BIG")
def _():
    make_file("file")
    refused("E2BIG", os.setxattr, "file", "user.a", b"x" * (LARGEST_VALUE + 1))
    equal(os.listxattr("file"), [])


@check("a value of 400 bytes and 8 attributes more fit")
def _():
    make_file("file")
    os.setxattr("file", "user.large", b"x" * 400)
    for number in range(8):
        os.setxattr("file", f"user.{number}", b"%d" % number)
    equal(os.getxattr("file", "user.large"), b"x" * 400)
    equal(len(os.listxattr("file")), 9)


@check("a buffer of nothing asks for the size, one that is too small is ERANGE")
def _():
    make_file("file")
    os.setxattr("file", "user.a", b"12345")
    buffer = ctypes.create_string_buffer(64)
    equal(system("getxattr", "file", "user.a", None, 0), 5)
    refused("ERANGE", system, "getxattr", "file", "user.a", buffer, 4)
    equal(system("getxattr", "file", "user.a", buffer, 5), 5)
    equal(system("listxattr", "file", None, 0), 7)
    refused("ERANGE", system, "listxattr", "file", buffer, 6)
    equal(system("listxattr", "file", buffer, 7), 7)
    equal(buffer.raw[:7], b"user.a\0")


@check("a list of nothing has the size 0")
def _():
    make_file("file")
    equal(system("listxattr", "file", None, 0), 0)


@each({f"user attributes of {kind} are EPERM": make for kind, make in MAKERS.items() if kind not in ("a file", "a directory")})
def _(make):
    make("name")
    refused("EPERM", os.setxattr, "name", "user.a", b"1", 0, follow_symlinks=False)
    refused("ENODATA EPERM", os.getxattr, "name", "user.a", follow_symlinks=False)
    equal(os.listxattr("name", follow_symlinks=False), [])


@each({f"trusted attributes of {kind} are kept": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    os.setxattr("name", "trusted.a", b"1", 0, follow_symlinks=False)
    equal(os.getxattr("name", "trusted.a", follow_symlinks=False), b"1")
    equal(os.listxattr("name", follow_symlinks=False), ["trusted.a"])
    os.removexattr("name", "trusted.a", follow_symlinks=False)


@check("user attributes follow the rights of the file")
def _():
    make_file("file", mode=0o644)
    os.setxattr("file", "user.a", b"1")
    with user(ALICE):
        equal(os.getxattr("file", "user.a"), b"1")
        refused("EACCES", os.setxattr, "file", "user.a", b"2")
        refused("EACCES", os.removexattr, "file", "user.a")
    os.chmod("file", 0o200)
    with user(ALICE):
        refused("EACCES", os.getxattr, "file", "user.a")


@check("user attributes of a sticky directory belong to its owner")
def _():
    make_directory("directory", 0o1777)
    with user(ALICE):
        refused("EPERM", os.setxattr, "directory", "user.a", b"1")
    os.setxattr("directory", "user.a", b"1")


@check("trusted attributes are root's: EPERM to set, and not there for others")
def _():
    make_file("file", mode=0o666)
    os.setxattr("file", "trusted.a", b"1")
    with user(ALICE):
        refused("EPERM", os.setxattr, "file", "trusted.a", b"2")
        refused("ENODATA EPERM", os.getxattr, "file", "trusted.a")


@each({f"{call} marks the change time only": do for call, do in {
    "setxattr": lambda: os.setxattr("file", "user.b", b"1"),
    "setxattr of another value": lambda: os.setxattr("file", "user.a", b"2"),
    "removexattr": lambda: os.removexattr("file", "user.a"),
}.items()})
def _(do):
    make_file("file")
    os.setxattr("file", "user.a", b"1")
    before = os.stat("file")
    tick()
    do()
    after = os.stat("file")
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")
    equal(after.st_mtime_ns, before.st_mtime_ns)


@check("attributes can be read, set and removed by descriptor, of a directory too")
def _():
    make_file("file")
    for path in ("file", "."):
        with opened(path) as fd:
            os.setxattr(fd, "user.a", b"1")
            equal((os.getxattr(fd, "user.a"), os.listxattr(fd)), (b"1", ["user.a"]))
            os.removexattr(fd, "user.a")


@check("attributes go with the file: a new one of the same name has none")
def _():
    make_file("file")
    os.setxattr("file", "user.a", b"1")
    os.unlink("file")
    make_file("file")
    equal(os.listxattr("file"), [])
    make_file("other")
    os.setxattr("other", "user.b", b"1")
    os.rename("other", "file")
    equal(os.listxattr("file"), ["user.b"])


@check("a write leaves user attributes and takes file capabilities away")
def _():
    make_file("file", b"1", 0o777)
    os.setxattr("file", "user.a", b"1")
    os.setxattr("file", "security.capability", b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
    with user(ALICE), opened("file", os.O_WRONLY) as fd:
        os.write(fd, b"2")
    equal(os.listxattr("file"), ["user.a"])
