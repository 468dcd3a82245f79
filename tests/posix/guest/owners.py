"""chown, fchown and lchown."""

import os
import stat

from suite import *


@each({f"root gives {kind} to anybody": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    for uid, gid in ((ALICE, STAFF), (0, 0), (2**32 - 2, 2**32 - 2), (65534, 65534)):
        os.lchown("name", uid, gid)
        found = os.lstat("name")
        equal((found.st_uid, found.st_gid), (uid, gid))


@each({f"-1 leaves the owner or the group of {kind}": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    os.lchown("name", ALICE, STAFF)
    os.lchown("name", -1, BOB)
    equal((os.lstat("name").st_uid, os.lstat("name").st_gid), (ALICE, BOB))
    os.lchown("name", BOB, -1)
    equal((os.lstat("name").st_uid, os.lstat("name").st_gid), (BOB, BOB))
    os.lchown("name", -1, -1)
    equal((os.lstat("name").st_uid, os.lstat("name").st_gid), (BOB, BOB))


@check("chown follows links, lchown does not")
def _():
    make_file("file")
    os.symlink("file", "link")
    os.chown("link", ALICE, ALICE)
    equal((os.stat("file").st_uid, os.lstat("link").st_uid), (ALICE, 0))
    os.lchown("link", BOB, BOB)
    equal((os.stat("file").st_uid, os.lstat("link").st_uid), (ALICE, BOB))


@each({f"the owner of {kind} gives it to a group of his, and to no other": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    os.lchown("name", ALICE, ALICE)
    with user(ALICE, ALICE, (STAFF,)):
        os.lchown("name", -1, STAFF)
        os.lchown("name", ALICE, ALICE)
        refused("EPERM", os.lchown, "name", -1, BOB)
        refused("EPERM", os.lchown, "name", BOB, -1)
    with user(BOB, BOB, (ALICE, STAFF)):
        refused("EPERM", os.lchown, "name", -1, BOB)
        refused("EPERM", os.lchown, "name", BOB, -1)
    equal((os.lstat("name").st_uid, os.lstat("name").st_gid), (ALICE, ALICE))


@each({f"a change of {what} clears setuid and setgid of a file that may be executed": ids
       for what, ids in {"owner": (BOB, -1), "group": (-1, BOB), "both": (BOB, BOB)}.items()})
def _(uid, gid):
    for change in (lambda: os.chown("file", uid, gid), lambda: fchown(uid, gid)):
        make_file("file")
        os.chmod("file", 0o6755)
        change()
        equal(permissions("file"), 0o755)
        os.unlink("file")


def fchown(uid, gid):
    with opened("file") as fd:
        os.fchown(fd, uid, gid)


@check("a change of group by the owner clears setuid and setgid")
def _():
    make_file("file")
    os.chown("file", ALICE, ALICE)
    os.chmod("file", 0o6755)
    with user(ALICE, ALICE, (STAFF,)):
        os.chown("file", -1, STAFF)
    equal(permissions("file"), 0o755)


@check("setgid without the right of the group to execute means locking, and stays")
def _():
    make_file("file")
    os.chmod("file", 0o2745)
    os.chown("file", ALICE, ALICE)
    equal(permissions("file"), 0o2745)


@check("a directory keeps setuid and setgid over a change of owner")
def _():
    make_directory("directory")
    os.chmod("directory", 0o6755)
    os.chown("directory", ALICE, ALICE)
    equal(permissions("directory"), 0o6755)


@check("a change of owner takes file capabilities away")
def _():
    make_file("file", mode=0o755)
    os.setxattr("file", "security.capability", b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
    os.chown("file", ALICE, ALICE)
    equal(os.listxattr("file"), [])


@each({f"chown of {kind} marks the change time only": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    before = os.lstat("name")
    tick()
    os.lchown("name", ALICE, ALICE)
    after = os.lstat("name")
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")
    equal((after.st_mtime_ns, after.st_atime_ns), (before.st_mtime_ns, before.st_atime_ns))


@check("a refused chown leaves everything")
def _():
    make_file("file")
    os.chmod("file", 0o6755)
    before = os.stat("file")
    tick()
    with user(ALICE):
        refused("EPERM", os.chown, "file", ALICE, ALICE)
    equal(os.stat("file"), before)


@check("fchown works on a descriptor whose file was removed")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.unlink("file")
        os.fchown(fd, ALICE, STAFF)
        equal((os.fstat(fd).st_uid, os.fstat(fd).st_gid), (ALICE, STAFF))
        true(stat.S_ISREG(os.fstat(fd).st_mode), "it is no file")
