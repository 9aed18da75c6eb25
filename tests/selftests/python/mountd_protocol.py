# SPDX-License-Identifier: GPL-2.0-only
# What is no call, or a strange one. Arguments: an image, its store.

image, stores, ours = read_only(argument[1]), [read_only(argument[2])], namespace()
SERVICE = "org.varlink.service."

def answer_to(said):
    connection = connect()
    try:
        say(connection, said)
        connection.shutdown(socket.SHUT_WR)
        reply, _ = hear(connection)
    except (BrokenPipeError, ConnectionResetError):
        return None
    return reply and reply.get("error")

# It may hang up on what is no call, but must not take it for one.
for said in (
    b"", b"\0", b"\0\0\0\0", b"{}\0", b"[]\0", b"null\0", b"0\0", b'"x"\0', b"{\0", b'{"method":\0',
    b'{"method":1}\0', b'{"method":"x","method":"y"}\0', b"\xff\xfe\0", b'{"method":"\xff"}\0',
    b"[" * 60000 + b"\0", b'{"a":' * 10000 + b"\0", b" " * 60000 + b"\0", b"x" * 100000, b"x" * 60000,
    b'{"method":"' + b"y" * 60000 + b'"}\0', b'{"method":"' + b"y" * 100000 + b'"}\0',
):
    error = answer_to(said)
    assert error is None or error.startswith(SERVICE) or error.endswith("LimitReached"), error

def error_of(method, parameters, fds=()):
    return request(method, parameters, fds)[0]["error"]

assert error_of("x", {}) == SERVICE + "MethodNotFound"
assert error_of(METHOD + "Unmount", {}) == SERVICE + "MethodNotFound"
assert error_of(METHOD + "MountImage", {}) == SERVICE + "InvalidParameter"
assert error_of(METHOD + "MountImage", {"options": "suid"}) == SERVICE + "InvalidParameter"
assert error_of(SERVICE + "GetInterfaceDescription", {"interface": "x"}) == SERVICE + "InterfaceNotFound"
refused(ask(image, stores, ours, options="suid,dev"), SERVICE + "InvalidParameter")
refused(ask(image, stores, ours, noExec="yes"), SERVICE + "InvalidParameter")

info = request(SERVICE + "GetInfo", {})[0]["parameters"]
assert info["interfaces"] == [SERVICE[:-1], METHOD[:-1]], info
description = request(SERVICE + "GetInterfaceDescription", {"interface": METHOD[:-1]})
assert "method MountImage(" in description[0]["parameters"]["description"]

# Questions may come before; a mount is the last thing.
connection = connect()
for _ in range(3):
    assert "parameters" in request(SERVICE + "GetInfo", {}, connection=connection)[0]
os.close(granted(ask(image, stores, ours, connection=connection)))
try:
    assert request(SERVICE + "GetInfo", {}, connection=connection)[0] is None
except (BrokenPipeError, ConnectionResetError):
    pass

# Byte by byte, with descriptors at the first of them.
connection = connect()
say(connection, PLAIN[:1], [image, *stores, ours])
for at in range(1, len(PLAIN)):
    connection.send(PLAIN[at:at + 1])
reply, fds = hear(connection)
assert len(fds) == 1, reply

# More descriptors than anybody needs.
connection = connect()
try:
    for _ in range(10):
        say(connection, b" ", [image] * 200)
    reply, fds = hear(connection)
    assert not fds and (reply is None or "error" in reply), reply
except OSError as error:
    assert error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ETOOMANYREFS), error
