# SPDX-License-Identifier: GPL-2.0-only

import threading
expected = sorted(numbers())
for attempt in range(3):
    open("/proc/sys/vm/drop_caches", "w").write("3")
    wrong = []
    def all_of_them(first):
        for number in expected[first:] + expected[:first]:
            if not decodes(number):
                wrong.append(number)
    threads = [threading.Thread(target=all_of_them, args=(n * 200,)) for n in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not wrong, wrong
