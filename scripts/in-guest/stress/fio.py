# SPDX-License-Identifier: GPL-2.0-only
"""fio: content that it knows, read from composefs, and written on an overlay."""

import os

import guest
from guest import Outcome

# Every block of files has a header that says where it belongs, and a checksum.
KNOWN = ["--verify=crc32c", "--verify_interval=4k", "--verify_header_seed=0",
         "--verify_write_sequence=0", "--verify_fatal=1"]
# Files of two kinds; the job that reads or writes them has their name, and both run at once.
LARGE = ["--name=large", "--nrfiles=4", "--filesize=2m"]
SMALL = ["--name=small", "--nrfiles=64", "--filesize=4k", "--bs=4k"]
BOTH = [*LARGE, *SMALL]

# How files are read: what a job is called here, and its options. They are opened for reading alone.
READS = {
    "sync": "--ioengine=sync",
    "psync": "--ioengine=psync",
    "psync, O_DIRECT": "--ioengine=psync --direct=1",
    "pvsync2": "--ioengine=pvsync2",
    "mmap": "--ioengine=mmap",
    "posixaio": "--ioengine=posixaio --iodepth=4",
    "libaio": "--ioengine=libaio --iodepth=8",
    "libaio, O_DIRECT": "--ioengine=libaio --iodepth=8 --direct=1",
    "io_uring": "--ioengine=io_uring --iodepth=8",
    "io_uring, O_DIRECT": "--ioengine=io_uring --iodepth=8 --direct=1",
    "io_uring, fixed buffers and files":
        "--ioengine=io_uring --iodepth=8 --fixedbufs=1 --registerfiles=1",
    "io_uring, always by workers": "--ioengine=io_uring --iodepth=8 --force_async=1",
    "io_uring, a thread that polls": "--ioengine=io_uring --iodepth=4 --sqthread_poll=1",
}

# How files are written.
WRITES = {
    "psync": "--ioengine=psync",
    "psync, O_DIRECT": "--ioengine=psync --direct=1",
    "psync, O_SYNC": "--ioengine=psync --sync=1",
    "pvsync2": "--ioengine=pvsync2",
    "mmap": "--ioengine=mmap --fsync=16",
    "libaio": "--ioengine=libaio --iodepth=8",
    "libaio, O_DIRECT": "--ioengine=libaio --iodepth=8 --direct=1",
    "io_uring": "--ioengine=io_uring --iodepth=8 --fsync=16",
    "io_uring, O_DIRECT": "--ioengine=io_uring --iodepth=8 --direct=1",
}


def fio(directory, *options):
    """Runs fio on files of a directory."""
    outcome = guest.attempt(["fio", f"--directory={directory}", "--thread=1", "--randseed=1",
                             "--filename_format=$jobname.$filenum", "--fallocate=none",
                             *options], cwd="/run")
    if outcome.state == "passed" and not any("err= 0" in line for line in outcome.said):
        return Outcome("failed", "no job ran", outcome.said)
    # The first line that tells of an error is the cause of the rest.
    wrong = [line for line in outcome.said if "fio:" in line or "verify:" in line]
    return outcome._replace(why=f"{outcome.why}: {wrong[0]}") if wrong and outcome.why else outcome


def known_files(name, copy=None):
    """The layer with files of known content; and a copy of them, if that has a place."""
    tree = "/scratch/known"
    os.makedirs(tree)
    done = fio(tree, "--rw=write", "--bs=4k", "--do_verify=0", *KNOWN, *BOTH)
    if done.state != "passed":
        raise OSError(f"fio cannot write: {done.why}")
    if copy:
        guest.run("cp", "-a", tree, copy)
    return guest.Layer(name, tree)


def composefs():
    """Reads of all kinds, by one and by four jobs at a time, beside those of ext4."""
    plain = f"{guest.UPPER}/known"
    layer = known_files("read", plain)
    part = guest.Part(layer)

    def on(ours, *options):
        guest.drop_caches()
        return fio(layer.composefs if ours else plain, "--readonly", *KNOWN, *options)

    for how, options in READS.items():
        for order, size in (("read", "64k"), ("randread", "4k")):
            job = [f"--rw={order}", f"--bs={size}", *options.split(), *BOTH]
            part.beside(f"{how}: {order}, {size}", lambda ours, job=job: on(ours, *job))
    # Those that began first read what the others want.
    crowd = ["--rw=randread", "--bs=4k", "--numjobs=4", "--loops=2", "--size=8m"]
    for how in ("psync", "mmap", "libaio, O_DIRECT", "io_uring"):
        job = [*crowd, *READS[how].split(), *LARGE]
        part.beside(f"{how}: four at a time", lambda ours, job=job: on(ours, *job))
    guest.run("rm", "-rf", plain)
    return part.end()


def overlay():
    """Writes to files of the lower layer, and to new ones, each read again."""
    part = guest.Part(known_files("written"))

    def verified(merged):
        return fio(merged, "--readonly", *KNOWN, "--rw=read", "--bs=4k", *BOTH)

    def rewrites(merged, *job):
        """What a job makes of known files is known content again, or still."""
        done = fio(merged, *KNOWN, "--bs=4k", "--overwrite=1", *job, *BOTH)
        guest.drop_caches()
        return verified(merged) if done.state == "passed" else done

    part.on_overlay("nothing is written", verified)
    for how, options in WRITES.items():
        job = ["--rw=randwrite", *options.split()]
        part.on_overlay(f"{how}: all is written anew",
                        lambda merged, job=job: rewrites(merged, "--do_verify=1", *job))
        # What comes from the lower layer and what is new are both looked at.
        part.on_overlay(f"{how}: some is written anew",
                        lambda merged, job=job:
                        rewrites(merged, "--do_verify=0", "--number_ios=100", *job))
        job = ["--rw=randwrite", "--bs=4k", "--verify=sha256", "--verify_fatal=1", "--do_verify=1",
               *options.split(), "--name=new", "--nrfiles=8", "--filesize=1m"]
        part.on_overlay(f"{how}: new files, verified", lambda merged, job=job: fio(merged, *job))
    return part.end()
