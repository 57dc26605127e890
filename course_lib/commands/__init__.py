"""The parts of the `course` command, a module each: what it takes (`add`), and what it does. Chapter 07.

Heavy libraries are imported when a command runs, so that asking what there is takes no time.
"""
