# SPDX-License-Identifier: GPL-2.0-only
# Calls with an image on a file system that never answers, all that the user may have but one; then
# there is still room for this one. Arguments: that image, another, its store.

hanging, image, store = argument[1:]
image, stores, ours = read_only(image), [read_only(store)], namespace()
waiting = [connect() for _ in range(2)]
for connection in waiting:
    say(connection, PLAIN, [read_only(hanging), *stores, ours])
os.close(granted(ask(image, stores, ours)))
print("hangs", flush=True)
sys.stdin.readline()
# Whatever was said to these, nothing was granted.
for connection in waiting:
    connection.settimeout(120)
    try:
        reply, fds = hear(connection)
        assert not fds and (reply is None or "error" in reply), reply
    except ConnectionResetError:
        pass
os.close(granted(ask(image, stores, ours)))
