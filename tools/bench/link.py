# SPDX-License-Identifier: GPL-2.0-only
"""A link between two network namespaces, slow and long: over two TUN devices, or by the kernel.

The former does what `tc netem` does, which many kernels are built without.
"""

import collections
import contextlib
import ctypes
import fcntl
import json
import multiprocessing
import os
import selectors
import struct
import subprocess
import time

# The ends, by the names of their namespaces.
SERVER, CLIENT = "server", "client"
ADDRESSES = {SERVER: "192.0.2.1", CLIENT: "192.0.2.2"}
DEVICE = "link"
# What both benchmarks over a link have.
BITS_PER_SECOND = 100_000_000
ROUND_TRIP = 0.020
PACKET_MAX = 1500
# Bytes that wait at each end before packets are lost, as in a router: 80 ms of 100 Mbit/s.
QUEUE_MAX = 1 << 20

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
PR_SET_PDEATHSIG, SIGKILL = 1, 9


def at(end, command):
    """What runs a command at one end."""
    # Not `ip netns exec`, which wants the root to be a mount point.
    return ["nsenter", f"--net=/run/netns/{end}", *command]


def ip(end, *words):
    return subprocess.run(at(end, ["ip", *words]), check=True, stdout=subprocess.PIPE, text=True).stdout


def open_device(end):
    """Makes the device of one end; what goes into it is read from the descriptor."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{end}", os.O_RDONLY)
    os.setns(inside, os.CLONE_NEWNET)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    os.setns(before, os.CLONE_NEWNET)
    os.close(inside)
    os.close(before)
    return device


class Way:
    """One of both directions: packets leave at the rate, and arrive after the delay."""

    def __init__(self, to, bytes_per_second, delay):
        self.to = to
        self.bytes_per_second = bytes_per_second
        self.delay = delay
        # When all that was sent has left, and what is on its way.
        self.free = 0.0
        self.packets = collections.deque()

    def send(self, packet, now):
        self.free = max(self.free, now)
        if (self.free - now) * self.bytes_per_second > QUEUE_MAX:
            return
        self.free += len(packet) / self.bytes_per_second
        self.packets.append((self.free + self.delay, packet))

    def arrive(self, now):
        """Hands over what has arrived; in how many seconds the next will."""
        while self.packets and self.packets[0][0] <= now:
            with contextlib.suppress(BlockingIOError):
                os.write(self.to, self.packets.popleft()[1])
        return self.packets[0][0] - now if self.packets else None


def carry(devices, bytes_per_second, delay):
    """Carries packets between both devices, as long as the parent lives."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    one, other = devices
    ways = {one: Way(other, bytes_per_second, delay), other: Way(one, bytes_per_second, delay)}
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device, selectors.EVENT_READ)
        wait = None
        while True:
            ready = selector.select(wait)
            now = time.monotonic()
            for key, _ in ready:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        ways[key.fd].send(os.read(key.fd, PACKET_MAX), now)
            waits = [left for way in ways.values() if (left := way.arrive(time.monotonic())) is not None]
            wait = max(min(waits), 0) if waits else None


class Link:
    """There while it is a context."""

    def __init__(self, bits_per_second, round_trip):
        """`round_trip` is in seconds: half of it each way."""
        self.shape = (bits_per_second / 8, round_trip / 2)
        self.devices, self.carrier = [], None

    def __enter__(self):
        for end in ADDRESSES:
            subprocess.run(["ip", "netns", "add", end], check=True)
        self.make()
        for end, address in ADDRESSES.items():
            ip(end, "link", "set", "lo", "up")
            peer = ADDRESSES[CLIENT if end == SERVER else SERVER]
            ip(end, "address", "add", address, "peer", peer, "dev", DEVICE)
            ip(end, "link", "set", "dev", DEVICE, "mtu", str(PACKET_MAX), "txqueuelen", "1000", "up")
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        for end in ADDRESSES:
            subprocess.run(["ip", "netns", "delete", end], check=True)

    def make(self):
        """Makes the devices."""
        self.devices = [open_device(end) for end in ADDRESSES]

    def start(self):
        """Lets packets through, when the devices are up."""
        fork = multiprocessing.get_context("fork")
        self.carrier = fork.Process(target=carry, args=(self.devices, *self.shape), daemon=True)
        self.carrier.start()
        for device in self.devices:
            os.close(device)

    def stop(self):
        self.carrier.kill()
        self.carrier.join()

    @staticmethod
    def received():
        """Bytes of the packets that the client has got."""
        (device,) = json.loads(ip(CLIENT, "-json", "-stats", "link", "show", "dev", DEVICE))
        return device["stats64"]["rx"]["bytes"]


class KernelLink(Link):
    """One by `tc netem`."""

    def make(self):
        ends = [["name", DEVICE, "netns", end] for end in ADDRESSES]
        subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True)

    def start(self):
        bytes_per_second, delay = self.shape
        waiting = int(QUEUE_MAX + bytes_per_second * delay) // PACKET_MAX
        shape = ["delay", f"{delay * 1000:g}ms", "rate", f"{bytes_per_second * 8:.0f}bit", "limit", str(waiting)]
        for end in ADDRESSES:
            subprocess.run(at(end, ["tc", "qdisc", "add", "dev", DEVICE, "root", "netem", *shape]), check=True)

    def stop(self):
        """Its devices go with the namespaces."""
