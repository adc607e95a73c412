"""Kills a program as a broken machine would: with everything that it has started."""

import contextlib

import psutil


def kill_with_children(pid: int) -> None:
    """Kill a process and its children, which git's are in sessions of their own.

    They are held first, until there is none left that could start another one.
    """
    held: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        main = psutil.Process(pid)
        while new := [one for one in (main, *main.children(recursive=True)) if one not in held]:
            for process in new:
                held.append(process)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
    for process in held:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
