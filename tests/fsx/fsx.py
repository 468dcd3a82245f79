"""Random operations on one file, checked against a copy in memory.

usage: fsx.py FILE OPERATIONS SEED EXPECTED

Reads, writes, appends, truncations, mappings, holes and copies of random ranges; whatever is read must be what the copy
holds. At the end the copy is written to EXPECTED. The first difference ends the program with status 1 and the latest
operations; the same seed does the same operations again. An operation that the file system does not have (EOPNOTSUPP,
ENOSYS) is counted as refused and must have changed nothing.
"""

import collections
import contextlib
import ctypes
import errno
import mmap
import os
import random
import sys

LARGEST_FILE = 256 * 1024
LARGEST_OPERATION = 64 * 1024
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
POOL = 4 * LARGEST_FILE
REMEMBERED = 40

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
libc.mmap.restype = ctypes.c_void_p
libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
MS_SYNC = 4


def checked(failed):
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def mapping(fd, length):
    """The address of a shared mapping. Python's own mmap closes a duplicate of `fd`, and each close publishes the file."""
    address = libc.mmap(None, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    checked(address == ctypes.c_void_p(-1).value)
    yield address
    checked(libc.munmap(address, length) != 0)


class Difference(Exception):
    pass


class File:
    """The file under test, the copy, and one method for each kind of operation."""

    def __init__(self, path, rng):
        self.path = path
        self.rng = rng
        self.copy = bytearray()
        self.pool = rng.randbytes(POOL)
        self.open(os.O_CREAT | os.O_TRUNC)

    def open(self, flags=0):
        self.fd = os.open(self.path, os.O_RDWR | flags, 0o644)
        self.end_fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def close(self):
        os.close(self.end_fd)
        os.close(self.fd)

    # Ranges

    def present_range(self):
        """A range within the file, or None if it is empty."""
        if not self.copy:
            return None
        offset = self.rng.randrange(len(self.copy))
        most = min(len(self.copy) - offset, LARGEST_OPERATION)
        return offset, self.rng.randint(1, most)

    def any_range(self):
        """A range that may begin or end beyond the file's end."""
        offset = self.rng.randrange(LARGEST_FILE)
        return offset, self.rng.randint(1, min(LARGEST_FILE - offset, LARGEST_OPERATION))

    def data(self, length):
        """Random bytes, which are cut from a pool because making them takes longer than writing them."""
        at = self.rng.randrange(POOL - length)
        return self.pool[at : at + length]

    def grow(self, size):
        if size > len(self.copy):
            self.copy.extend(bytes(size - len(self.copy)))

    def same(self, what, offset, found, wanted):
        if found == wanted:
            return
        at = next((i for i, pair in enumerate(zip(found, wanted)) if pair[0] != pair[1]), min(len(found), len(wanted)))
        raise Difference(
            f"{what}: at {offset + at} found {found[at:at + 8].hex()}, not {bytes(wanted[at:at + 8]).hex()}"
            f" ({len(found)} bytes for {len(wanted)} from {offset})"
        )

    # Operations: each returns what it did, for the log.

    def read(self):
        offset, length = self.any_range()
        self.same("read", offset, os.pread(self.fd, length, offset), self.copy[offset : offset + length])
        return f"read {offset}+{length}"

    def write(self):
        offset, length = self.any_range()
        data = self.data(length)
        self.grow(offset + length)
        self.copy[offset : offset + length] = data
        written = os.pwrite(self.fd, data, offset)
        if written != length:
            raise Difference(f"write: wrote {written} of {offset}+{length}")
        return f"write {offset}+{length}"

    def append(self):
        length = self.rng.randint(1, 4096)
        if len(self.copy) + length > LARGEST_FILE:
            return self.truncate()
        data = self.data(length)
        os.write(self.end_fd, data)
        self.copy.extend(data)
        return f"append {length}"

    def truncate(self):
        size = self.rng.randint(0, LARGEST_FILE)
        if self.rng.random() < 0.8:
            os.ftruncate(self.fd, size)
        else:
            os.truncate(self.path, size)
        del self.copy[size:]
        self.grow(size)
        return f"truncate {size}"

    def map_read(self):
        found = self.present_range()
        if found is None:
            return "map_read of nothing"
        offset, length = found
        with mapping(self.fd, len(self.copy)) as address:
            found = ctypes.string_at(address + offset, length)
            self.same("map_read", offset, found, self.copy[offset : offset + length])
        return f"map_read {offset}+{length}"

    def map_write(self):
        offset, length = self.any_range()
        data = self.data(length)
        if offset + length > len(self.copy):
            os.ftruncate(self.fd, offset + length)
            self.grow(offset + length)
        with mapping(self.fd, len(self.copy)) as address:
            ctypes.memmove(address + offset, data, length)
            if self.rng.random() < 0.05:
                checked(libc.msync(address, len(self.copy), MS_SYNC) != 0)
        self.copy[offset : offset + length] = data
        return f"map_write {offset}+{length}"

    def allocate(self):
        offset, length = self.any_range()
        mode = self.rng.choice([0, KEEP_SIZE])
        checked(libc.fallocate(self.fd, mode, offset, length) != 0)
        if mode == 0:
            self.grow(offset + length)
        return f"allocate {mode} {offset}+{length}"

    def punch(self):
        offset, length = self.any_range()
        checked(libc.fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, offset, length) != 0)
        self.clear(offset, length)
        return f"punch {offset}+{length}"

    def zero(self):
        offset, length = self.any_range()
        mode = self.rng.choice([0, KEEP_SIZE])
        checked(libc.fallocate(self.fd, ZERO_RANGE | mode, offset, length) != 0)
        if mode == 0:
            self.grow(offset + length)
        self.clear(offset, length)
        return f"zero {mode} {offset}+{length}"

    def clear(self, offset, length):
        end = min(offset + length, len(self.copy))
        if offset < end:
            self.copy[offset:end] = bytes(end - offset)

    def copy_range(self):
        found = self.present_range()
        if found is None:
            return "copy_range of nothing"
        source, length = found
        target = self.rng.randrange(LARGEST_FILE - length + 1)
        if abs(source - target) < length:
            return "copy_range onto itself"
        data = self.copy[source : source + length]
        done = os.copy_file_range(self.fd, self.fd, length, source, target)
        self.grow(target + done)
        self.copy[target : target + done] = data[:done]
        return f"copy_range {source}+{done} to {target}"

    def seek(self):
        """Whatever a file system calls a hole must read as zeros."""
        if not self.copy:
            return "seek in nothing"
        start = self.rng.randrange(len(self.copy))
        hole = os.lseek(self.fd, start, os.SEEK_HOLE)
        try:
            data = os.lseek(self.fd, hole, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = len(self.copy)
        if hole < start or data < hole or data > len(self.copy):
            raise Difference(f"seek: from {start} the hole is {hole} to {data} of {len(self.copy)}")
        self.same("hole", hole, bytes(data - hole), self.copy[hole:data])
        return f"seek {start}: hole {hole} to {data}"

    def sync(self):
        os.fsync(self.fd)
        return "fsync"

    def reopen(self):
        self.close()
        self.open()
        return "reopen"

    def forget(self):
        """The guest's pages go, so that the next read asks the file system."""
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return "forget"

    def whole(self):
        size = os.fstat(self.fd).st_size
        if size != len(self.copy):
            raise Difference(f"size: found {size}, not {len(self.copy)}")
        self.same("whole", 0, os.pread(self.fd, LARGEST_FILE + 1, 0), bytes(self.copy))
        return "whole"


WEIGHTS = {
    File.read: 20,
    File.write: 20,
    File.append: 4,
    File.truncate: 6,
    File.map_read: 12,
    File.map_write: 12,
    File.allocate: 3,
    File.punch: 5,
    File.zero: 5,
    File.copy_range: 4,
    File.seek: 3,
    File.sync: 1,
    File.reopen: 1,
    File.forget: 1,
    File.whole: 3,
}


def main():
    path, operations, seed, expected = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    rng = random.Random(seed)
    file = File(path, rng)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    latest = collections.deque(maxlen=REMEMBERED)
    done, refused = collections.Counter(), collections.Counter()
    for number in range(operations):
        kind = rng.choices(kinds, weights)[0]
        name = kind.__name__
        try:
            latest.append(f"{number}: {kind(file)}")
            done[name] += 1
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                latest.append(f"{number}: {name}: {error}")
                fail(seed, latest)
            latest.append(f"{number}: {name}: refused")
            refused[name] += 1
        except Difference as difference:
            latest.append(f"{number}: {difference}")
            fail(seed, latest)
    file.whole()
    file.close()
    with open(expected, "wb") as output:
        output.write(file.copy)
    print(f"{operations} operations, seed {seed}:", *(f"{name} {count}" for name, count in sorted(done.items())))
    print("refused:", *sorted(refused))


def fail(seed, latest):
    print(f"seed {seed}", *latest, sep="\n")
    sys.exit(1)


main()
