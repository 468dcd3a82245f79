"""What stat and statvfs say."""

import ctypes
import os
import stat
import struct

from suite import *


@each({f"{kind} has one link": make for kind, make in MAKERS.items() if kind != "a directory"})
def _(make):
    make("name")
    equal(os.lstat("name").st_nlink, 1)


@check("a directory has a link for its name, one for itself and one for each directory in it")
def _():
    make_directory("directory")
    equal(os.stat("directory").st_nlink, 2)
    os.makedirs("directory/a/b")
    os.mkdir("directory/c")
    make_file("directory/file")
    equal((os.stat("directory").st_nlink, os.stat("directory/a").st_nlink), (4, 3))
    os.rmdir("directory/c")
    os.rename("directory/a", "a")
    equal(os.stat("directory").st_nlink, 2)


@check("numbers are different for all that exists, and stay")
def _():
    for index, make in enumerate(MAKERS.values()):
        make(str(index))
    names = os.listdir(".")
    numbers = {name: os.lstat(name).st_ino for name in names}
    equal(len(set(numbers.values())), len(MAKERS))
    true(0 not in numbers.values(), "a number is 0")
    for name in names:
        os.rename(name, f"renamed-{name}")
    equal({name: os.lstat(f"renamed-{name}").st_ino for name in names}, numbers)


@check("numbers and times stay over chmod, and when the kernel has forgotten all it knew")
def _():
    for index, make in enumerate(MAKERS.values()):
        make(str(index))
    os.symlink("0", "link")
    for index in range(len(MAKERS)):
        if not os.path.islink(str(index)):
            os.chmod(str(index), 0o750)
    before = {name: os.lstat(name) for name in os.listdir(".")}
    for name in before:
        equal(os.lstat(name), before[name], name)
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2")
    for name in before:
        equal(os.lstat(name), before[name], name)


@check("the numbers that readdir gives are those that stat gives")
def _():
    for index, make in enumerate(MAKERS.values()):
        make(str(index))
    with os.scandir(".") as entries:
        equal({entry.name: entry.inode() for entry in entries}, {name: os.lstat(name).st_ino for name in os.listdir(".")})


@check("everything is on the same device as its directory")
def _():
    for index, make in enumerate(MAKERS.values()):
        make(str(index))
        equal(os.lstat(str(index)).st_dev, os.stat(".").st_dev)


@check("a file's size is the end of what was written, at once, for every descriptor and path")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        for size in (1, 4096, 4097, 100_000):
            os.pwrite(fd, b"1", size - 1)
            equal((os.fstat(fd).st_size, os.stat("file").st_size), (size, size))
        os.ftruncate(fd, 5)
        equal((os.fstat(fd).st_size, os.stat("file").st_size), (5, 5))


@check("blocks are of 512 bytes and cover what was written")
def _():
    make_file("file", b"1" * 100_000)
    os.sync()
    found = os.stat("file")
    true(found.st_blocks * 512 >= 100_000, f"{found.st_blocks} blocks are too few")
    true(found.st_blocks * 512 <= 200_000, f"{found.st_blocks} blocks are too many")


@check("a hole takes no blocks")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 1 << 30)
        os.pwrite(fd, b"1", 1 << 20)
        true(os.fstat(fd).st_blocks < 10_000, f"{os.fstat(fd).st_blocks} blocks are too many")


@check("the preferred block size is a power of two of at least 512")
def _():
    make_file("file")
    size = os.stat("file").st_blksize
    true(size >= 512 and size & size - 1 == 0, f"it is {size}")


@check("only devices have a device number")
def _():
    for kind, make in MAKERS.items():
        make(kind)
        equal(os.lstat(kind).st_rdev != 0, "device" in kind, kind)


@check("stat through a link is that of the target, lstat that of the link")
def _():
    make_file("file", b"123")
    os.symlink("file", "link")
    equal(os.stat("link"), os.stat("file"))
    true(stat.S_ISLNK(os.lstat("link").st_mode), "lstat followed")
    equal(os.lstat("link").st_size, 4)


@check("fstat of an open file agrees with stat of its name")
def _():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"123")
        os.fchmod(fd, 0o640)
        equal(os.fstat(fd), os.stat("file"))
    before = os.stat("file")
    with opened("file") as fd:
        equal(os.fstat(fd), before)


@check("statx tells mode, size, links, owner and number like stat")
def _():
    make_file("file", b"123", 0o640)
    os.chown("file", ALICE, STAFF)
    buffer = ctypes.create_string_buffer(256)
    system("statx", AT_FDCWD, "file", 0, 0x7FF, buffer)
    mask, _, _, nlink, uid, gid, mode, _, number, size = struct.unpack_from("=IIQIIIHHQQ", buffer.raw)
    found = os.stat("file")
    equal(mask & 0x7FF, 0x7FF)
    equal((nlink, uid, gid, mode, number, size), (1, ALICE, STAFF, found.st_mode, found.st_ino, 3))


@check("statvfs has sizes that make sense, names of 255 bytes, and is the same everywhere")
def _():
    make_directory("directory")
    make_file("file")
    found = os.statvfs(".")
    true(found.f_bsize >= 512 and found.f_frsize >= 512, "a block is too small")
    true(found.f_blocks >= found.f_bfree >= found.f_bavail > 0, "blocks do not add up")
    true(found.f_files >= found.f_ffree > 0, "files do not add up")
    equal(found.f_namemax, 255)
    with opened("file") as fd:
        equal((os.statvfs("directory").f_blocks, os.fstatvfs(fd).f_blocks), (found.f_blocks, found.f_blocks))


@check("pathconf says what names and paths may be")
def _():
    equal((os.pathconf(".", "PC_NAME_MAX"), os.pathconf(".", "PC_PATH_MAX")), (255, 4096))
