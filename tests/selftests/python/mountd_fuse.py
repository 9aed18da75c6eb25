# SPDX-License-Identifier: GPL-2.0-only
# A file system that never answers who reads, until stdin ends. Run by root, as by fusermount3 where
# users may let others in. Arguments: where to mount it.

import threading
target = argument[1]
INIT, LOOKUP, GETATTR, OPEN, READ = 26, 1, 3, 14, 15
NO_ANSWER = 2, 36, 42 # FORGET, INTERRUPT, BATCH_FORGET

def attributes(node):
    mode, size = (0o40755, 0) if node == 1 else (0o100644, 1 << 16)
    return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

def serve(device):
    while True:
        try:
            message = os.read(device, 1 << 20)
        except OSError as error:
            assert error.errno in (errno.ENODEV, errno.ECONNABORTED), error
            return
        length, opcode, unique, node = struct.unpack_from("<IIQQ", message)
        error, answer = 0, b""
        if opcode == INIT:
            answer = struct.pack("<4I2HI", 7, 31, 0, 0, 12, 9, 4096)
        elif opcode == LOOKUP:
            answer = struct.pack("<5Q", 2, 0, 1, 1, 0) + attributes(2)
        elif opcode == GETATTR:
            answer = struct.pack("<QII", 1, 0, 0) + attributes(node)
        elif opcode == OPEN:
            answer = struct.pack("<QII", 1, 0, 0)
        elif opcode == READ:
            os.write(1, b"read\n")
            continue
        elif opcode in NO_ANSWER:
            continue
        else:
            error = -errno.ENOSYS
        os.write(device, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)

device = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=1000,group_id=1000,allow_other" % device
call("mount", b"hanging", os.fsencode(target), b"fuse", 0, options)
server = threading.Thread(target=serve, args=(device,), daemon=True)
server.start()
print("mounted", flush=True)
sys.stdin.readline()
# Whoever waits for an answer gets an error now, even who could not be killed.
call("umount2", os.fsencode(target), 1)
# An interpreter that ends while a thread has something to say aborts.
server.join()
