# SPDX-License-Identifier: GPL-2.0-only
# An image that changes all the time while it is looked at. Arguments: an image of the caller's own,
# its store, a directory of the caller's.

import random, time
image, stores = read_only(argument[1]), [read_only(argument[2])]
original = os.read(image, 1 << 24)
path = argument[3] + "/changing"
with open(path, "wb") as file:
    file.write(original)
pid = os.fork()
if pid == 0:
    random.seed(1)
    file = os.open(path, os.O_WRONLY)
    while True:
        at = random.randrange(len(original))
        os.pwrite(file, bytes([random.randrange(256)]), at)
        os.pwrite(file, original[at:at + 1], at)
try:
    changing, ours, counts = read_only(path), namespace(), {}
    for _ in range(40):
        result = ask(changing, stores, ours)
        if isinstance(result, int):
            os.close(result)
            time.sleep(0.02)
            result = "granted"
        name = result.split(":")[0]
        counts[name] = counts.get(name, 0) + 1
        assert name in ("granted", "InvalidImage", "LimitReached"), result
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(counts)
