// SPDX-License-Identifier: GPL-2.0-only
//! Objects from streams, which those who import layers put into a store.

use std::fs;

use anyhow::bail;
use composefs_tools::fsverity::{digest_of, object_path, Algorithm};
use composefs_tools::store::{Store, Unnamed};

use crate::common;

/// Bytes that are others in every block.
fn content(len: u32) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 9)) as u8).collect()
}

/// On both sides of what is kept in memory, in no order.
const SIZES: [u32; 7] = [1, 70_000, 0, 1 << 20, 300, (1 << 20) + 1, 5_000_001];

#[test]
fn a_stream_goes_on_behind_an_object() {
    let dir = common::directory("streams");
    let store = Store::open(&dir, Algorithm::Sha256).expect("store");
    let mut objects = Unnamed::new(&store);
    let all: Vec<u8> = SIZES.into_iter().flat_map(content).collect();
    let mut stream = &all[..];
    let mut digests = Vec::new();
    for size in SIZES {
        let digest = objects.put_stream(&mut stream, u64::from(size));
        digests.push(digest.expect("put"));
    }
    assert!(stream.is_empty());
    let named = fs::read_dir(&dir).expect("store").flatten();
    assert_eq!(
        named.filter(|entry| entry.file_name().len() == 2).count(),
        0
    );

    objects.publish().expect("published");
    for (size, digest) in SIZES.into_iter().zip(digests) {
        let content = content(size);
        assert_eq!(digest, digest_of(Algorithm::Sha256, &content));
        let object = fs::read(dir.join(object_path(&digest))).expect("object");
        assert!(object == content, "{size}");
    }
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn what_ends_or_is_not_wanted_is_no_object() {
    let dir = common::directory("no-streams");
    let store = Store::open(&dir, Algorithm::Sha256).expect("store");
    let mut objects = Unnamed::new(&store);
    for size in [300, 5_000_001] {
        let content = content(size);
        let size = u64::from(size);
        let ended = objects.put_stream(&mut &content[1..], size);
        let ended = format!("{:#}", ended.expect_err("it ends"));
        assert_eq!(ended, "ends within a file");
        let wanted = digest_of(Algorithm::Sha256, &content);
        let refused = objects.put_stream_if(&mut &content[..], size, |digest| {
            assert_eq!(*digest, wanted);
            bail!("not this one")
        });
        let refused = format!("{:#}", refused.expect_err("it is refused"));
        assert_eq!(refused, "not this one");
    }
    objects.publish().expect("none");
    assert_eq!(fs::read_dir(&dir).expect("store").count(), 0);
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn who_is_second_takes_what_is_there() {
    let dir = common::directory("second");
    let store = Store::open(&dir, Algorithm::Sha256).expect("store");
    let content = content(300);
    let object = dir.join(object_path(&digest_of(Algorithm::Sha256, &content)));
    let mut three = [(); 3].map(|()| Unnamed::new(&store));
    for objects in &mut three {
        objects.put(&content).expect("put");
    }
    let [first, second, third] = three;
    first.publish().expect("is there");
    second.publish().expect("is there already");

    fs::remove_file(&object).expect("removed");
    fs::write(&object, [0; 300]).expect("damaged");
    let refused = third.publish().expect_err("is damaged");
    let refused = format!("{refused:#}");
    assert!(refused.contains("is damaged"), "{refused}");
    fs::remove_dir_all(dir).expect("removed");
}
