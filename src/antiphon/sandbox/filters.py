"""Seccomp filters, as the kernel's own little programs, assembled here so that no native library is needed.

Both jails deny what reaches into the kernel or into other processes, and what would take memory that no limit counts.
The jail without namespaces (`landlock`) denies more: there the server's other processes share the system with the box.
Numbers are those of <asm/unistd.h>; `struct sock_filter` and `struct seccomp_data` are in <linux/filter.h> and
<linux/seccomp.h>. Knows nothing of how a filter is put in force.
"""

from __future__ import annotations

import errno
import platform
import struct

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
# What a kernel newer than this list brings is not there for the box: 6.17 ends with file_setattr, 469.
_FIRST_UNKNOWN = 470

# name: number on x86_64, number on aarch64 (None: it does not exist there)
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "move_mount": (429, 429), "open_tree": (428, 428), "open_tree_attr": (467, 467),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    # wide doors into the kernel
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "acct": (163, 89), "swapon": (167, 224), "swapoff": (168, 225),
    "reboot": (169, 142), "syslog": (103, 116), "personality": (135, 92), "lookup_dcookie": (212, 18),
    "vhangup": (153, 58), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "fanotify_init": (300, 262), "remap_file_pages": (216, 234),
    # memory that belongs to no process, and so to none that could be measured and killed
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip

# Only without namespaces: what works on any process of the same user, and what tells of files outside.
_DENIED_BESIDE: dict[str, tuple[int | None, int | None]] = {
    "sched_setaffinity": (203, 122), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "setpriority": (141, 140), "ioprio_set": (251, 30), "inotify_init": (253, None),
    "inotify_init1": (294, 26), "socket": (41, 198),
}  # fmt: skip

# Landlock does not cover a file's metadata: the call seems to succeed and changes nothing, as programs expect of it.
_FAKED: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "removexattrat": (466, 466), "file_setattr": (469, 469),
}  # fmt: skip

# Before Landlock's ABI 6 (Linux 6.12) it lets signals out, and before ABI 3 (6.2) it lets truncate() through.
_SIGNALS: dict[str, tuple[int | None, int | None]] = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
}  # fmt: skip
_TRUNCATE: dict[str, tuple[int | None, int | None]] = {"truncate": (76, 45)}

# Only for what has its program and all else that it needs already.
_STARTING: dict[str, tuple[int | None, int | None]] = {
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "sendto": (44, 206), "sendmsg": (46, 211),
}  # fmt: skip

_CLONE, _CLONE3, _SOCKET, _MMAP, _IOCTL, _PRCTL, _PRLIMIT, _FCNTL = (
    (56, 220), (435, 435), (41, 198), (9, 222), (16, 29), (157, 167), (302, 261), (72, 25),
)  # fmt: skip
_THREAD = 0x10000  # CLONE_THREAD
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW*
_SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS
_AF_UNIX = 1
_SET_DUMPABLE = 4  # it would hide the box's memory and files from a server that is not root
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOASYNC, FIOCLEX, FIONCLEX: what isatty, terminals' sizes and pipes need.
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5452, 0x5451, 0x5450)
_SET_OWNERS = (8, 15)  # F_SETOWN, F_SETOWN_EX: signals by way of a file


class Filter:
    """A program that is put together rule by rule; the first rule that fits a call decides it."""

    def __init__(self) -> None:
        machine = platform.machine()
        if machine not in ("x86_64", "aarch64"):
            raise NotImplementedError(f"There is no list of system calls for {machine}.")
        self._column = 0 if machine == "x86_64" else 1
        self._code: list[tuple[int, int, int, int]] = []
        self._add(_LOAD, _ARCHITECTURE)
        self._add(_EQUAL, (0xC000003E, 0xC00000B7)[self._column], yes=1)
        self._add(_RETURN, _KILL)  # another architecture's calls have other numbers
        self._add(_LOAD, _NUMBER)
        if self._column == 0:
            self._add(_AT_LEAST, _X32, no=1)
            self._add(_RETURN, _ERRNO | errno.ENOSYS)
        self._add(_AT_LEAST, _FIRST_UNKNOWN, no=1)
        self._add(_RETURN, _ERRNO | errno.ENOSYS)

    def _add(self, code: int, value: int, yes: int = 0, no: int = 0) -> None:
        self._code.append((code, yes, no, value))

    def refuse(self, calls: dict[str, tuple[int | None, int | None]], error: int = errno.EPERM) -> None:
        """These calls always end in `error`; 0 is success."""
        for numbers in calls.values():
            if (number := numbers[self._column]) is not None:
                self._add(_EQUAL, number, no=1)
                self._add(_RETURN, _ERRNO | error)

    def _when(
        self, call: tuple[int, int], argument: int, tests: list[tuple[int, int]], verdicts: tuple[int, int]
    ) -> None:
        """For this call: `verdicts[0]` where one of `tests` (code, value) holds for its argument, else `verdicts[1]`."""
        body: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
        for code, value in tests:
            body += [(code, 0, 1, value), (_RETURN, 0, 0, verdicts[0])]
        body.append((_RETURN, 0, 0, verdicts[1]))
        self._add(_EQUAL, call[self._column], no=len(body))
        self._code += body

    def refuse_if(self, call: tuple[int, int], argument: int, values: tuple[int, ...]) -> None:
        """EPERM where the argument is one of `values`."""
        self._when(call, argument, [(_EQUAL, value) for value in values], (_ERRNO | errno.EPERM, _ALLOW))

    def refuse_bits(self, call: tuple[int, int], argument: int, bits: int) -> None:
        """EPERM where the argument has any of `bits`."""
        self._when(call, argument, [(_ANY_BIT, bits)], (_ERRNO | errno.EPERM, _ALLOW))

    def refuse_unless(self, call: tuple[int, int], argument: int, values: tuple[int, ...]) -> None:
        """EPERM where the argument is none of `values`."""
        self._when(call, argument, [(_EQUAL, value) for value in values], (_ALLOW, _ERRNO | errno.EPERM))

    def refuse_all_bits(self, call: tuple[int, int], argument: int, bits: int) -> None:
        """EPERM where the argument has all of `bits`."""
        self._add(_EQUAL, call[self._column], no=5)
        self._add(_LOAD, _ARGUMENTS + 8 * argument)
        self._add(_AND, bits)
        self._add(_EQUAL, bits, no=1)
        self._add(_RETURN, _ERRNO | errno.EPERM)
        self._add(_RETURN, _ALLOW)

    def refuse_without(self, call: tuple[int, int], argument: int, bits: int, among: int) -> None:
        """EPERM unless, of the bits `among`, the argument has just `bits`."""
        self._add(_EQUAL, call[self._column], no=5)
        self._add(_LOAD, _ARGUMENTS + 8 * argument)
        self._add(_AND, among)
        self._add(_EQUAL, bits, yes=1)
        self._add(_RETURN, _ERRNO | errno.EPERM)
        self._add(_RETURN, _ALLOW)

    def program(self) -> bytes:
        """An array of `struct sock_filter`."""
        return b"".join(struct.pack("=HBBI", *line) for line in [*self._code, (_RETURN, 0, 0, _ALLOW)])


def _common(made: Filter) -> None:
    made.refuse(_DENIED)
    made.refuse({"clone3": _CLONE3}, errno.ENOSYS)  # its flags are behind a pointer; the C library falls back to clone
    made.refuse_bits(_CLONE, 0, _NEW_NAMESPACES)
    made.refuse_all_bits(_MMAP, 3, _SHARED_ANONYMOUS)
    made.refuse_unless(_IOCTL, 1, _IOCTLS)
    made.refuse_if(_PRCTL, 0, (_SET_DUMPABLE,))


def namespaced() -> bytes:
    """For a box with namespaces of its own, the network's among them: sockets are local ones."""
    made = Filter()
    _common(made)
    made.refuse_unless(_SOCKET, 0, (_AF_UNIX,))
    return made.program()


def beside(landlock: int) -> bytes:
    """For a box among the system's other processes, under a Landlock of that ABI: no sockets but pairs."""
    made = Filter()
    _beside(made, landlock)
    return made.program()


def _beside(made: Filter, landlock: int) -> None:
    _common(made)
    made.refuse(_DENIED_BESIDE)
    made.refuse(_FAKED, 0)
    made.refuse_unless(_PRLIMIT, 0, (0,))  # the limits of other processes of the same user
    if landlock < 3:
        made.refuse(_TRUNCATE)
    if landlock < 6:
        made.refuse(_SIGNALS)
        made.refuse_if(_FCNTL, 1, _SET_OWNERS)


def parsing(landlock: int) -> bytes:
    """For a process that reads what came from outside, of itself alone: `beside`, and no program, process or socket more.

    Threads it may start: some decoders do nothing without.
    """
    made = Filter()
    made.refuse(_STARTING)
    made.refuse_without(_CLONE, 0, _THREAD, _THREAD | _NEW_NAMESPACES)
    _beside(made, landlock)
    return made.program()
