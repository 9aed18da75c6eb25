# SPDX-License-Identifier: GPL-2.0-only
# Uprobes on a program by its path, before anyone has opened it. Behind python.rs's prelude and
# tracefs.py.
#
# argument: "tracefs", "perf" or "missing", the program, and a copy of it to look into.
import subprocess

what, program, copy = argument


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


if what == "perf":
    # One event for each CPU, of all processes.
    kind = int(open("/sys/bus/event_source/devices/uprobe/type").read())
    path = ctypes.create_string_buffer(program.encode())
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into("IIQ", attributes, 0, kind, 128, 0)
    struct.pack_into("QQ", attributes, 56, ctypes.addressof(path), entry())
    events = [call("syscall", ctypes.c_long(PERF_EVENT_OPEN), attributes, -1, cpu, -1, ctypes.c_ulong(0))
              for cpu in range(os.cpu_count())]
    subprocess.run([program], check=True)
    hits = sum(struct.unpack("Q", os.read(event, 8))[0] for event in events)
    assert hits == 1, hits
else:
    with Event("uprobes", "p:%%s %s:%#x" % (program, entry())) as event:
        if what == "missing":
            fails(errno.EIO, event.enable)
        else:
            event.enable()
            subprocess.run([program], check=True)
            hits = event.hits()
            assert len(hits) == 1, hits
