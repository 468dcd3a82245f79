"""Files and directories that have lost their name while somebody has them open."""

import os
import stat

from suite import *


@each({f"a file that is {how} stays what it was until the last close": lose for how, lose in {
    "removed": lambda: os.unlink("file"),
    "replaced": lambda: os.rename(make_file("other", b"other"), "file"),
}.items()})
def _(lose):
    make_file("file", b"12345")
    with opened("file", os.O_RDWR) as fd:
        lose()
        found = os.fstat(fd)
        equal((found.st_nlink, found.st_size, stat.S_ISREG(found.st_mode)), (0, 5, True))
        os.pwrite(fd, b"xyz", 4)
        equal(os.pread(fd, 9, 0), b"1234xyz")
        os.ftruncate(fd, 2)
        os.fsync(fd)
        equal(os.pread(fd, 9, 0), b"12")
        fallocate(fd, 0, 0, 10)
        equal(os.fstat(fd).st_size, 10)


@check("a file that was never published works on after its removal")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.unlink("file")
        os.write(fd, b"x" * 100_000)
        os.fsync(fd)
        equal(os.pread(fd, 200_000, 0), b"x" * 100_000)
        equal(os.listdir("."), [])


@check("a removed file has attributes that can be changed")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.unlink("file")
        os.fchmod(fd, 0o600)
        os.fchown(fd, ALICE, STAFF)
        os.utime(fd, (5, 6))
        os.setxattr(fd, "user.a", b"1")
        found = os.fstat(fd)
        equal((found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_atime, found.st_mtime), (0o600, ALICE, STAFF, 5, 6))
        equal((os.getxattr(fd, "user.a"), os.listxattr(fd)), (b"1", ["user.a"]))


@check("removing an open file marks its change time")
def _():
    make_file("file")
    with opened("file") as fd:
        before = os.fstat(fd)
        tick()
        os.unlink("file")
        after = os.fstat(fd)
    true(after.st_ctime_ns > before.st_ctime_ns, "the change time stayed")
    equal(after.st_mtime_ns, before.st_mtime_ns)


@check("a removed file can be opened again through /proc, and keeps its bytes there")
def _():
    make_file("file", b"12345")
    with opened("file", os.O_RDWR) as fd:
        os.unlink("file")
        with opened(f"/proc/self/fd/{fd}", os.O_RDWR) as again:
            os.pwrite(again, b"x", 0)
        equal(os.pread(fd, 9, 0), b"x2345")
        true(os.readlink(f"/proc/self/fd/{fd}").endswith("/file (deleted)"), "its path does not say that it is gone")


@check("a removed file that was written gives its name to a new one at once")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as old:
        os.write(old, b"old")
        os.unlink("file")
        make_file("file", b"new")
        os.write(old, b"er")
        equal((os.pread(old, 9, 0), content("file")), (b"older", b"new"))
    equal(content("file"), b"new")


@check("a mapping of a removed file keeps its bytes")
def _():
    import mmap

    make_file("file", b"x" * 8192)
    with opened("file", os.O_RDWR) as fd:
        memory = mmap.mmap(fd, 8192)
    os.unlink("file")
    memory[0:1] = b"y"
    equal(memory[:2], b"yx")
    memory.flush()
    memory.close()


@check("a removed link, pipe and directory can still be looked at by who has them open")
def _():
    os.symlink("target", "link")
    os.mkfifo("pipe")
    make_directory("directory")
    with opened("link", os.O_PATH | os.O_NOFOLLOW) as link, opened("pipe", os.O_RDWR) as pipe:
        with opened("directory") as directory:
            os.unlink("link")
            os.unlink("pipe")
            os.rmdir("directory")
            equal((os.fstat(link).st_nlink, os.fstat(pipe).st_nlink, os.fstat(directory).st_nlink), (0, 0, 0))
            equal(os.readlink("", dir_fd=link), "target")
            os.write(pipe, b"1")
            equal(os.read(pipe, 1), b"1")
            equal(os.listdir(directory), [])
            refused("ENOENT", os.open, "file", os.O_CREAT | os.O_WRONLY, dir_fd=directory)


@check("20 removed files are 20 files")
def _():
    fds = []
    for number in range(20):
        fds.append(os.open("file", os.O_CREAT | os.O_EXCL | os.O_RDWR))
        os.write(fds[-1], str(number).encode())
        os.unlink("file")
    for number, fd in enumerate(fds):
        equal(os.pread(fd, 9, 0), str(number).encode())
    equal(len({os.fstat(fd).st_ino for fd in fds}), 20)


@check("what was removed while open leaves nothing in its directory, which can go too")
def _():
    make_directory("directory")
    make_file("directory/file", b"x" * 5000)
    with opened("directory/file", os.O_RDWR) as fd:
        os.unlink("directory/file")
        equal(os.listdir("directory"), [])
        os.rmdir("directory")
        equal(len(os.pread(fd, 9999, 0)), 5000)
        os.pwrite(fd, b"y", 0)
        equal(os.pread(fd, 2, 0), b"yx")
