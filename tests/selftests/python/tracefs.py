# SPDX-License-Identifier: GPL-2.0-only
# Trace events that a test defines. Behind python.rs's prelude.
TRACING = "/sys/kernel/tracing/"


class Event:
    """An event that is defined as long as the block runs."""

    def __init__(self, group, definition):
        self.group, self.definition = group, definition

    def write(self, name, text):
        fd = os.open(TRACING + name, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def __enter__(self):
        if not os.path.exists(TRACING + "trace"):
            call("mount", b"tracefs", TRACING.encode(), b"tracefs", ctypes.c_ulong(0), None)
        self.write(self.group[:-1] + "_events", self.definition % "composefs_test")
        directory = TRACING + "events/" + self.group + "/composefs_test/"
        self.switch = os.open(directory + "enable", os.O_WRONLY)
        return self

    def __exit__(self, *_):
        self.enable("0")
        os.close(self.switch)
        self.write(self.group[:-1] + "_events", "-:composefs_test")

    def enable(self, text="1"):
        os.write(self.switch, text.encode())

    def hits(self):
        """Those of this process and what it has run, since the event is defined."""
        self.enable("0")
        with open(TRACING + "trace") as trace:
            return [line for line in trace if "composefs_test" in line]
