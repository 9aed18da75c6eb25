# SPDX-License-Identifier: GPL-2.0-only
# As many mounts at the same time as the limit allows, and not one more. Arguments: an image, its
# store, how many.

import resource, time
image, stores, ours = read_only(argument[1]), [read_only(argument[2])], namespace()
count = int(argument[3])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
assert most > count + 50, most
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

mounts = [granted(ask(image, stores, ours)) for _ in range(count)]
for mount in mounts[0], mounts[-1]:
    os.close(os.open("mine", os.O_RDONLY, dir_fd=mount))
refused(ask(image, stores, ours), "LimitReached", "mounts")
print("many", flush=True)
sys.stdin.readline()
for mount in mounts:
    os.close(mount)
# All of them are forgotten.
for _ in range(3000):
    result = ask(image, stores, ours)
    if isinstance(result, int):
        break
    time.sleep(0.02)
os.close(granted(result))
