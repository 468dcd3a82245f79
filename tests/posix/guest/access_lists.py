"""POSIX access control lists: the attributes system.posix_acl_access and system.posix_acl_default."""

import os
import struct

from suite import *

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY = 2**32 - 1


def acl(*entries):
    """Of (tag, permissions) or (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *(entry + (NOBODY,) * (3 - len(entry)))) for entry in entries)


def simple(mode):
    return acl((USER_OBJ, mode >> 6 & 7), (GROUP_OBJ, mode >> 3 & 7), (OTHER, mode & 7))


def with_user(uid, rights, mask=7, mode=0o640):
    return acl((USER_OBJ, mode >> 6), (USER, rights, uid), (GROUP_OBJ, mode >> 3 & 7), (MASK, mask), (OTHER, mode & 7))


@check("a list comes back as it was set, and is listed")
def _():
    make_file("file")
    os.setxattr("file", ACCESS, with_user(ALICE, 6))
    equal(os.getxattr("file", ACCESS), with_user(ALICE, 6))
    equal(os.listxattr("file"), [ACCESS])
    os.removexattr("file", ACCESS)
    refused("ENODATA", os.getxattr, "file", ACCESS)
    equal(os.listxattr("file"), [])


@check("a list gives a user more than the mode does, up to the mask")
def _():
    make_file("file", b"1", 0o600)
    with user(ALICE):
        refused("EACCES", os.open, "file", os.O_RDONLY)
    os.setxattr("file", ACCESS, with_user(ALICE, 6, 7, 0o600))
    with user(ALICE):
        os.close(os.open("file", os.O_RDWR))
    os.setxattr("file", ACCESS, with_user(ALICE, 6, 4, 0o600))
    with user(ALICE):
        os.close(os.open("file", os.O_RDONLY))
        refused("EACCES", os.open, "file", os.O_RDWR)
    with user(BOB):
        refused("EACCES", os.open, "file", os.O_RDONLY)


@check("a list gives a user less than the mode does")
def _():
    make_file("file", b"1", 0o666)
    os.setxattr("file", ACCESS, with_user(ALICE, 0, 7, 0o666))
    with user(ALICE):
        refused("EACCES", os.open, "file", os.O_RDONLY)
    with user(BOB):
        os.close(os.open("file", os.O_RDWR))


@check("the mask is the group's part of the mode, both ways")
def _():
    make_file("file", mode=0o640)
    os.setxattr("file", ACCESS, with_user(ALICE, 7, 6))
    equal(permissions("file"), 0o660)
    os.chmod("file", 0o600)
    equal(os.getxattr("file", ACCESS), with_user(ALICE, 7, 0, 0o640))
    with user(ALICE):
        refused("EACCES", os.open, "file", os.O_RDONLY)


@check("a list that says no more than a mode becomes the mode")
def _():
    make_file("file", mode=0o600)
    os.setxattr("file", ACCESS, simple(0o754))
    equal((permissions("file"), os.listxattr("file")), (0o754, []))


@check("a directory hands its default list down, as the access list of files and both of directories")
def _():
    make_directory("directory")
    os.setxattr("directory", DEFAULT, with_user(ALICE, 7, 7, 0o750))
    os.umask(0o077)
    os.close(os.open("directory/file", os.O_CREAT | os.O_WRONLY, 0o666))
    os.mkdir("directory/below", 0o777)
    equal(permissions("directory/file"), 0o660)
    equal(os.getxattr("directory/file", ACCESS), with_user(ALICE, 7, 6, 0o650))
    equal(permissions("directory/below"), 0o770)
    equal(os.getxattr("directory/below", ACCESS), with_user(ALICE, 7, 7, 0o750))
    equal(os.getxattr("directory/below", DEFAULT), with_user(ALICE, 7, 7, 0o750))


@check("a simple default list replaces the umask")
def _():
    make_directory("directory")
    os.setxattr("directory", DEFAULT, simple(0o775))
    os.umask(0o077)
    os.close(os.open("directory/file", os.O_CREAT | os.O_WRONLY, 0o666))
    os.mkdir("directory/below", 0o777)
    os.mkfifo("directory/pipe", 0o666)
    equal((permissions("directory/file"), permissions("directory/below"), permissions("directory/pipe")), (0o664, 0o775, 0o664))
    equal(os.listxattr("directory/file"), [])
    os.symlink("target", "directory/link")


@check("only the owner sets a list, only directories have a default one, and what is no list is EINVAL")
def _():
    make_file("file", mode=0o666)
    with user(ALICE):
        refused("EPERM", os.setxattr, "file", ACCESS, simple(0o777))
    refused("EACCES", os.setxattr, "file", DEFAULT, simple(0o777))
    refused("EINVAL EOPNOTSUPP", os.setxattr, "file", ACCESS, b"nonsense")
    refused("EINVAL", os.setxattr, "file", ACCESS, acl((USER_OBJ, 7), (USER, 7, ALICE), (GROUP_OBJ, 7), (OTHER, 7)))


@check("a list needs no entry for what a mode does not say: that of a new file is ENODATA")
def _():
    make_file("file")
    refused("ENODATA", os.getxattr, "file", ACCESS)
    refused("ENODATA", os.getxattr, ".", DEFAULT)


@check("setting a list marks the change time")
def _():
    make_file("file")
    before = os.stat("file")
    tick()
    os.setxattr("file", ACCESS, with_user(ALICE, 6))
    true(os.stat("file").st_ctime_ns > before.st_ctime_ns, "the change time stayed")


@check("setting a list clears setgid for who is no member of the group")
def _():
    make_file("file")
    os.chown("file", ALICE, STAFF)
    os.chmod("file", 0o2755)
    with user(ALICE):
        os.setxattr("file", ACCESS, with_user(BOB, 7, 7, 0o755))
    equal(permissions("file"), 0o775)


@check("a list goes along with a rename, and survives a write")
def _():
    make_file("file")
    os.setxattr("file", ACCESS, with_user(ALICE, 6))
    with opened("file", os.O_WRONLY) as fd:
        os.write(fd, b"1")
    os.rename("file", "renamed")
    equal(os.getxattr("renamed", ACCESS), with_user(ALICE, 6))
