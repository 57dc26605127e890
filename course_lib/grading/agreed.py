"""What both sides have agreed on: the one that asks, and the one in which the learner's code runs."""

ANSWER = "application/vnd.vit-course.answer+json"  # the type under which the kernel sends what it was asked for

CERTIFICATE = "certificate of the course on the Vision Transformer"  # what such a file says that it is

# What keeps a kernel from doing harm, and what is told where it does not hold.
PROTECTIONS = {
    "memory": "no limit of memory",
    "file size": "no limit for the size of a file",
    "core": "no limit for core files",
    "processes": "no limit of processes by the system: they are counted from outside",
    "network": "the network is open",
    "read-only": "files outside of the working folder can be changed",
    "own processes": "a process that leaves its group is looked for from outside",
}
