"""Pipes, sockets and devices as what they are for."""

import os
import socket
import stat

from suite import *


@check("a pipe carries bytes from one process to another")
def _():
    os.mkfifo("pipe")
    pid = os.fork()
    if pid == 0:
        with opened("pipe", os.O_WRONLY) as fd:
            os.write(fd, b"hello")
        os._exit(0)
    with opened("pipe") as fd:
        equal((os.read(fd, 9), os.read(fd, 9)), (b"hello", b""))
    os.waitpid(pid, 0)
    equal(os.stat("pipe").st_size, 0)


@check("a pipe keeps working under a new name, and a link to it is the same pipe")
def _():
    os.mkfifo("pipe")
    with opened("pipe", os.O_RDWR) as fd:
        os.rename("pipe", "renamed")
        os.symlink("renamed", "link")
        with opened("link", os.O_RDWR | os.O_NONBLOCK) as other:
            os.write(other, b"1")
            equal(os.read(fd, 1), b"1")


@each({f"a {kind} socket is bound, reached by its name, and refuses when it is closed": type_
       for kind, type_ in {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM}.items()})
def _(type_):
    with socket.socket(socket.AF_UNIX, type_) as server, socket.socket(socket.AF_UNIX, type_) as client:
        server.bind("socket")
        true(stat.S_ISSOCK(os.lstat("socket").st_mode), "it is no socket")
        if type_ == socket.SOCK_STREAM:
            server.listen()
        client.connect("socket")
        client.send(b"hello")
        receiver = server.accept()[0] if type_ == socket.SOCK_STREAM else server
        equal(receiver.recv(9), b"hello")
        receiver.close()
    with socket.socket(socket.AF_UNIX, type_) as client:
        refused("ECONNREFUSED", client.connect, "socket")


@check("a name that is taken cannot be bound: EADDRINUSE")
def _():
    make_file("file")
    with socket.socket(socket.AF_UNIX) as server:
        refused("EADDRINUSE", server.bind, "file")


@check("a socket's mode says who may connect")
def _():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        server.listen()
        os.chmod("socket", 0o600)
        with user(ALICE), socket.socket(socket.AF_UNIX) as client:
            refused("EACCES", client.connect, "socket")
        os.chmod("socket", 0o666)
        with user(ALICE), socket.socket(socket.AF_UNIX) as client:
            client.connect("socket")


@check("a socket is reached under its new name")
def _():
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        server.listen()
        os.rename("socket", "renamed")
        client.connect("renamed")


@check("device nodes lead to their devices")
def _():
    os.mknod("null", 0o020666, os.makedev(1, 3))
    os.mknod("zero", 0o020666, os.makedev(1, 5))
    os.mknod("full", 0o020666, os.makedev(1, 7))
    with opened("null", os.O_RDWR) as null, opened("zero") as zero, opened("full", os.O_WRONLY) as full:
        equal((os.write(null, b"123"), os.read(null, 9), os.read(zero, 3)), (3, b"", b"\0\0\0"))
        refused("ENOSPC", os.write, full, b"1")


@check("fstat of an open device tells of the node, not of the device's own")
def _():
    os.mknod("null", 0o020640, os.makedev(1, 3))
    os.chown("null", ALICE, STAFF)
    with opened("null") as fd:
        found = os.fstat(fd)
    equal((found.st_ino, found.st_uid, found.st_mode & 0o777), (os.lstat("null").st_ino, ALICE, 0o640))


@check("a device's mode says who may open it")
def _():
    os.mknod("null", 0o020600, os.makedev(1, 3))
    with user(ALICE):
        refused("EACCES", os.open, "null", os.O_RDONLY)
