// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Damaged images: whatever is wrong, every call returns, and soon.

use std::collections::{BTreeMap, BTreeSet};

use composefs_format::Image;

use crate::support::{exercise, exercise_all, file, open, Memory, IMAGES};

/// Numbers that look random and are the same every time (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Opens and uses an image, if it can be opened. Returns whether it was found to be damaged.
fn is_noticed(bytes: Vec<u8>) -> bool {
    match open(bytes) {
        Ok(image) => exercise_all(&image, &[image.root()], &mut BTreeSet::new()) > 0,
        Err(_) => true,
    }
}

#[test]
fn good_images_have_no_fault() {
    for (name, _) in IMAGES {
        assert!(!is_noticed(file(name)), "{name}");
    }
}

/// Every inode that can be reached, with the blocks that using it needs, one bit each.
fn blocks_of_inodes(image: &Image<Memory>) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    let mut queue = vec![image.root()];
    while let Some(nid) = queue.pop() {
        found.entry(nid).or_insert_with(|| {
            image.source().touched.set(0);
            queue.extend(exercise(image, nid).1);
            image.source().touched.get()
        });
    }
    found
}

/// Changes every byte of an image in turn, and uses what that can have changed.
fn damage_every_byte(name: &str) {
    let good = file(name);
    let inodes = blocks_of_inodes(&open(good.clone()).unwrap());
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut noticed = 0;
    for block in 0..good.len() / 4096 {
        // What does not need the block is as it was, so only the rest is used, and what that newly leads to.
        let (changed, same): (BTreeMap<_, _>, BTreeMap<_, _>) = inodes
            .iter()
            .partition(|(_, blocks)| **blocks & (1 << block) != 0);
        let changed: Vec<u64> = changed.into_keys().copied().collect();
        let same: BTreeSet<u64> = same.into_keys().copied().collect();
        for at in block * 4096..(block + 1) * 4096 {
            let mut bad = good.clone();
            bad[at] ^= 1 + random.below(255) as u8;
            noticed += match open(bad) {
                Ok(image) => usize::from(exercise_all(&image, &changed, &mut same.clone()) > 0),
                Err(_) => 1,
            };
        }
    }
    assert!(noticed > good.len() / 50, "{name}: {noticed}");
}

#[test]
fn every_byte_may_be_wrong() {
    std::thread::scope(|scope| {
        for (name, _) in IMAGES {
            scope.spawn(|| damage_every_byte(name));
        }
    });
}

#[test]
fn much_may_be_wrong() {
    let extremes = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    for (seed, (name, _)) in IMAGES.iter().enumerate() {
        let good = file(name);
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + seed as u64);
        for _ in 0..1000 {
            let mut bad = good.clone();
            for _ in 0..1 + random.below(8) {
                // Numbers are 2, 4 or 8 bytes at multiples of 2.
                let len = 2 << random.below(3);
                let at = 1024 + random.below(good.len() - 1024 - len) / 2 * 2;
                let byte = extremes[random.below(extremes.len())];
                let from = random.below(good.len() - len);
                match random.below(3) {
                    0 => bad[at..at + len].fill(byte),
                    1 => bad[at] ^= 1 << random.below(8),
                    _ => bad.copy_within(from..from + len, at),
                }
            }
            is_noticed(bad);
        }
    }
}

#[test]
fn images_may_end_anywhere() {
    for (name, _) in IMAGES {
        let good = file(name);
        for blocks in 1..good.len() / 4096 {
            let mut bad = good[..blocks * 4096].to_vec();
            bad[1024 + 36..1024 + 40].copy_from_slice(&(blocks as u32).to_le_bytes());
            assert!(is_noticed(bad), "{name} of {blocks} blocks");
        }
    }
}
