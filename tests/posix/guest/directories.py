"""Reading directories: what is listed, in the middle of changes, and from places that were remembered."""

import ctypes
import os

from suite import *

for function, result, arguments in (
    ("opendir", ctypes.c_void_p, [ctypes.c_char_p]),
    ("readdir", ctypes.c_void_p, [ctypes.c_void_p]),
    ("telldir", ctypes.c_long, [ctypes.c_void_p]),
    ("seekdir", None, [ctypes.c_void_p, ctypes.c_long]),
    ("rewinddir", None, [ctypes.c_void_p]),
    ("closedir", ctypes.c_int, [ctypes.c_void_p]),
):
    getattr(libc, function).restype = result
    getattr(libc, function).argtypes = arguments

D_TYPE, D_NAME = 18, 19
TYPES = {
    "a file": 8, "a directory": 4, "a symbolic link": 10, "a pipe": 1, "a socket": 12, "a character device": 2, "a block device": 6,
}


class Reader:
    """A directory stream of the C library, which gives the dots and places too."""

    def __init__(self, path="."):
        self.stream = libc.opendir(os.fsencode(path))

    def entry(self):
        found = libc.readdir(self.stream)
        return None if found is None else (ctypes.string_at(found + D_NAME).decode(), ctypes.c_uint8.from_address(found + D_TYPE).value)

    def name(self):
        found = self.entry()
        return None if found is None else found[0]

    def rest(self):
        names = []
        while (name := self.name()) is not None:
            names.append(name)
        return names

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, place):
        libc.seekdir(self.stream, place)

    def rewind(self):
        libc.rewinddir(self.stream)

    def close(self):
        libc.closedir(self.stream)


def fill(count, path="."):
    names = [f"name-{number:04}" for number in range(count)]
    for name in names:
        os.mknod(f"{path}/{name}", 0o140644)
    return names


@check("an empty directory has `.` and `..`, once each")
def _():
    reader = Reader()
    equal(sorted(reader.rest()), [".", ".."])
    equal(reader.name(), None)
    reader.close()


@check("`.` and `..` have the numbers of the directory and of the one above")
def _():
    make_directory("directory")
    found = {}
    reader = Reader("directory")
    while (at := libc.readdir(reader.stream)) is not None:
        found[ctypes.string_at(at + D_NAME)] = ctypes.c_uint64.from_address(at).value
    equal(found, {b".": os.stat("directory").st_ino, b"..": os.stat(".").st_ino})


@each({f"the type of {kind} is told": (kind, make) for kind, make in MAKERS.items()})
def _(kind, make):
    make("name")
    reader = Reader()
    entries = dict(iter(reader.entry, None))
    # 0 would say that only stat knows.
    equal(entries, {".": 4, "..": 4, "name": TYPES[kind]})


@check("400 names are listed once each, and again after rewinddir with what is new")
def _():
    names = fill(400)
    reader = Reader()
    equal(sorted(reader.rest()), [".", ".."] + names)
    os.mkdir("new")
    os.unlink(names[0])
    reader.rewind()
    equal(sorted(reader.rest()), sorted([".", "..", "new"] + names[1:]))
    reader.close()


@check("telldir and seekdir come back to any place")
def _():
    fill(100)
    reader = Reader()
    places = []
    while True:
        place = reader.tell()
        name = reader.name()
        if name is None:
            break
        places.append((place, name))
    for place, name in [places[50], places[0], places[-1], places[3], places[99]]:
        reader.seek(place)
        equal(reader.name(), name)
    reader.seek(places[-2][0])
    equal(reader.rest(), [places[-2][1], places[-1][1]])
    reader.close()


@check("removing each name as it is read removes them all")
def _():
    fill(300)
    reader = Reader()
    while (name := reader.name()) is not None:
        if not name.startswith("."):
            os.unlink(name)
    reader.close()
    equal(os.listdir("."), [])


@check("removing other names in the middle loses and repeats none of the rest")
def _():
    names = fill(300)
    reader = Reader()
    seen = [reader.name() for _ in range(20)]
    gone = [name for name in names[::3] if name not in seen]
    for name in gone:
        os.unlink(name)
    seen += reader.rest()
    equal(len(seen), len(set(seen)), "the count of names")
    equal([name for name in names if name not in gone and name not in seen], [], "what was lost")
    reader.close()


@check("renaming names in the middle loses and repeats none that stayed")
def _():
    names = fill(200)
    reader = Reader()
    seen = [reader.name() for _ in range(10)]
    for name in names[100:150]:
        os.rename(name, f"moved-{name}")
    seen += reader.rest()
    equal([name for name in names[:100] + names[150:] if seen.count(name) != 1], [])
    reader.close()


@check("two readers of one directory do not disturb each other")
def _():
    names = fill(150)
    one, other = Reader(), Reader()
    first = [one.name() for _ in range(40)]
    equal(sorted(other.rest()), [".", ".."] + names)
    equal(sorted(first + one.rest()), [".", ".."] + names)


@check("a new reader sees at once what was made, renamed and removed")
def _():
    for number in range(5):
        make_file(f"a{number}")
        true(f"a{number}" in os.listdir("."), "a new name is not listed")
        os.rename(f"a{number}", f"b{number}")
        listed = os.listdir(".")
        equal((f"a{number}" in listed, f"b{number}" in listed), (False, True))
        os.unlink(f"b{number}")
        equal(os.listdir("."), [])


@check("a directory stays readable under a new name, and after it was removed")
def _():
    make_directory("directory")
    fill(5, "directory")
    reader = Reader("directory")
    os.rename("directory", "renamed")
    equal(len(reader.rest()), 7)
    for name in os.listdir("renamed"):
        os.unlink(f"renamed/{name}")
    os.rmdir("renamed")
    reader.rewind()
    equal([name for name in reader.rest() if not name.startswith(".")], [])


@check("getdents with a buffer that is too small is EINVAL")
def _():
    SYS_getdents64 = 217
    with opened(".") as fd:
        refused("EINVAL", system, "syscall", SYS_getdents64, fd, ctypes.create_string_buffer(8), 8)


@check("a directory of 20 levels can be made, walked and removed")
def _():
    path = "/".join(["level"] * 20)
    os.makedirs(path)
    equal(sum(1 for _ in os.walk(".")), 21)
    os.removedirs(path)
    equal(os.listdir("."), [])


@check("lstat right after a listing agrees with what is there")
def _():
    for number in range(50):
        make_file(str(number), b"x" * number)
    with os.scandir(".") as entries:
        found = {entry.name: entry.stat().st_size for entry in entries}
    equal(found, {str(number): number for number in range(50)})
    for number in range(50):
        os.truncate(str(number), 7)
    equal({os.stat(name).st_size for name in os.listdir(".")}, {7})


@check("lseek to the start of a directory's descriptor lists it anew")
def _():
    make_file("one")
    with opened(".") as fd:
        equal(os.listdir(fd), ["one"])
        make_file("two")
        equal(sorted(os.listdir(fd)), ["one", "two"])
