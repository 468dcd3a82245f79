"""open(2): its flags, and who may open what."""

import os

from suite import *



@each({f"O_CREAT with O_EXCL over {kind} is EEXIST": make for kind, make in MAKERS.items()})
def _(make):
    make("name")
    refused("EEXIST", os.open, "name", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)


@check("O_CREAT makes an empty file, and opens what is there as it is")
def _():
    with opened("file", os.O_CREAT | os.O_WRONLY, 0o640) as fd:
        equal(os.fstat(fd).st_size, 0)
        os.write(fd, b"123")
    equal(permissions("file"), 0o640)
    with opened("file", os.O_CREAT | os.O_RDWR, 0o777) as fd:
        equal(os.read(fd, 9), b"123")
    equal(permissions("file"), 0o640)


@check("O_CREAT through a dangling link makes its target; with O_EXCL it is EEXIST")
def _():
    os.symlink("target", "link")
    refused("EEXIST", os.open, "link", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open("link", os.O_CREAT | os.O_WRONLY))
    equal(os.lstat("target").st_size, 0)


@check("a descriptor from O_CREAT may write although the mode says nobody may")
def _():
    with user(ALICE):
        with opened("file", os.O_CREAT | os.O_RDWR, 0o000) as fd:
            os.write(fd, b"1")
            equal(os.pread(fd, 1, 0), b"1")
        refused("EACCES", os.open, "file", os.O_RDONLY)


@check("O_TRUNC empties a file, also when it is opened to be read only")
def _():
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY):
        with open("file", "wb") as file:
            file.write(b"123")
        os.close(os.open("file", flags | os.O_TRUNC))
        equal(os.stat("file").st_size, 0)


@check("O_TRUNC needs the right to write")
def _():
    make_file("file", b"123", 0o444)
    with user(ALICE):
        refused("EACCES", os.open, "file", os.O_RDONLY | os.O_TRUNC)
    equal(content("file"), b"123")


@check("O_TRUNC of an empty file marks its times")
def _():
    make_file("file")
    before = os.stat("file")
    tick()
    os.close(os.open("file", os.O_WRONLY | os.O_TRUNC))
    after = os.stat("file")
    true(after.st_mtime_ns > before.st_mtime_ns, "the modification time stayed")
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")


@check("O_APPEND writes at the end, wherever the offset is and whoever wrote last")
def _():
    make_file("file", b"12")
    with opened("file", os.O_RDWR | os.O_APPEND) as fd, opened("file", os.O_WRONLY | os.O_APPEND) as other:
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"34")
        os.write(other, b"56")
        os.write(fd, b"78")
        equal(os.lseek(fd, 0, os.SEEK_CUR), 8)
        # Linux appends with pwrite too.
        os.pwrite(fd, b"9", 0)
    equal(content("file"), b"123456789")


@check("O_DIRECTORY opens directories only")
def _():
    make_file("file")
    make_directory("directory")
    os.symlink("directory", "link")
    refused("ENOTDIR", os.open, "file", os.O_DIRECTORY)
    refused("ENOENT", os.open, "missing", os.O_DIRECTORY)
    for path in ("directory", "link"):
        with opened(path, os.O_DIRECTORY) as fd:
            refused("EISDIR", os.read, fd, 1)
            refused("EBADF", os.write, fd, b"1")


@each({name: flags for name, flags in {
    "writing a directory is EISDIR": os.O_WRONLY,
    "reading and writing a directory is EISDIR": os.O_RDWR,
    "truncating a directory is EISDIR": os.O_RDONLY | os.O_TRUNC,
    "O_CREAT of a directory is EISDIR": os.O_RDONLY | os.O_CREAT,
}.items()})
def _(flags):
    make_directory("directory")
    refused("EISDIR", os.open, "directory", flags, 0o644)


@check("O_NOFOLLOW refuses a link with ELOOP, and only if it comes last")
def _():
    make_directory("directory")
    make_file("directory/file", b"1")
    os.symlink("directory/file", "link")
    os.symlink("directory", "way")
    os.symlink("missing", "dangling")
    refused("ELOOP", os.open, "link", os.O_NOFOLLOW)
    refused("ELOOP", os.open, "dangling", os.O_NOFOLLOW | os.O_CREAT)
    with opened("way/file", os.O_NOFOLLOW) as fd:
        equal(os.read(fd, 1), b"1")


@check("O_PATH gives a descriptor that can be looked at, and neither read nor written")
def _():
    make_file("file", b"123", 0o000)
    os.symlink("file", "link")
    with user(ALICE):
        with opened("file", os.O_PATH) as fd:
            equal(os.fstat(fd).st_size, 3)
            refused("EBADF", os.read, fd, 1)
            refused("EBADF", os.write, fd, b"1")
            refused("EBADF", os.fchmod, fd, 0o644)
    with opened("link", os.O_PATH | os.O_NOFOLLOW) as fd:
        equal(os.readlink("", dir_fd=fd), "file")


@check("O_TMPFILE gives a file without a name, or says that there are none with EOPNOTSUPP")
def _():
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as error:
        equal(errno_name(error), "EOPNOTSUPP")
        return
    os.write(fd, b"1")
    equal(os.fstat(fd).st_nlink, 0)
    equal(os.listdir("."), [])


RIGHTS = {
    "the owner": (ALICE, ALICE, (), 6),
    "a member of the group": (BOB, STAFF, (), 3),
    "a member of the group by another of his groups": (BOB, BOB, (STAFF,), 3),
    "anybody else": (BOB, BOB, (), 0),
}


@each({f"{who} may open with the bits of the mode that are his": right for who, right in RIGHTS.items()})
def _(uid, gid, groups, shift):
    make_file("file")
    os.chown("file", ALICE, STAFF)
    for bits in range(8):
        # All other classes have what this one lacks.
        os.chmod("file", 0o777 & ~(7 << shift) | bits << shift)
        for flags, needed in ((os.O_RDONLY, 4), (os.O_WRONLY, 2), (os.O_RDWR, 6)):
            with user(uid, gid, groups):
                if bits & needed == needed:
                    os.close(os.open("file", flags))
                else:
                    refused("EACCES", os.open, "file", flags)


@check("root opens whatever the mode is")
def _():
    make_file("file", mode=0o000)
    make_directory("directory", mode=0o000)
    os.close(os.open("file", os.O_RDWR))
    make_file("directory/file")
    equal(os.listdir("directory"), ["file"])


@check("a descriptor keeps the rights that it was opened with")
def _():
    make_file("file", b"123", 0o666)
    with user(ALICE):
        fd = os.open("file", os.O_RDWR)
    os.chmod("file", 0o000)
    with user(ALICE):
        equal(os.read(fd, 3), b"123")
        equal(os.write(fd, b"4"), 1)
        refused("EACCES", os.open, "file", os.O_RDONLY)


@check("a descriptor for reading cannot write, nor one for writing read")
def _():
    make_file("file", b"123")
    with opened("file", os.O_RDONLY) as fd:
        refused("EBADF", os.write, fd, b"1")
        refused("EINVAL", os.ftruncate, fd, 0)
        refused("EBADF", fallocate, fd, 0, 0, 9)
    with opened("file", os.O_WRONLY) as fd:
        refused("EBADF", os.read, fd, 1)


@check("opening a pipe for writing that nobody reads is ENXIO with O_NONBLOCK")
def _():
    os.mkfifo("pipe")
    refused("ENXIO", os.open, "pipe", os.O_WRONLY | os.O_NONBLOCK)
    os.close(os.open("pipe", os.O_RDONLY | os.O_NONBLOCK))


@check("opening a socket is ENXIO")
def _():
    make_socket("socket")
    refused("ENXIO", os.open, "socket", os.O_RDONLY)


@check("opening a device that no driver has is ENXIO")
def _():
    os.mknod("device", 0o020666, os.makedev(250, 250))
    refused("ENXIO", os.open, "device", os.O_RDONLY)


@check("O_NOATIME is for the owner")
def _():
    make_file("file", mode=0o666)
    os.chown("file", ALICE, ALICE)
    with user(ALICE):
        os.close(os.open("file", os.O_RDONLY | os.O_NOATIME))
    with user(BOB):
        refused("EPERM", os.open, "file", os.O_RDONLY | os.O_NOATIME)


@check("the same file opened twice is one file")
def _():
    make_file("file", b"1234")
    with opened("file", os.O_RDWR) as one, opened("file", os.O_RDWR) as other:
        os.write(one, b"ab")
        equal(os.read(other, 4), b"ab34")
        os.ftruncate(other, 1)
        equal(os.fstat(one).st_size, 1)
        equal(os.read(one, 4), b"")


@check("90 files can be open at once, each with its own bytes")
def _():
    fds = [os.open(str(number), os.O_CREAT | os.O_RDWR) for number in range(90)]
    for number, fd in enumerate(fds):
        os.write(fd, str(number).encode())
    for number, fd in enumerate(fds):
        equal(os.pread(fd, 9, 0), str(number).encode())


@check("openat works from a directory that was renamed meanwhile")
def _():
    make_directory("directory")
    make_file("directory/file", b"1")
    with opened("directory", os.O_DIRECTORY) as fd:
        os.rename("directory", "renamed")
        inside = os.open("file", os.O_RDONLY, dir_fd=fd)
        equal(os.read(inside, 1), b"1")
        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    equal(sorted(os.listdir("renamed")), ["file", "new"])
