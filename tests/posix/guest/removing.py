"""unlink and rmdir, and who may remove what from a sticky directory."""

import os

from suite import *

FILES = {kind: make for kind, make in MAKERS.items() if kind != "a directory"}


@each({f"unlink removes {kind}, and its name is free": make for kind, make in FILES.items()})
def _(make):
    make("name")
    os.unlink("name")
    refused("ENOENT", os.lstat, "name")
    refused("ENOENT", os.unlink, "name")
    equal(os.listdir("."), [])
    make_directory("name")


@each({f"rmdir of {kind} is ENOTDIR": make for kind, make in FILES.items()})
def _(make):
    make("name")
    refused("ENOTDIR", os.rmdir, "name")
    os.lstat("name")


@check("unlink of a directory is EISDIR, and of a link to one removes the link")
def _():
    make_directory("directory")
    os.symlink("directory", "link")
    refused("EISDIR", os.unlink, "directory")
    os.unlink("link")
    equal(os.listdir("."), ["directory"])


@each({f"rmdir of a directory with {kind} in it is ENOTEMPTY": make for kind, make in MAKERS.items()})
def _(make):
    make_directory("directory")
    make("directory/name")
    refused("ENOTEMPTY EEXIST", os.rmdir, "directory")
    os.lstat("directory/name")
    (os.rmdir if make is make_directory else os.unlink)("directory/name")
    os.rmdir("directory")
    equal(os.listdir("."), [])


@check("rmdir of `.` is EINVAL, and of what ends in `..` ENOTEMPTY")
def _():
    make_directory("directory")
    refused("EINVAL", os.rmdir, "directory/.")
    refused("ENOTEMPTY EEXIST", os.rmdir, "directory/..")


@check("rmdir of where something is mounted is EBUSY")
def _():
    make_directory("point")
    system("mount", "none", "point", "tmpfs", 0, None)
    try:
        refused("EBUSY", os.rmdir, "point")
        refused("EBUSY", os.rename, "point", "other")
    finally:
        system("umount", "point")
    os.rmdir("point")


@check("the working directory of a process may be removed, and is empty for good")
def _():
    make_directory("directory")
    os.chdir("directory")
    os.rmdir("../directory")
    refused("ENOENT", os.getcwd)
    refused("ENOENT", os.open, "file", os.O_CREAT | os.O_WRONLY)
    refused("ENOENT", os.mkdir, "below")
    refused("ENOENT", os.symlink, "target", "link")
    equal(os.listdir("."), [])
    os.stat(".")


@each({f"removing {kind} marks the times of its directory": make for kind, make in MAKERS.items()})
def _(make):
    os.mkdir("directory")
    make("directory/name")
    before = os.stat("directory")
    tick()
    (os.rmdir if make is make_directory else os.unlink)("directory/name")
    after = os.stat("directory")
    true(after.st_mtime_ns > before.st_mtime_ns, "the modification time stayed")
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")


@check("a failed removal leaves the times of the directory")
def _():
    os.makedirs("directory/full/name")
    before = os.stat("directory")
    tick()
    refused("ENOTEMPTY EEXIST", os.rmdir, "directory/full")
    refused("EISDIR", os.unlink, "directory/full")
    after = os.stat("directory")
    equal((after.st_mtime_ns, after.st_ctime_ns), (before.st_mtime_ns, before.st_ctime_ns))


STICKY = {
    "the owner of what goes": (ALICE, BOB, True),
    "the owner of the directory": (BOB, ALICE, True),
    "anybody else": (0, BOB, False),
}


@each({f"{who} {'may' if may else 'may not'} remove {kind} from a sticky directory": (make, owner, of_directory, may)
       for who, (owner, of_directory, may) in STICKY.items() for kind, make in MAKERS.items()})
def _(make, owner, of_directory, may):
    make_directory("sticky")
    make("sticky/name")
    os.lchown("sticky/name", owner, owner)
    os.chown("sticky", of_directory if owner != 0 else 0, 0)
    os.chmod("sticky", 0o1777)
    remove = os.rmdir if make is make_directory else os.unlink
    with user(ALICE):
        if may:
            remove("sticky/name")
        else:
            refused("EPERM EACCES", remove, "sticky/name")


@check("a file goes with its directory writable, whatever its own mode")
def _():
    make_directory("directory", 0o777)
    make_file("directory/file", mode=0o000)
    with user(ALICE):
        os.unlink("directory/file")


@check("a name that was removed and made again is another file")
def _():
    make_file("file", b"1", 0o600)
    os.setxattr("file", "user.a", b"1")
    before = os.stat("file").st_ino
    with opened("file") as fd:
        os.unlink("file")
        make_file("file", b"22", 0o644)
        equal(os.fstat(fd).st_ino, before)
        true(os.stat("file").st_ino != before, "it has the number of the one that is still open")
        equal((content("file"), permissions("file"), os.listxattr("file")), (b"22", 0o644, []))


@check("a file becomes a directory and a link when it is removed between")
def _():
    for make, remove in ((make_file, os.unlink), (make_directory, os.rmdir), (MAKERS["a symbolic link"], os.unlink)) * 2:
        make("name")
        os.lstat("name")
        remove("name")
    equal(os.listdir("."), [])
