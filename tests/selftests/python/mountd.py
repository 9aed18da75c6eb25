# SPDX-License-Identifier: GPL-2.0-only
# A caller of composefs-mountd, in as few words as the protocol has. argument[0] is the socket.

import json, signal, socket

METHOD = "org.composefs.MountFileSystem."

def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(argument[0])
    return connection

def say(connection, message, fds=()):
    socket.send_fds(connection, [message], fds)

# What comes back, and the descriptors with it; None if nothing does.
def hear(connection):
    said, fds = b"", []
    while not said.endswith(b"\0"):
        part, more, _, _ = socket.recv_fds(connection, 1 << 16, 8)
        fds += more
        if not part:
            return None, fds
        said += part
    return json.loads(said[:-1]), fds

def message(method, parameters):
    return json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"

# Asks for a mount of an image with one store in a namespace, which are sent along in that order.
PLAIN = message(METHOD + "MountImage", {
    "imageFileDescriptor": 0, "basedirFileDescriptors": [1], "userNamespaceFileDescriptor": 2,
})

def request(method, parameters, fds=(), connection=None):
    connection = connection or connect()
    try:
        say(connection, message(method, parameters), fds)
    except BrokenPipeError:
        # It may have answered before.
        pass
    try:
        return hear(connection)
    except ConnectionResetError:
        return None, []

# Asks for a mount: the number of it, or the name of the error and the reason.
def ask(image, basedirs, namespace, signature=None, connection=None, **more):
    fds = [image, *basedirs, namespace]
    parameters = {
        "imageFileDescriptor": 0,
        "basedirFileDescriptors": list(range(1, len(basedirs) + 1)),
        "userNamespaceFileDescriptor": len(basedirs) + 1,
        **more,
    }
    if signature is not None:
        parameters["signatureFileDescriptor"] = len(fds)
        fds.append(signature)
    reply, received = request(METHOD + "MountImage", parameters, fds, connection)
    if reply is None:
        return "closed"
    if "error" in reply:
        return reply["error"].replace(METHOD, "") + ": " + " ".join(reply["parameters"].values())
    assert reply == {"parameters": {"mountFileDescriptor": 0}} and len(received) == 1, reply
    return received[0]

def granted(mount):
    assert isinstance(mount, int), mount
    return mount

def refused(result, name, word=""):
    assert isinstance(result, str) and result.startswith(name) and word in result, result

def read_only(path, flags=0):
    return os.open(path, os.O_RDONLY | flags)

def write_maps(pid, uid, gid):
    for name, text in ("setgroups", "deny"), ("uid_map", uid), ("gid_map", gid):
        with open("/proc/%s/%s" % (pid, name), "w") as file:
            file.write(text)

def one(number):
    return "0 %d 1" % number

# A user namespace of this user's, with nobody in it.
def namespace(maps=True):
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.unshare(os.CLONE_NEWUSER)
        os.write(ready[1], b"r")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    if maps:
        write_maps(pid, one(os.getuid()), one(os.getgid()))
    fd = read_only("/proc/%d/ns/user" % pid)
    os.write(go[1], b"g")
    os.waitpid(pid, 0)
    return fd

# This process is root in a user namespace of its own from here on, with mounts of its own.
def become_root():
    uid, gid = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    write_maps("self", one(uid), one(gid))
    return read_only("/proc/self/ns/user")

MOVE_MOUNT, EMPTY_PATH, HERE = 429, 4, -100
MOUNT_SETATTR, AT_EMPTY_PATH = 442, 0x1000
RDONLY, NOSUID, NODEV = 1, 2, 4

def attach(mount, target):
    call("syscall", MOVE_MOUNT, mount, b"", HERE, os.fsencode(target), EMPTY_PATH)

# Takes flags of a mount away.
def clear(mount, flags):
    attributes = struct.pack("4Q", 0, flags, 0, 0)
    call("syscall", MOUNT_SETATTR, mount, b"", AT_EMPTY_PATH, attributes, len(attributes))
