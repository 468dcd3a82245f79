"""Executing what lies on the file system, and using a file as a disk."""

import os
import shutil
import subprocess

from suite import *


def script(path, mode=0o755):
    return make_file(path, b"#!/bin/sh\necho $0 $1\n", mode)


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, **options).stdout


@check("a program and a script run")
def _():
    shutil.copy("/bin/cat", "program")
    script("script")
    make_file("file", b"hello")
    equal((run("./program", "file"), run("./script", "1")), ("hello", "./script 1\n"))


@check("a program runs through a link, and after it was renamed")
def _():
    script("script")
    os.symlink("script", "link")
    equal(run("./link", "1"), "./link 1\n")
    os.rename("script", "renamed")
    equal(run("./renamed", "2"), "./renamed 2\n")


@check("a file without the right to execute is EACCES, for root too")
def _():
    script("script", 0o644)
    refused("EACCES", os.execv, "script", ["script"])
    os.chmod("script", 0o700)
    with user(ALICE):
        refused("EACCES", os.execv, "script", ["script"])


@check("a directory and an empty file are not executed: EACCES and ENOEXEC")
def _():
    make_directory("directory")
    make_file("file", mode=0o755)
    refused("EACCES", os.execv, "directory", ["directory"])
    refused("ENOEXEC", os.execv, "file", ["file"])


@check("a script whose interpreter is missing is ENOENT")
def _():
    make_file("script", b"#!/no/such/program\n", 0o755)
    refused("ENOENT", os.execv, "script", ["script"])


@check("what runs cannot be written, what is written cannot run: ETXTBSY")
def _():
    shutil.copy("/bin/sleep", "program")
    with subprocess.Popen(["./program", "60"]) as running:
        try:
            refused("ETXTBSY", os.open, "program", os.O_WRONLY)
            refused("ETXTBSY", os.truncate, "program", 0)
            os.unlink("program")
        finally:
            running.kill()
    shutil.copy("/bin/sleep", "other")
    with opened("other", os.O_WRONLY):
        refused("ETXTBSY", os.execv, "other", ["other"])


@check("setuid gives the owner's rights to who runs it")
def _():
    shutil.copy("/usr/bin/id", "id")
    os.chown("id", BOB, BOB)
    os.chmod("id", 0o6755)
    equal(run("./id", "-u", user=ALICE, group=ALICE, extra_groups=[]), f"{BOB}\n")
    equal(run("./id", "-g", user=ALICE, group=ALICE, extra_groups=[]), f"{BOB}\n")


@check("a program keeps running when its file is replaced, and the next run is the new one")
def _():
    script("script")
    make_file("new", b"#!/bin/sh\necho new\n", 0o755)
    os.rename("new", "script")
    equal(run("./script"), "new\n")


@check("a loop device reads and writes a file")
def _():
    with opened("image", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 1 << 20)
    device = run("losetup", "--find", "--show", "image").strip()
    true(device.startswith("/dev/loop"), "there is no loop device")
    try:
        with opened(device, os.O_RDWR) as fd:
            os.pwrite(fd, b"disk" * 1024, 512 * 1024)
            os.fsync(fd)
            equal(os.pread(fd, 4, 512 * 1024 + 4), b"disk")
    finally:
        run("losetup", "--detach", device)
    equal(content("image")[512 * 1024 : 512 * 1024 + 8], b"diskdisk")


@check("a file holds a file system that is mounted, filled, unmounted and mounted again")
def _():
    # An empty ext2, made on the host.
    shutil.copy("/guest/posix/disk", "disk")
    make_directory("point")
    for first in (True, False):
        done = subprocess.run(["mount", "-o", "loop", "disk", "point"], capture_output=True, text=True)
        equal(done.stderr, "")
        try:
            for number in range(20):
                if first:
                    make_file(f"point/{number}", b"%d" % number * 3000)
                equal(content(f"point/{number}") == b"%d" % number * 3000, True, f"file {number}")
        finally:
            run("umount", "point")


@check("shell redirections, here-documents and pipes do what they say")
def _():
    text = run("sh", "-c", "cd . && printf 1 >a && printf 2 >>a && cat <a >b && cat a b | tee c >/dev/null && cat c && echo && : >a && wc -c <a")
    equal(text.split(), ["1212", "0"])
