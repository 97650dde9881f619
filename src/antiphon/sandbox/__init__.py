"""Where untrusted code runs. Nothing else in the tree starts untrusted code.

    boxes.py     finds a jail that holds, keeps spare boxes           ports.Sandbox
    box.py       one conversation's box: runs, limits, fresh starts   ports.Box
    process.py   a box's process: pipes, its end, signals
    watch.py     what its processes use together
    jails.py     the two jails as commands
    paths.py     what a box can read
    filters.py   seccomp programs
    compiled.py  Python's compiled files, which boxes cannot make
and inside, each a process of its own that has none of ours to import:
    reach.py     root on its way to the box's user
    confine.py   the jail without namespaces, and its warden
    driver.py    runs the code
"""
