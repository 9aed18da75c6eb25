# SPDX-License-Identifier: GPL-2.0-only

slots = range(int(argument[0]) + 100)
cold = set(filter(decodes, slots))
expected = numbers()
assert cold == expected, (sorted(cold - expected)[:10], sorted(expected - cold)[:10])
warm = set(filter(decodes, slots))
assert warm == expected, (sorted(warm - expected)[:10], sorted(expected - warm)[:10])
for number in 1 << 31, 1 << 32, 1 << 32 | 36, 1 << 59 | 36, 1 << 63, (1 << 64) - 1:
    assert not decodes(number), number
print(len(slots), len(expected))
