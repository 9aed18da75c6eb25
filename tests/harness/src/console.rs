// SPDX-License-Identifier: GPL-2.0-only
//! Signs of a kernel bug in a guest's console log: what a healthy kernel never writes.

/// A sign is there if a line has all parts of one of these, in order.
const SIGNS: &[&[&str]] = &[
    // Oopses and the like.
    &["BUG: "],
    &["BUG at "],
    &["Oops: "],
    &["general protection fault"],
    &["double fault"],
    &["unable to handle "],
    &["Kernel panic"],
    &["panicked at "],
    &["stack guard page"],
    // WARN() says where; lockdep and RCU say what.
    &["WARNING: CPU: "],
    &["WARNING: ", ":", " at "],
    &["WARNING: ", ":", " in "],
    &["WARNING: possible"],
    &["WARNING: suspicious"],
    &["WARNING: inconsistent"],
    &["WARNING: bad unlock"],
    &["WARNING: held lock"],
    &["WARNING: lock held"],
    &["WARNING: Nested lock"],
    &["WARNING: kernel stack"],
    &["possible circular locking"],
    &["possible recursive locking"],
    &["inconsistent lock state"],
    &["suspicious RCU usage"],
    &["INFO: trying to register non-static key"],
    &["sleeping function called"],
    &["scheduling while atomic"],
    // Sanitizers and leaks.
    &["KASAN: "],
    &["KFENCE: "],
    &["KCSAN: "],
    &["UBSAN: "],
    &["kmemleak: ", " new suspected"],
    &["refcount_t: "],
    &["list_add corruption"],
    &["list_del corruption"],
    &["Bad page state"],
    &["VFS: Busy inodes after unmount"],
    &["Objects remaining in"],
    &["Slab cache still has objects"],
    &["cache_create", "failed"],
    // Hangs.
    &["INFO: rcu_"],
    &["rcu: ", "detected", " stall"],
    &["rcu: ", "kthread starved"],
    &["soft lockup"],
    &["hard LOCKUP"],
    &["blocked for more than ", " seconds"],
    // The guest is too small for what it runs.
    &["Out of memory: Killed"],
    &["page allocation failure"],
];

/// Written by healthy kernels.
const HARMLESS: &[&str] = &["Spectre V2", "WARNING: Unprivileged eBPF"];

/// How reports of races begin and end. Other file systems, and the VFS, have those that their
/// authors know of: what counts is where the driver is in one of the two stacks.
const RACE: &str = "KCSAN: ";
const END_OF_RACE: &str = "Reported by Kernel Concurrency Sanitizer";

/// Races of the VFS with itself, whoever calls it: `iget_locked` looks at the state of an inode that
/// another task evicts.
const RACES_OF_THE_VFS: &[&str] = &["evict / find_inode_fast", "find_inode_fast / evict"];

/// What the names of the driver's functions have in them.
const OF_THE_DRIVER: &[&str] = &["composefs", "rust_vfs_"];

/// The lines of a log with such signs, each after its number.
pub fn complaints(log: &str) -> Vec<String> {
    log.lines()
        .enumerate()
        .filter(|(nr, line)| {
            SIGNS.iter().any(|sign| has_in_order(line, sign))
                && !HARMLESS.iter().any(|harmless| line.contains(harmless))
                && !(line.contains(RACE) && is_of_others(log.lines().skip(*nr)))
        })
        .map(|(nr, line)| format!("{}:{line}", nr + 1))
        .collect()
}

/// Whether the driver has no part in the race that is reported in these lines.
fn is_of_others<'a>(mut report: impl Iterator<Item = &'a str>) -> bool {
    let has = |line: &str, names: &[&str]| names.iter().any(|name| line.contains(name));
    let is_known = report
        .next()
        .is_some_and(|line| has(line, RACES_OF_THE_VFS));
    let mut report = report.take_while(|line| !line.contains(END_OF_RACE));
    is_known || !report.any(|line| has(line, OF_THE_DRIVER))
}

fn has_in_order(line: &str, parts: &[&str]) -> bool {
    let mut rest = line;
    parts.iter().all(|part| match rest.split_once(part) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kernels_say_of_their_bugs_is_seen() {
        for line in [
            "[    1.0] BUG: unable to handle page fault for address: 0000",
            "[    1.0] kernel BUG at fs/inode.c:1!",
            "[    1.0] WARNING: CPU: 0 PID: 1 at fs/namei.c:2 f+0x1/0x2",
            "[    1.0] WARNING: fs/namei.c:2 at f+0x1/0x2, CPU#0: sh/1",
            "[    1.0] WARNING: possible circular locking dependency detected",
            "[    1.0] WARNING: lock held when returning to user space!",
            "[    1.0] Oops: Oops: 0000 [#1] SMP",
            "[    1.0] rust_kernel: panicked at core/src/x.rs:1:2:",
            "[    1.0] BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            "[    1.0] kmemleak: 3 new suspected memory leaks",
            "[    1.0] INFO: task sh:1 blocked for more than 120 seconds.",
            "[    1.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
            "[    1.0] VFS: Busy inodes after unmount of vdb (ext4)",
        ] {
            assert_eq!(complaints(line).len(), 1, "{line}");
        }
    }

    #[test]
    fn what_healthy_kernels_say_is_not() {
        for line in [
            "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
            "[    1.0] composefs: image: object ab/cd has the wrong digest",
            "[    1.0] EXT4-fs warning: maximal mount count reached",
            "WARNING: apt does not have a stable CLI interface.",
            "[    1.0] debug: BUGS are none",
        ] {
            assert!(complaints(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn lines_have_their_numbers() {
        assert_eq!(complaints("a\nBUG: b\n"), ["2:BUG: b"]);
    }

    #[test]
    fn races_count_if_the_driver_has_a_part() {
        let race = "list_add / list_del";
        let report = |race: &str, function: &str| {
            format!(
                "[1] BUG: KCSAN: data-race in {race}\n[1] write by task 7:\n\
                 [1]  list_add+0x1/0x2\n[1]  {function}+0x1/0x2\n\
                 [1] Reported by Kernel Concurrency Sanitizer on:\n"
            )
        };
        let log = report(race, "ext4_sync_fs") + &report(race, "rust_vfs_inode_free_link");
        assert_eq!(
            complaints(&log),
            ["6:[1] BUG: KCSAN: data-race in list_add / list_del"]
        );
        assert!(complaints(&report(race, "ext4_sync_fs")).is_empty());
        let of_the_vfs = report("evict / find_inode_fast", "rust_vfs_iget_locked");
        assert!(complaints(&of_the_vfs).is_empty());
    }
}
