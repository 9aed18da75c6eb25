# SPDX-License-Identifier: GPL-2.0-only
# Uprobes on a program by its path, before anyone has opened it. Behind python.rs's prelude.
#
# argument: "tracefs", "perf" or "missing", the program, and a copy of it to look into.
import subprocess

what, program, copy = argument
TRACING = "/sys/kernel/tracing/"


def entry():
    """Where in the file its first instruction is."""
    with open(copy, "rb") as file:
        elf = file.read()
    start, headers = struct.unpack_from("QQ", elf, 24)
    for index in range(struct.unpack_from("H", elf, 56)[0]):
        kind, _, offset, address, _, _, size, _ = struct.unpack_from(
            "IIQQQQQQ", elf, headers + 56 * index)
        if kind == 1 and address <= start < address + size:
            return start - address + offset
    raise AssertionError("no entry point")


def write(name, text):
    fd = os.open(TRACING + name, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


if not os.path.exists(TRACING + "uprobe_events"):
    call("mount", b"tracefs", TRACING.encode(), b"tracefs", ctypes.c_ulong(0), None)
if what == "perf":
    # One event for each CPU, of all processes.
    kind = int(open("/sys/bus/event_source/devices/uprobe/type").read())
    path = ctypes.create_string_buffer(program.encode())
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into("IIQ", attributes, 0, kind, 128, 0)
    struct.pack_into("QQ", attributes, 56, ctypes.addressof(path), entry())
    events = [call("syscall", ctypes.c_long(298), attributes, -1, cpu, -1, ctypes.c_ulong(0))
              for cpu in range(os.cpu_count())]
    subprocess.run([program], check=True)
    hits = sum(struct.unpack("Q", os.read(event, 8))[0] for event in events)
    assert hits == 1, hits
else:
    write("uprobe_events", "p:composefs_test %s:%#x" % (program, entry()))
    try:
        if what == "missing":
            fails(errno.EIO, write, "events/uprobes/composefs_test/enable", "1")
        else:
            write("events/uprobes/composefs_test/enable", "1")
            subprocess.run([program], check=True)
            write("events/uprobes/composefs_test/enable", "0")
            hits = [line for line in open(TRACING + "trace") if "composefs_test" in line]
            assert len(hits) == 1, hits
    finally:
        write("uprobe_events", "-:composefs_test")
