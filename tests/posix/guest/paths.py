"""What each call with a path says of a path that cannot be walked, and which paths can."""

import os

from suite import *

CALLS = {
    "open": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "creat": lambda path: os.close(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)),
    "opendir": os.listdir,
    "stat": os.stat,
    "lstat": os.lstat,
    "statfs": os.statvfs,
    "access": lambda path: system("access", path, os.F_OK),
    "readlink": os.readlink,
    "chdir": os.chdir,
    "chmod": lambda path: os.chmod(path, 0o600),
    "chown": lambda path: os.chown(path, -1, -1),
    "lchown": lambda path: os.lchown(path, -1, -1),
    "utimensat": lambda path: os.utime(path, (1, 1)),
    "truncate": lambda path: os.truncate(path, 0),
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda path: os.mknod(path, 0o100644),
    "symlink": lambda path: os.symlink("target", path),
    "link from": lambda path: os.link(path, "new"),
    "link to": lambda path: os.link("file", path),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "rename from": lambda path: os.rename(path, "new"),
    "rename to": lambda path: os.rename("file", path),
    "getxattr": lambda path: os.getxattr(path, "user.a"),
    "setxattr": lambda path: os.setxattr(path, "user.a", b"1"),
    "listxattr": os.listxattr,
    "removexattr": lambda path: os.removexattr(path, "user.a"),
    "execve": lambda path: os.execv(path, ["program"]),
}
MAKING = ["creat", "mkdir", "mkfifo", "mknod", "symlink", "link to", "rename to"]
REMOVING = ["unlink", "rmdir", "rename from"]


@each({f"{name} below what does not exist is ENOENT": call for name, call in CALLS.items()})
def _(call):
    make_file("file")
    refused("ENOENT", call, "missing/name")


@each({f"{name} of an empty path is ENOENT": call for name, call in CALLS.items()})
def _(call):
    make_file("file")
    refused("ENOENT", call, "")


@each({f"{name} of what does not exist is ENOENT": CALLS[name] for name in CALLS if name not in MAKING})
def _(call):
    make_file("file")
    refused("ENOENT", call, "missing")
    # Asked again, when the absence may be remembered.
    refused("ENOENT", call, "missing")


@each({f"{name} below a file is ENOTDIR": call for name, call in CALLS.items()})
def _(call):
    make_file("file")
    refused("ENOTDIR", call, "file/name")


@each({f"{name} below a pipe is ENOTDIR": CALLS[name] for name in ["open", "creat", "mkdir", "unlink", "rename to"]})
def _(call):
    make_file("file")
    os.mkfifo("pipe")
    refused("ENOTDIR", call, "pipe/name")


@each({f"{name} of a name of 256 bytes is ENAMETOOLONG": call for name, call in CALLS.items()})
def _(call):
    make_file("file")
    refused("ENAMETOOLONG", call, "n" * 256)


@each({f"{name} below a name of 256 bytes is ENAMETOOLONG": call for name, call in CALLS.items()})
def _(call):
    make_file("file")
    refused("ENAMETOOLONG", call, "n" * 256 + "/name")


@each({f"{name} of a path of 4096 bytes is ENAMETOOLONG": call for name, call in CALLS.items()})
def _(call):
    make_file("file")
    refused("ENAMETOOLONG", call, "./" * (LONGEST_PATH // 2) + "nn")


@each({f"{name} of a path of 4095 bytes gets through to its end": CALLS[name] for name in MAKING if name != "link to"})
def _(call):
    make_file("file")
    call("./" * (LONGEST_PATH // 2) + "n")
    os.lstat("n")


@each({f"{name} below a link to itself is ELOOP": call for name, call in CALLS.items()})
def _(call):
    make_file("file")
    os.symlink("loop", "loop")
    refused("ELOOP", call, "loop/name")


FOLLOWING = "open creat opendir stat statfs access chdir chmod chown utimensat truncate getxattr setxattr listxattr execve"


@each({f"{name} of a link to itself is ELOOP": CALLS[name] for name in FOLLOWING.split()})
def _(call):
    os.symlink("loop", "loop")
    refused("ELOOP", call, "loop")


# access(2) asks for the real user, who is root here.
@each({f"{name} below a directory that may not be searched is EACCES": CALLS[name] for name in CALLS if name != "access"})
def _(call):
    make_file("file", mode=0o666)
    make_directory("closed", 0o666)
    make_file("closed/name", mode=0o777)
    with user(ALICE):
        refused("EACCES", call, "closed/name")


@each({f"{name} in a directory that may not be written is EACCES": CALLS[name] for name in MAKING})
def _(call):
    make_directory("closed", 0o555)
    with user(ALICE):
        make_file("file", mode=0o666)
        refused("EACCES", call, "closed/name")


@each({f"{name} in a directory that may not be written is EACCES": CALLS[name] for name in REMOVING})
def _(call):
    make_directory("closed")
    make = make_directory if call is os.rmdir else make_file
    make("closed/name", mode=0o777)
    os.chmod("closed", 0o555)
    with user(ALICE):
        refused("EACCES", call, "closed/name")
    os.lstat("closed/name")


@check("a directory that may be searched but not read gives its files by name only")
def _():
    make_directory("dark", 0o711)
    make_file("dark/name", b"1", 0o644)
    with user(ALICE):
        equal(content("dark/name"), b"1")
        refused("EACCES", os.listdir, "dark")


@check("a directory that may be read but not searched gives its names only")
def _():
    make_directory("list", 0o744)
    make_file("list/name")
    with user(ALICE):
        equal(os.listdir("list"), ["name"])
        refused("EACCES", os.stat, "list/name")


RAW = {
    "open": ("open", 0),
    "mkdir": ("mkdir", 0o755),
    "mkfifo": ("mkfifo", 0o644),
    "unlink": ("unlink",),
    "rmdir": ("rmdir",),
    "chmod": ("chmod", 0o644),
    "chown": ("chown", 0, 0),
    "truncate": ("truncate", 0),
    "chdir": ("chdir",),
}


@each({f"{name} of a path at a bad address is EFAULT": call for name, call in RAW.items()})
def _(name, *arguments):
    refused("EFAULT", system, name, BAD_ADDRESS, *arguments)


@each({f"{name} with a path at a bad address is EFAULT": name for name in ["rename", "symlink", "link"]})
def _(name):
    make_file("file")
    refused("EFAULT", system, name, BAD_ADDRESS, "new")
    refused("EFAULT", system, name, "file", BAD_ADDRESS)


@check("read into and write from a bad address are EFAULT, and change nothing")
def _():
    make_file("file", b"12345678")
    with opened("file", os.O_RDWR) as fd:
        refused("EFAULT", system, "read", fd, BAD_ADDRESS, 8)
        refused("EFAULT", system, "write", fd, BAD_ADDRESS, 4)
    equal(content("file"), b"12345678")


@each({f"the longest name can be that of {kind}": make for kind, make in MAKERS.items()})
def _(make):
    name = "n" * LONGEST_NAME
    make(name)
    equal(os.listdir("."), [name])
    os.rename(name, "short")
    os.rename("short", name)
    os.lstat(name)
    (os.rmdir if make is make_directory else os.unlink)(name)
    equal(os.listdir("."), [])


ODD_NAMES = {
    "white space": [" ", " a", "a ", "\t", "a\n", "\u00a0", "\u3000b"],
    "dots": ["...", ".a", "a.", "..a", ".. "],
    "what shells and services take for something else": ["*", "?", "%2F", "a%", "#", "&", "\\", "a\\b", "~", ":", "\"", "'", "-"],
    "control characters": ["\x01", "\x1b[0m", "\x7f"],
    "bytes that are not UTF-8": [b"\xff", b"\xc3\x28", b"a\x80"],
    "letters of other alphabets": ["\u00e9", "e\u0301", "\u6587", "\U0001f642"],
}


@each({f"names with {kind} are what they are": (names,) for kind, names in ODD_NAMES.items()})
def _(names):
    encoded = [os.fsencode(name) for name in names]
    for name in encoded:
        make_file(name, name)
        os.mkdir(b"directory-" + name)
    equal(sorted(os.listdir(b".")), sorted(encoded + [b"directory-" + name for name in encoded]))
    for name in encoded:
        equal(content(name), name)
        os.unlink(name)
        os.rmdir(b"directory-" + name)
    equal(os.listdir("."), [])


@check("names differ by the case of their letters")
def _():
    make_file("name", b"1")
    make_file("NAME", b"2")
    equal((content("name"), content("NAME")), (b"1", b"2"))


@check("40 links in a row are followed, 41 are ELOOP")
def _():
    make_file("0", b"1")
    for number in range(1, 42):
        os.symlink(str(number - 1), str(number))
    equal(content("40"), b"1")
    refused("ELOOP", os.stat, "41")


@check("`.` and `..` lead where they should, also through a link and after a rename")
def _():
    os.makedirs("a/b")
    os.makedirs("c")
    os.symlink("a/b", "link")
    equal(os.stat("link/..").st_ino, os.stat("a").st_ino)
    os.chdir("a/b")
    os.rename("../../a/b", "../../c/b")
    equal(os.stat("..").st_ino, os.stat("../../c").st_ino)
    equal(os.path.basename(os.path.dirname(os.getcwd())), "c")


@check("a trailing slash asks for a directory")
def _():
    make_file("file")
    make_directory("directory")
    os.symlink("directory", "link")
    os.mkdir("new/")
    os.rename("new/", "newer/")
    os.rmdir("newer/")
    refused("ENOTDIR", os.stat, "file/")
    refused("ENOTDIR", os.unlink, "file/")
    refused("ENOTDIR", os.rename, "file", "other/")
    refused("ENOTDIR", os.rename, "file/", "other")
    refused("EISDIR", CALLS["creat"], "other/")
    refused("ENOTDIR", os.rmdir, "link/")
    equal(os.lstat("link/").st_ino, os.stat("directory").st_ino)
