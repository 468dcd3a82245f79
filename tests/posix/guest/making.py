"""mkdir, mkfifo, mknod, symlink and link: what is made, whose it is, and what is refused."""

import ctypes
import os
import stat

from suite import *

PLAIN = {kind: make for kind, make in MAKERS.items() if kind != "a symbolic link"}
TYPES = {
    "a file": stat.S_IFREG,
    "a directory": stat.S_IFDIR,
    "a symbolic link": stat.S_IFLNK,
    "a pipe": stat.S_IFIFO,
    "a socket": stat.S_IFSOCK,
    "a character device": stat.S_IFCHR,
    "a block device": stat.S_IFBLK,
}
WITH_MODE = {
    "open": lambda path, mode: os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode)),
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod of a file": lambda path, mode: os.mknod(path, 0o100000 | mode),
    "mknod of a socket": lambda path, mode: os.mknod(path, 0o140000 | mode),
    "mknod of a device": lambda path, mode: os.mknod(path, 0o020000 | mode, os.makedev(1, 3)),
}


@each({f"{kind} shows its type, and that again after it was renamed": (kind, make) for kind, make in MAKERS.items()})
def _(kind, make):
    make("name")
    equal(stat.S_IFMT(os.lstat("name").st_mode), TYPES[kind])
    os.rename("name", "renamed")
    equal(stat.S_IFMT(os.lstat("renamed").st_mode), TYPES[kind])
    with os.scandir(".") as entries:
        [entry] = entries
        equal(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), TYPES[kind])


@each({f"{call} over {kind} is EEXIST": (do, make)
       for call, do in {"mkdir": os.mkdir, "mkfifo": os.mkfifo, "mknod": make_socket, "symlink": MAKERS["a symbolic link"]}.items()
       for kind, make in MAKERS.items()})
def _(do, make):
    make("name")
    before = os.lstat("name")
    refused("EEXIST", do, "name")
    equal(os.lstat("name"), before)


@each({f"{call} takes the mode, without the bits of the umask": do for call, do in WITH_MODE.items()})
def _(do):
    for number, (mask, mode, wanted) in enumerate([(0o022, 0o777, 0o755), (0o077, 0o666, 0o600), (0, 0o751, 0o751)]):
        os.umask(mask)
        do(str(number), mode)
        equal(permissions(str(number)), wanted)


@each({f"{call} takes the sticky bit, and setuid and setgid where they mean something": do
       for call, do in WITH_MODE.items() if call in ("open", "mknod of a file")})
def _(do):
    os.umask(0)
    do("name", 0o6755)
    equal(permissions("name"), 0o6755)


@check("mkdir takes the sticky bit")
def _():
    os.umask(0)
    os.mkdir("name", 0o1777)
    equal(permissions("name"), 0o1777)


@each({f"{kind} belongs to who made it, with his group": make for kind, make in MAKERS.items() if "device" not in kind})
def _(make):
    with user(ALICE, STAFF):
        make("name")
    found = os.lstat("name")
    equal((found.st_uid, found.st_gid), (ALICE, STAFF))


@each({f"{kind} in a setgid directory has its group": make for kind, make in MAKERS.items() if "device" not in kind})
def _(make):
    make_directory("directory")
    os.chown("directory", 0, STAFF)
    os.chmod("directory", 0o2777)
    with user(ALICE):
        make("directory/name")
    found = os.lstat("directory/name")
    equal((found.st_uid, found.st_gid), (ALICE, STAFF))
    equal(bool(found.st_mode & stat.S_ISGID), False) if make is not make_directory else None


@check("a directory in a setgid directory is setgid too, whatever the umask and the mode say")
def _():
    make_directory("directory")
    os.chown("directory", 0, STAFF)
    os.chmod("directory", 0o2777)
    os.umask(0o077)
    with user(ALICE):
        os.mkdir("directory/below", 0o755)
        os.mkdir("directory/below/below")
    equal(permissions("directory/below"), 0o2700)
    equal((permissions("directory/below/below"), os.stat("directory/below/below").st_gid), (0o2700, STAFF))


@check("a setgid file that may be executed, made in a setgid directory by a stranger to the group, loses setgid")
def _():
    make_directory("directory")
    os.chown("directory", 0, STAFF)
    os.chmod("directory", 0o2777)
    os.umask(0)
    with user(ALICE):
        os.close(os.open("directory/file", os.O_CREAT | os.O_WRONLY, 0o2775))
        os.mknod("directory/node", 0o102775)
    equal((permissions("directory/file"), permissions("directory/node")), (0o775, 0o775))


@each({f"making {kind} marks the times of its directory, and its own three are the same": make for kind, make in MAKERS.items()})
def _(make):
    os.mkdir("directory")
    before = os.stat("directory")
    tick()
    make("directory/name")
    after = os.stat("directory")
    true(after.st_mtime_ns > before.st_mtime_ns, "the directory's modification time stayed")
    true(after.st_ctime_ns > before.st_ctime_ns, "the directory's change time stayed")
    made = os.lstat("directory/name")
    true(made.st_mtime_ns > before.st_mtime_ns, "its modification time is old")
    true(made.st_ctime_ns > before.st_ctime_ns, "its change time is old")
    true(made.st_atime_ns > before.st_mtime_ns, "its access time is old")


@check("a failed making leaves the times of the directory")
def _():
    make_directory("directory")
    make_file("directory/name")
    before = os.stat("directory")
    tick()
    refused("EEXIST", os.mkdir, "directory/name")
    refused("EEXIST", os.symlink, "target", "directory/name")
    after = os.stat("directory")
    equal((after.st_mtime_ns, after.st_ctime_ns), (before.st_mtime_ns, before.st_ctime_ns))


@each({f"only root makes {kind}": make for kind, make in MAKERS.items() if "device" in kind})
def _(make):
    with user(ALICE):
        refused("EPERM", make, "name")
        make_socket("socket")


@each({f"mknod with the type {kind} is {wanted}": (type_, wanted) for kind, (type_, wanted) in {
    "of a directory": (stat.S_IFDIR, "EPERM"),
    "of a symbolic link": (stat.S_IFLNK, "EINVAL"),
    "that no type has": (0o150000, "EINVAL"),
}.items()})
def _(type_, wanted):
    refused(wanted, os.mknod, "name", type_ | 0o644)
    equal(os.listdir("."), [])


@check("mknod without a type makes a file")
def _():
    system("mknod", "name", 0o644, 0)
    true(stat.S_ISREG(os.lstat("name").st_mode), "it is no file")


@each({f"a device keeps the number {major}:{minor}": (major, minor) for major, minor in [(0, 0), (1, 3), (255, 255), (256, 256), (4095, 1048575)]})
def _(major, minor):
    for name, type_ in (("character", stat.S_IFCHR), ("block", stat.S_IFBLK)):
        os.mknod(name, type_ | 0o600, os.makedev(major, minor))
        found = os.lstat(name)
        equal((os.major(found.st_rdev), os.minor(found.st_rdev)), (major, minor))


@each({f"a symbolic link holds {kind}": target for kind, target in {
    "a short target": "t",
    "a target that leads nowhere": "/no/such/place",
    "a target of 1000 bytes": "t/" * 499 + "tt",
    "a target with bytes that are not UTF-8": b"\xff\xfe/\x80",
    "a target with white space around it": " \n target \t",
    "a target with slashes at the end": "a//",
}.items()})
def _(target):
    os.symlink(target, b"link")
    equal(os.readlink(b"link"), os.fsencode(target))
    equal(os.lstat("link").st_size, len(os.fsencode(target)))


@check("a symbolic link without a target is ENOENT, with one of 4096 bytes ENAMETOOLONG")
def _():
    refused("ENOENT", os.symlink, "", "link")
    refused("ENAMETOOLONG", os.symlink, "t" * 4096, "link")
    equal(os.listdir("."), [])


@check("readlink gives as much of the target as the buffer takes")
def _():
    os.symlink("0123456789", "link")
    buffer = ctypes.create_string_buffer(16)
    equal(system("readlink", "link", buffer, 4), 4)
    equal(buffer.raw[:5], b"0123\0")
    refused("EINVAL", system, "readlink", "link", buffer, 0)


@each({f"readlink of {kind} is EINVAL": make for kind, make in PLAIN.items()})
def _(make):
    make("name")
    refused("EINVAL", os.readlink, "name")


@check("a link gives a file a second name, and both count")
def _():
    make_file("file", b"1")
    os.link("file", "other")
    one, other = os.stat("file"), os.stat("other")
    equal((one.st_ino, one.st_nlink), (other.st_ino, 2))
    with opened("other", os.O_WRONLY) as fd:
        os.write(fd, b"2")
    equal(content("file"), b"2")
    os.unlink("file")
    equal((os.stat("other").st_nlink, content("other")), (1, b"2"))


@check("a directory cannot be linked: EPERM")
def _():
    make_directory("directory")
    refused("EPERM", os.link, "directory", "other")


@check("a refused link leaves nothing behind")
def _():
    make_file("file")
    make_file("taken")
    refused("EEXIST", os.link, "file", "taken")
    refused("ENOENT", os.link, "missing", "other")
    equal(sorted(os.listdir(".")), ["file", "taken"])
