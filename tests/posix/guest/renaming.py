"""rename and renameat2: every pair of types, sticky directories, what goes along, and what is refused."""

import os
import stat

from suite import *

FILES = {kind: make for kind, make in MAKERS.items() if kind != "a directory"}


@each({f"{kind} keeps its number and all its attributes": make for kind, make in MAKERS.items()})
def _(make):
    make("old")
    os.lchown("old", ALICE, STAFF)
    os.utime("old", ns=(10**18 + 1, 10**18 + 2), follow_symlinks=False)
    before = os.lstat("old")
    os.rename("old", "new")
    after = os.lstat("new")
    refused("ENOENT", os.lstat, "old")
    for field in ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_atime_ns", "st_rdev"):
        equal(getattr(after, field), getattr(before, field), field)
    equal(os.listdir("."), ["new"])


@each({f"{kind} over {other} replaces it": (make, over) for kind, make in FILES.items() for other, over in FILES.items()})
def _(make, over):
    make("old")
    over("new")
    number = os.lstat("old").st_ino
    os.rename("old", "new")
    equal(os.lstat("new").st_ino, number)
    equal(os.listdir("."), ["new"])


@each({f"{kind} over a directory is EISDIR": make for kind, make in FILES.items()})
def _(make):
    make("old")
    make_directory("new")
    refused("EISDIR", os.rename, "old", "new")
    equal(sorted(os.listdir(".")), ["new", "old"])


@each({f"a directory over {kind} is ENOTDIR": make for kind, make in FILES.items()})
def _(make):
    make_directory("old")
    make("new")
    refused("ENOTDIR", os.rename, "old", "new")
    equal(sorted(os.listdir(".")), ["new", "old"])


@check("a directory over an empty one replaces it, with everything in it")
def _():
    os.makedirs("old/below")
    make_file("old/below/file", b"1")
    make_directory("new")
    number = os.stat("old").st_ino
    os.rename("old", "new")
    equal((os.stat("new").st_ino, content("new/below/file")), (number, b"1"))
    equal(os.listdir("."), ["new"])


@each({f"a directory over one with {kind} in it is ENOTEMPTY": make for kind, make in MAKERS.items()})
def _(make):
    make_directory("old")
    make_directory("new")
    make("new/name")
    refused("ENOTEMPTY EEXIST", os.rename, "old", "new")
    os.lstat("new/name")


@check("a directory into itself or below is EINVAL, a directory over what it lies in ENOTEMPTY")
def _():
    os.makedirs("a/b/c")
    refused("EINVAL", os.rename, "a", "a/new")
    refused("EINVAL", os.rename, "a", "a/b/c/new")
    refused("EINVAL", os.rename, "a", "a/b")
    refused("ENOTEMPTY EEXIST", os.rename, "a/b/c", "a/b")
    refused("ENOTEMPTY EEXIST", os.rename, "a/b/c", "a")
    os.stat("a/b/c")


@check("`.` and `..` at the end of a path are EBUSY or EINVAL")
def _():
    make_directory("a")
    for path in ("a/.", "a/.."):
        refused("EBUSY EINVAL", os.rename, path, "new")
        refused("EBUSY EINVAL EEXIST ENOTEMPTY", os.rename, "a", path)


@each({f"{kind} over itself changes nothing": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    before = os.lstat("name")
    os.rename("name", "name")
    equal(os.lstat("name"), before)


@check("a rename marks the times of both directories and the change time of what moves")
def _():
    for make in (make_file, make_directory, os.mkfifo):
        os.mkdir("from")
        os.mkdir("to")
        make("from/name")
        before = {path: os.lstat(path) for path in ("from", "to")}
        moved = os.lstat("from/name")
        tick()
        os.rename("from/name", "to/name")
        for path, old in before.items():
            true(os.stat(path).st_mtime_ns > old.st_mtime_ns, f"the modification time of {path} stayed")
            true(os.stat(path).st_ctime_ns > old.st_ctime_ns, f"the change time of {path} stayed")
        true(os.lstat("to/name").st_ctime_ns > moved.st_ctime_ns, "its change time stayed")
        equal(os.lstat("to/name").st_mtime_ns, moved.st_mtime_ns)
        (os.rmdir if make is make_directory else os.unlink)("to/name")
        os.rmdir("from")
        os.rmdir("to")


@check("a failed rename leaves all times")
def _():
    os.makedirs("from/directory")
    os.makedirs("to/directory/full")
    paths = ("from", "to", "from/directory", "to/directory")
    before = [os.stat(path) for path in paths]
    tick()
    refused("ENOTEMPTY EEXIST", os.rename, "from/directory", "to/directory")
    for path, old in zip(paths, before):
        equal((os.stat(path).st_mtime_ns, os.stat(path).st_ctime_ns), (old.st_mtime_ns, old.st_ctime_ns), path)


@check("moving a directory needs the right to write to it, if its parent changes")
def _():
    make_directory("from", 0o777)
    make_directory("to", 0o777)
    make_directory("from/directory", 0o555)
    os.chown("from/directory", BOB, BOB)
    with user(ALICE):
        refused("EACCES", os.rename, "from/directory", "to/directory")
        os.rename("from/directory", "from/other")


STICKY = {
    "the owner of what moves": (ALICE, BOB, True),
    "the owner of the directory": (BOB, ALICE, True),
    "anybody else": (BOB, 0, False),
}
DOING = {"out of": ("sticky/name", "name"), "within": ("sticky/name", "sticky/other"), "over something in": ("name", "sticky/name")}


@each({f"{who} {'may' if may else 'may not'} move {kind} {way} a sticky directory": (make, owner, of_directory, may, *paths)
       for who, (owner, of_directory, may) in STICKY.items()
       for way, paths in DOING.items()
       for kind, make in {"a file": make_file, "a link": MAKERS["a symbolic link"], "a directory": make_directory}.items()})
def _(make, owner, of_directory, may, old, new):
    make_directory("sticky")
    make("sticky/name")
    os.lchown("sticky/name", owner, owner)
    if make is make_directory:
        os.chmod("sticky/name", 0o777)
    os.chown("sticky", of_directory, 0)
    os.chmod("sticky", 0o1777)
    with user(ALICE):
        if old == "name":
            make(old)
        if may:
            os.rename(old, new)
            os.lstat(new)
        else:
            refused("EPERM EACCES", os.rename, old, new)
            os.lstat(old)


@check("an open file is the same file under its new name")
def _():
    with opened("old", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"12")
        os.rename("old", "new")
        os.write(fd, b"34")
        equal((content("new"), os.fstat(fd).st_ino), (b"1234", os.stat("new").st_ino))
        os.rename("new", "newer")
        equal(os.pread(fd, 9, 0), b"1234")
    equal(content("newer"), b"1234")


@check("a file that was replaced stays what it was for who has it open")
def _():
    make_file("old", b"old")
    make_file("new", b"new")
    with opened("new", os.O_RDWR) as fd:
        os.rename("old", "new")
        equal((os.read(fd, 9), content("new"), os.fstat(fd).st_nlink), (b"new", b"old", 0))
        os.write(fd, b"er")
        equal((os.pread(fd, 9, 0), content("new")), (b"newer", b"old"))


@check("names can be rotated, and chains of renames end where they should")
def _():
    for number in range(5):
        make_file(str(number), str(number).encode())
    for _ in range(3):
        os.rename("4", "spare")
        for number in (3, 2, 1, 0):
            os.rename(str(number), str(number + 1))
        os.rename("spare", "0")
    equal([content(str(number)) for number in range(5)], [b"2", b"3", b"4", b"0", b"1"])


@check("a deep tree moves with every file in it, unpublished ones too")
def _():
    path = "tree"
    for depth in range(6):
        os.mkdir(path)
        make_file(f"{path}/file", str(depth).encode())
        os.symlink("file", f"{path}/link")
        path += "/below"
    with opened("tree/below/open", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"open")
        os.mkdir("other")
        os.rename("tree", "other/moved")
        os.write(fd, b"!")
        path = "other/moved"
        for depth in range(6):
            equal((content(f"{path}/file"), content(f"{path}/link")), (str(depth).encode(),) * 2)
            path += "/below"
        equal(content("other/moved/below/open"), b"open!")
    refused("ENOENT", os.stat, "tree")


@each({f"NOREPLACE over {kind} is EEXIST": make for kind, make in MAKERS.items()})
def _(make):
    for source in (make_file, make_directory):
        source("old")
        make("new")
        refused("EEXIST", renameat2, "old", "new", RENAME_NOREPLACE)
        equal(sorted(os.listdir(".")), ["new", "old"])
        for path in ("old", "new"):
            (os.rmdir if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink)(path)


@each({f"NOREPLACE moves {kind} to a free name": make for kind, make in MAKERS.items()})
def _(make):
    make("old")
    renameat2("old", "new", RENAME_NOREPLACE)
    equal(os.listdir("."), ["new"])


@each({f"EXCHANGE swaps {kind} and {other}": (make, with_) for kind, make in MAKERS.items()
       for other, with_ in {"a file": make_file, "a directory": make_directory}.items()})
def _(make, with_):
    os.mkdir("a")
    os.mkdir("b")
    make("a/one")
    with_("b/other")
    before = os.lstat("a/one").st_ino, os.lstat("b/other").st_ino
    renameat2("a/one", "b/other", RENAME_EXCHANGE)
    equal((os.lstat("b/other").st_ino, os.lstat("a/one").st_ino), before)
    equal((os.listdir("a"), os.listdir("b")), (["one"], ["other"]))


@check("EXCHANGE swaps the contents of files and of directories, open ones too")
def _():
    make_file("one", b"1")
    make_file("other", b"22")
    os.makedirs("a/below")
    make_file("b", b"b")
    make_file("a/below/file", b"a")
    with opened("one", os.O_RDWR | os.O_APPEND) as fd:
        os.write(fd, b"1")
        renameat2("one", "other", RENAME_EXCHANGE)
        os.write(fd, b"1")
    equal((content("one"), content("other")), (b"22", b"111"))
    renameat2("a", "b", RENAME_EXCHANGE)
    equal((content("a"), content("b/below/file")), (b"b", b"a"))


@check("EXCHANGE with what does not exist is ENOENT, with what it lies in EINVAL, with NOREPLACE EINVAL")
def _():
    os.makedirs("a/b")
    make_file("file")
    refused("ENOENT", renameat2, "file", "missing", RENAME_EXCHANGE)
    refused("ENOENT", renameat2, "missing", "file", RENAME_EXCHANGE)
    refused("EINVAL", renameat2, "a", "a/b", RENAME_EXCHANGE)
    refused("EINVAL ENOTEMPTY", renameat2, "a/b", "a", RENAME_EXCHANGE)
    refused("EINVAL", renameat2, "file", "a", RENAME_EXCHANGE | RENAME_NOREPLACE)
    refused("EINVAL", renameat2, "file", "a", 1 << 10)


@check("another file system is EXDEV")
def _():
    make_file("file")
    refused("EXDEV", os.rename, "file", "/tmp/moved-file")
    refused("EXDEV", os.link, "file", "/tmp/linked-file")


@check("getcwd follows a directory that is renamed, from inside and above")
def _():
    os.makedirs("a/b")
    os.chdir("a/b")
    base = os.path.dirname(os.path.dirname(os.getcwd()))
    os.rename("../../a/b", "../../a/c")
    equal(os.getcwd(), f"{base}/a/c")
    os.rename("../../a", "../../d")
    equal(os.getcwd(), f"{base}/d/c")
