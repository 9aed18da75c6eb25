# SPDX-License-Identifier: GPL-2.0-only
# Limits, which are 5 mounts and 3 calls of a user. Arguments: an image, its store.

import time
image, stores, ours = read_only(argument[1]), [read_only(argument[2])], namespace()

def patiently(wanted):
    for _ in range(500):
        result = ask(image, stores, ours)
        if wanted(result):
            return result
        time.sleep(0.02)
    raise AssertionError(result)

# Mounts count as long as they are there, whatever they are kept by.
mounts = [granted(ask(image, stores, ours)) for _ in range(5)]
refused(ask(image, stores, ours), "LimitReached", "mounts")
refused(ask(image, stores, ours), "LimitReached", "mounts")
os.close(mounts.pop())
mounts.append(patiently(lambda result: isinstance(result, int)))
refused(ask(image, stores, ours), "LimitReached", "mounts")
# What is open in one keeps it.
kept = os.open(".", os.O_RDONLY, dir_fd=mounts[0])
for mount in mounts:
    os.close(mount)
four = [patiently(lambda result: isinstance(result, int)) for _ in range(4)]
refused(ask(image, stores, ours), "LimitReached", "mounts")
os.close(kept)
for mount in four:
    os.close(mount)

# Many more than that in turns.
for _ in range(60):
    os.close(patiently(lambda result: isinstance(result, int)))

# A flood of calls: what is too much is said to be, and nothing is left of it.
many, said = {connect() for _ in range(40)}, []
for _ in range(600):
    for connection in list(many):
        connection.setblocking(False)
        try:
            said.append(hear(connection)[0]["error"])
            many.remove(connection)
        except BlockingIOError:
            pass
    if len(said) == 37:
        break
    time.sleep(0.1)
assert len(said) == 37 and all(name.endswith("LimitReached") for name in said), len(said)
for connection in many:
    connection.close()
os.close(patiently(lambda result: isinstance(result, int)))

# Callers that go before they have an answer.
for _ in range(60):
    connection = connect()
    try:
        say(connection, PLAIN, [image, *stores, ours])
    except (BrokenPipeError, ConnectionResetError):
        pass
    connection.close()
mounts = [patiently(lambda result: isinstance(result, int)) for _ in range(5)]
