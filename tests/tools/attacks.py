"""Attempts of code to get out of a box, to take more than its share, and to mislead whoever watches it.

Each is a program. It prints ESCAPED where it got what it must not get; what else it prints has to fit the pattern of its
jail, so that an attempt that fails for a reason of its own is not taken for one that was held.
Names in << >> are filled in by `boxed.py`: things outside of the box that are there to be reached.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BOTH_KINDS = ("bubblewrap", "landlock")


@dataclass(frozen=True)
class Attempt:
    """`held` is what it prints in the jail with namespaces, `beside` in the one without (None: the same)."""

    name: str
    code: str
    held: str
    beside: str | None = None
    seconds: float = 20.0

    def fits(self, jail: str, output: str) -> bool:
        """Whether it was held, and for the reason it was to be."""
        pattern = self.held if jail == "bubblewrap" or self.beside is None else self.beside
        return "ESCAPED" not in output and re.search(pattern, output, re.DOTALL) is not None


def _opening(mode: str, *paths: str) -> str:
    """Open each path; print what came of it."""
    return f"""
for path in {paths!r}:
    try:
        with open(path, {mode!r}) as file:
            {"file.read(1)" if mode.startswith("r") and "+" not in mode else "file.seek(0)"}
        print("ESCAPED", path)
    except OSError as error:
        print(type(error).__name__)
"""


def _calling(*calls: str) -> str:
    """Call each function of the C library; print the name of the error."""
    return f"""
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
for call in {calls!r}:
    ctypes.set_errno(0)
    if eval("libc." + call) < 0:
        print(errno.errorcode[ctypes.get_errno()])
    else:
        print("ESCAPED", call)
"""


def _only(word: str, times: int) -> str:
    return rf"\A({word}\n){{{times}}}\Z"


_NOT_THERE = "(FileNotFoundError|NotADirectoryError)"
_FORK = """
import os, time
children = []
try:
    while len(children) < 2000:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
    print("ESCAPED")
except OSError as error:
    print("stopped", error.errno)
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
"""
_SOCKETS = """
import socket
for family, kind in ((17, 3), (2, 3), (40, 1), (16, 3), (38, 5), (2, 1), (10, 2)):
    try:
        socket.socket(family, kind)
        print("ESCAPED", family, kind)
    except OSError as error:
        print(type(error).__name__)
"""
_LOCAL_SOCKETS = """
import socket
for name in ("<<socket>>", chr(0) + "<<abstract>>", "/run/docker.sock", "/run/systemd/private"):
    try:
        made = socket.socket(socket.AF_UNIX)
        made.connect(name)
        print("ESCAPED", name)
    except OSError as error:
        print(type(error).__name__)
"""
_CONNECT = """
import socket
try:
    socket.create_connection({place}, 2)
    print("ESCAPED")
except OSError as error:
    print(type(error).__name__)
"""
_PROCESSES = """
import os
try:
    seen = [name for name in os.listdir("/proc") if name.isdigit()]
    print("few" if len(seen) <= 3 else "ESCAPED", seen)
    for path in ("/proc/1/environ", "/proc/1/cmdline"):
        text = open(path).read()
        print("ESCAPED" if "<<secret>>" in text or "<<folder>>" in text or "--ro-bind" in text else "nothing")
    print(len(open("/proc/1/environ").read()))
except OSError as error:
    print(type(error).__name__)
"""
_ROOTS = """
import os
for path in ("/proc/1/root/etc/shadow", "/proc/1/root/<<outside>>", "/proc/<<server>>/root/etc/shadow",
             "/proc/self/root/etc/shadow", "/proc/<<server>>/environ", "/proc/<<server>>/mem", "/proc/kcore"):
    try:
        print("ESCAPED", open(path, "rb").read(9))
    except OSError as error:
        print("held")
"""
_HANDLES = """
import os
found = []
for number in range(256):
    try:
        found.append((number, os.fstat(number).st_mode & 0o170000))
    except OSError:
        pass
# standard streams, requests and answers: pipes and /dev/null, no file, no folder, no socket
print("few" if len(found) <= 6 and {mode for _, mode in found} <= {0o010000, 0o020000} else f"ESCAPED {found}")
"""
_MOUNTS = """
try:
    text = open("/proc/self/mountinfo").read()
    print("ESCAPED" if "<<secret>>" in text or "<<folder>>" in text else "nothing")
except OSError as error:
    print(type(error).__name__)
"""
_LINKS = """
import os
os.symlink("/etc/shadow", "link")
os.symlink("../../../../../../../../etc", "up")
os.symlink("<<outside>>", "out")
for path in ("link", "up/shadow", "out"):
    try:
        open(path).read()
        print("ESCAPED")
    except OSError as error:
        print("held")
try:
    os.link("<<outside>>", "hard")
    print("ESCAPED")
except OSError as error:
    print("held")
"""
_CAPABILITIES = """
import ctypes
libc = ctypes.CDLL(None)
print("no new privileges:", libc.prctl(39, 0, 0, 0, 0), "filter:", libc.prctl(21, 0, 0, 0, 0))
import struct
header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
libc.capget(header, data)
effective = struct.unpack("=6I", data.raw)
print("none" if not (effective[0] or effective[1] or effective[3] or effective[4]) else f"ESCAPED {effective}")
"""
_SIGNALS = """
import os, signal
for number in (<<server>>, <<parent>>, 1):
    for what in (0, signal.SIGTERM):
        try:
            os.kill(number, what)
            print("sent")
        except OSError as error:
            print(type(error).__name__)
"""
_ALL_SIGNALS = """
import os, signal
try:
    os.kill(-1, signal.SIGTERM)
except OSError as error:
    print(type(error).__name__)
print("here")
"""
_TERMINAL = """
import fcntl
for handle in (0, 1, 2):
    for what in (0x5412, 0x541C):
        try:
            fcntl.ioctl(handle, what, b"x")
            print("ESCAPED")
        except OSError as error:
            print("held")
"""
_METADATA = """
import os
for action in (lambda: os.chmod("<<outside>>", 0o777), lambda: os.utime("<<outside>>", (1, 1)),
               lambda: os.truncate("<<outside>>", 0), lambda: os.chown("<<outside>>", os.getuid(), os.getgid()),
               lambda: os.setxattr("<<outside>>", "user.x", b"1"), lambda: os.rename("<<outside>>", "mine"),
               lambda: os.unlink("<<outside>>")):
    try:
        action()
        print("done")  # or seemingly: `boxed.py` looks at the file afterwards
    except OSError as error:
        print(type(error).__name__)
"""
_OTHERS = """
import os, resource
for name, action in (
    ("limit", lambda: resource.prlimit(<<server>>, resource.RLIMIT_NOFILE, (8, 8))),
    ("affinity", lambda: os.sched_setaffinity(<<server>>, {0})),
    ("priority", lambda: os.setpriority(os.PRIO_PROCESS, <<server>>, 19)),
):
    try:
        action()
        print("done", name)  # `boxed.py` looks whether it was the server
    except (OSError, ValueError) as error:
        print(type(error).__name__)
"""
_MEMORY_ALONE = """
taken = []
try:
    while True:
        taken.append(bytearray(20_000_000))
except MemoryError:
    size = len(taken) * 20
    taken = None
    print("MemoryError", "ESCAPED" if size > 1000 else "")
"""
_MEMORY_TOGETHER = """
import os, time
for _ in range(12):
    if os.fork() == 0:
        taken = bytearray(100_000_000)
        for place in range(0, len(taken), 4096):
            taken[place] = 1
        time.sleep(60)
        os._exit(0)
time.sleep(60)
print("ESCAPED")
"""
# Memory that no process shows as its own: pages that are shared and not mapped any more, files in memory, System V's.
_MEMORY_HIDDEN = """
import ctypes, errno, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
try:
    mmap.mmap(-1, 1 << 20)
    print("ESCAPED mmap")
except OSError as error:
    print(type(error).__name__)
try:
    os.memfd_create("x")
    print("ESCAPED memfd")
except OSError as error:
    print(type(error).__name__)
print("ESCAPED shm" if libc.shmget(0, 1 << 20, 0o1600) >= 0 else "PermissionError")
try:
    mmap.mmap(os.open("/dev/zero", os.O_RDWR), 1 << 20)
    print("ESCAPED zero")
except OSError as error:
    print("PermissionError")
"""
_SHARED_FILES_IN_MEMORY = """
import os
written, files = 0, []
try:
    for number in range(40):
        files.append(open(f"/dev/shm/{number}", "wb", buffering=0))
        while files[-1].tell() < 16_000_000:
            written += files[-1].write(bytes(1_000_000))
    print("ESCAPED", written)
except OSError as error:
    print("held", "ESCAPED" if written > 64_000_000 else "")
for number in range(len(files)):
    files[number].close()
    os.unlink(f"/dev/shm/{number}")
"""
_DISK_FILE = """
import os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open("large", "wb", buffering=0) as file:
        while file.tell() < 200_000_000:
            file.write(bytes(1_000_000))
    print("ESCAPED")
except OSError as error:
    print("held")
os.unlink("large")
"""
_DISK_FILES = """
import os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    for number in range(100):
        with open(f"part{number}", "wb", buffering=0) as file:
            for _ in range(10):
                file.write(bytes(1_000_000))
except OSError as error:
    print("held")
    raise SystemExit
import time
time.sleep(60)
print("ESCAPED")
"""
_DISK_DELETED = """
import os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
held = []
try:
    for number in range(100):
        held.append(os.open(f"part{number}", os.O_RDWR | os.O_CREAT))
        os.unlink(f"part{number}")
        for _ in range(10):
            os.write(held[-1], bytes(1_000_000))
except OSError as error:
    for handle in held:
        os.close(handle)
    print("held")
    raise SystemExit
import time
time.sleep(60)
print("ESCAPED")
"""
_DISK_MAPPED = """
import mmap, os, signal, time
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
held = []
try:
    for number in range(20):
        handle = os.open(f"part{number}", os.O_RDWR | os.O_CREAT)
        for _ in range(10):
            os.write(handle, bytes(1_000_000))
        held.append(mmap.mmap(handle, 10_000_000))
        os.unlink(f"part{number}")
        os.close(handle)
except OSError as error:
    held = None
    print("held")
    raise SystemExit
time.sleep(60)
print("ESCAPED")
"""
_DISK_UNLISTED = """
import os, time
os.mkdir("hidden", 0o300)
for number in range(20):
    with open(f"hidden/part{number}", "wb", buffering=0) as file:
        for _ in range(10):
            file.write(bytes(1_000_000))
time.sleep(60)
print("ESCAPED")
"""
_DISK_ENTRIES = """
import os, time
for number in range(4000):
    os.mkdir(f"folder{number}")
time.sleep(60)
print("ESCAPED")
"""
_DISK_DEEP = """
import os, time
for _ in range(3000):
    os.mkdir("in")
    os.chdir("in")
time.sleep(60)
print("ESCAPED")
"""
_HIDE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print("ESCAPED" if libc.prctl(4, 0, 0, 0, 0) == 0 else "held")
"""
_WATCH = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
handle = libc.inotify_init1(0)
print("ESCAPED" if handle >= 0 and libc.inotify_add_watch(handle, b"<<folder>>", 0xFFF) >= 0 else "held")
"""
_ENVIRONMENT = """
import os
print("ESCAPED" if "<<secret>>" in str(dict(os.environ)) else sorted(os.environ))
"""
_LISTING = """
import os
try:
    found = [*os.listdir("/"), *os.listdir("/etc"), *os.listdir("/usr"), *os.listdir("/tmp")]
    print("ESCAPED" if {"shadow", "ssh", "var", "home", "srv", "local", "src"} & set(found) else "little")
except OSError as error:
    print(type(error).__name__)
"""
_CODE_OF_OTHERS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
code = b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3"  # mov eax, 20 (getpid of 32 bits); int 0x80; ret
import mmap
page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
page.write(code)
import platform
if platform.machine() == "x86_64":
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    print("ESCAPED", call())
"""

_DOORS = """
import ctypes, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
column = platform.machine() != "x86_64"
for numbers in ((250, 219), (425, 425), (321, 280), (323, 282), (298, 241), (435, 435), (9999, 9999)):
    print(errno.errorcode[ctypes.get_errno()] if libc.syscall(numbers[column], 0, 0, 0, 0, 0) < 0 else "ESCAPED")
"""
_NAMESPACES = _calling(
    "unshare(0x10000000)",
    "unshare(0x40000000)",
    "mount(b'none', b'/tmp', b'tmpfs', 0, 0)",
    "setuid(0)",
    "chroot(b'/tmp')",
    "umount2(b'/proc', 2)",
    "syscall(56 if __import__('platform').machine() == 'x86_64' else 220, 0x10000011, 0, 0, 0, 0)",
)

ATTEMPTS = (
    Attempt("1 read the system's secrets", _opening("r", "/etc/shadow", "/etc/gshadow", "/root/.bashrc", "/etc/passwd-"),
            _only(f"(PermissionError|{_NOT_THERE})", 4)),
    Attempt("1b list folders", _LISTING, "little", "PermissionError"),
    Attempt("2 trace other processes", _calling(
        "ptrace(16, 1, 0, 0)", "ptrace(16, <<server>>, 0, 0)", "ptrace(0, 0, 0, 0)", "process_vm_readv(1, 0, 0, 0, 0, 0)",
        "process_vm_writev(<<server>>, 0, 0, 0, 0, 0)"), _only("EPERM", 5)),
    Attempt("3 connect to the server's port", _CONNECT.format(place="('127.0.0.1', <<port>>)"), "PermissionError"),
    Attempt("3b look up a name", "import socket\ntry:\n    print('ESCAPED', socket.getaddrinfo('example.com', 80))\n"
            "except OSError as error:\n    print('held')", "held"),
    Attempt("3c reach the cloud's metadata", _CONNECT.format(place="('169.254.169.254', 80)"), "PermissionError"),
    Attempt("3d sockets of other kinds", _SOCKETS, _only("PermissionError", 7)),
    Attempt("3e unix sockets", _LOCAL_SOCKETS, _only(f"({_NOT_THERE}|ConnectionRefusedError)", 4),
            _only("PermissionError", 4)),
    Attempt("4 fork without end", _FORK, "stopped 11", "stopped 11|more than 24 processes"),
    Attempt("5 memory of one process", _MEMORY_ALONE, "MemoryError"),
    Attempt("5b memory of many processes", _MEMORY_TOGETHER, "more than 400 MiB of memory"),
    Attempt("5c memory that is nobody's", _MEMORY_HIDDEN, _only("PermissionError", 4)),
    Attempt("5d files in memory", _SHARED_FILES_IN_MEMORY, "held"),
    Attempt("6 write outside", _opening("r+", "/usr/bin/env", "/etc/passwd", "/bin/sh", "<<outside>>", "<<python>>",
            "<<source>>", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger"),
            _only(f"(OSError|PermissionError|{_NOT_THERE})", 9)),
    Attempt("6a make files outside", _opening("x", "/x", "/usr/x", "/usr/lib/x", "/etc/x", "/sys/x", "/dev/x",
            "<<folder>>/x", "../../x"), _only(f"(OSError|PermissionError|{_NOT_THERE})", 8)),
    Attempt("6b write inside", "open('ok.txt', 'w').write('hi')\nprint(open('ok.txt').read())", "hi"),
    Attempt("6c one file that fills the disk", _DISK_FILE, "held"),
    Attempt("6d many files that fill the disk", _DISK_FILES, "held", "too much of the disk"),
    Attempt("6e deleted files that fill the disk", _DISK_DELETED, "held", "too much of the disk"),
    Attempt("6f deleted files, closed, that fill the disk", _DISK_MAPPED, "held", "too much of the disk"),
    Attempt("6g a folder that cannot be listed", _DISK_UNLISTED, "No space left", "too much of the disk"),
    Attempt("6h as many folders as there can be", _DISK_ENTRIES, "more than 2000 files", "too many files"),
    Attempt("6i folders in folders", _DISK_DEEP, "more than 2000 files", "too many (files|folders)"),
    Attempt("6j the mode, times, length and place of a file outside", _METADATA,
            _only(f"(PermissionError|OSError|{_NOT_THERE})", 7), _only("(done|PermissionError|OSError)", 7)),
    Attempt("7 the server's environment", _ENVIRONMENT, "'HOME'"),
    Attempt("7b the server's data and source", _opening("r", "<<outside>>", "<<source>>"), _only(_NOT_THERE, 2),
            _only("PermissionError", 2)),
    Attempt("8 look at processes", _PROCESSES, r"few.*nothing\nnothing\n(4|0)?", "PermissionError"),
    Attempt("8b the roots and memory of other processes", _ROOTS, _only("held", 7)),
    Attempt("8c what is mounted", _MOUNTS, "nothing", "PermissionError"),
    Attempt("8d handles of the server's", _HANDLES, "few"),
    Attempt("9 links", _LINKS, _only("held", 4)),
    Attempt("10 namespaces and mounts", _NAMESPACES, r"\A(EPERM\n){3}(EPERM|EINVAL)\n(EPERM\n){3}\Z"),
    Attempt("10a capabilities", _CAPABILITIES, "privileges: 1 filter: 2\nnone"),
    Attempt("10b devices", _opening("rb", "/dev/kvm", "/dev/vda", "/dev/sda", "/dev/mem", "/dev/tty", "/dev/fuse"),
            _only(f"(OSError|PermissionError|{_NOT_THERE})", 6)),
    Attempt("10c signal the server", _SIGNALS, r"\A((sent|ProcessLookupError)\n){6}\Z",
            _only("(PermissionError|ProcessLookupError)", 6)),
    Attempt("10d signal everything", _ALL_SIGNALS, "here"),
    Attempt("10e write into a terminal", _TERMINAL, _only("held", 6)),
    Attempt("10f the server's limits and priority", _OTHERS,
            _only("(done \\w+|PermissionError|ProcessLookupError|ValueError)", 3)),
    Attempt("11 keys, io_uring, bpf, userfaultfd, perf", _DOORS, r"\A(EPERM\n){5}(ENOSYS\n){2}\Z"),
    Attempt("11b calls of another architecture", _CODE_OF_OTHERS, "ended by signal 31|\\A\\Z"),
    Attempt("11c hide from the server", _HIDE, "held"),
    Attempt("11d watch what the server does", _WATCH, "held"),
    Attempt("12 compute without end", "while True:\n    pass", "longer than 1 seconds", seconds=1.0),
    Attempt("13 sleep for an hour", "import time\ntime.sleep(3600)", "longer than 1 seconds", seconds=1.0),
)  # fmt: skip
