"""Runs the checks of some subjects, or of all, in a directory.

usage: run.py DIRECTORY [SUBJECT..]

Prints a line `ok SUBJECT: NAME` or `not ok SUBJECT: NAME # WHY` for each, and at the end how many there were. The exit status
says only whether that end was reached.
"""

import importlib
import os
import signal
import sys
import time
import traceback

import suite

SUBJECTS = """
    paths opening making removing renaming modes owners stats times sizes contents copying unlinked directories
    extended_attributes access_lists mappings locks special_files programs watching
""".split()
PATIENCE_S = 60
HERE = os.path.dirname(suite.__file__)
FIRST_FREE_FD = 3


def run(function, directory):
    """What went wrong; None if nothing did."""
    try:
        signal.alarm(PATIENCE_S)
        os.mkdir(directory)
        os.chmod(directory, 0o777)
        os.chdir(directory)
        function()
        return None
    except Exception as failure:
        return describe(failure)
    finally:
        start_over()


def start_over():
    """Undoes what a check may have left of itself in this process."""
    signal.alarm(0)
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([])
    os.umask(0o022)
    os.chdir("/")
    os.closerange(FIRST_FREE_FD, 100)


def out_of_patience(*_):
    raise suite.Wrong(f"not done after {PATIENCE_S} s")


def describe(failure):
    """With the line of the check, not that of the words it is written in."""
    lines = traceback.extract_tb(failure.__traceback__)
    line = [line for line in lines if os.path.dirname(line.filename) == HERE and line.filename != suite.__file__][-1]
    where = f"{os.path.basename(line.filename)}:{line.lineno}"
    return " ".join(f"{failure if isinstance(failure, suite.Wrong) else repr(failure)} ({where})".split())


def main(directory, subjects):
    for subject in subjects or SUBJECTS:
        importlib.import_module(subject)
    signal.signal(signal.SIGALRM, out_of_patience)
    start = time.monotonic()
    start_over()
    for number, (name, function) in enumerate(suite.CHECKS):
        failure = run(function, os.path.join(directory, str(number)))
        print(f"ok {name}" if failure is None else f"not ok {name} # {failure}", flush=True)
    print(f"{len(suite.CHECKS)} checks in {time.monotonic() - start:.0f} s")


main(sys.argv[1], sys.argv[2:])
