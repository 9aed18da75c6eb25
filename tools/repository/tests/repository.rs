// SPDX-License-Identifier: GPL-2.0-only
//! What a repository keeps, gives back and gives up.

use std::fs;
use std::io::Read;
use std::path::Path;

use composefs_repository::fsck::{self, Depth};
use composefs_repository::stream::{Chunk, ContentType, Reader, Writer};
use composefs_repository::{gc, Category, ErofsFormats, Made, Metadata, Repository};
use composefs_tools::fsverity::{object_path, Algorithm, Digest};
use composefs_tools::store::Unnamed;

const TYPE: ContentType = ContentType(*b"ocilayer");

fn repository(dir: &Path) -> Repository {
    let path = dir.join("repository");
    let metadata = Metadata::new(Algorithm::Sha256, ErofsFormats::only(1));
    let made = Repository::init(&path, &metadata, false).expect("repository");
    assert!(matches!(made, Made::New(None)));
    Repository::open(&path).expect("repository opens")
}

/// Puts a stream that holds `inline` and an object of `content`, and refers to `to`.
fn put(
    repository: &Repository,
    inline: &[u8],
    content: &[u8],
    to: Option<(&str, &Digest)>,
) -> Digest {
    let mut objects = Unnamed::new(repository.store());
    let mut writer = Writer::new(Algorithm::Sha256, TYPE).expect("stream");
    writer.inline(inline).expect("inline");
    let object = objects.put(content).expect("object");
    writer
        .external(&object, content.len() as u64)
        .expect("external");
    if let Some((name, to)) = to {
        writer.refer(name, to);
    }
    let digest = writer.finish(&mut objects).expect("stream");
    objects.publish().expect("objects");
    digest
}

fn faults(repository: &Repository, depth: Depth) -> Vec<String> {
    let report = fsck::check(repository, depth).expect("fsck");
    report.faults.iter().map(ToString::to_string).collect()
}

/// Also what composefs-rs gives with zstd 1.5.4.
#[test]
fn streams_are_the_known_ones() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let mut objects = Unnamed::new(repository.store());
    let hello = objects.put(b"hello world").expect("object");
    let mut writer = Writer::new(Algorithm::Sha256, TYPE).expect("stream");
    writer.refer(
        "first",
        &Digest::parse_hex(b"fbf48665a4925a6b9a6d6d606228574b6db1ce2002db657c21647e948d3e2c91")
            .expect("digest"),
    );
    for part in [b"abc", b"def"] {
        writer.inline(&part[..1]).expect("inline");
        writer.inline(&part[1..]).expect("inline");
        writer.external(&hello, 11).expect("external");
    }
    let digest = writer.finish(&mut objects).expect("stream");
    objects.publish().expect("objects");
    assert_eq!(
        digest.to_string(),
        "097ccc39a847fd491db2e99e4cf4888cb7b3500e24eea095f1bb27298ab9cc4d"
    );

    let mut reader = Reader::open(
        repository.object(&digest).expect("object"),
        Algorithm::Sha256,
    )
    .expect("stream");
    assert_eq!((reader.content_type(), reader.size()), (TYPE, 28));
    assert_eq!(reader.names().keys().collect::<Vec<_>>(), ["first"]);
    let mut text = String::new();
    while let Some(chunk) = reader.next_chunk().expect("chunk") {
        match chunk {
            Chunk::Inline(len) => {
                text += &format!("{len}");
                reader.read_to_string(&mut text).expect("bytes");
            }
            Chunk::External(object) => {
                assert_eq!(object, hello);
                text.push('*');
            }
        }
    }
    assert_eq!(text, "3abc*3def*");
}

#[test]
fn damaged_streams_are_errors() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let named = put(&repository, b"", b"to refer to", None);
    let digest = put(&repository, &[7; 3000], &[8; 5000], Some(("name", &named)));
    let whole = fs::read(repository.objects_path().join(object_path(&digest))).expect("stream");
    let read = |bytes: &[u8]| {
        let path = dir.path().join("stream");
        fs::write(&path, bytes).expect("written");
        let mut reader = Reader::open(fs::File::open(&path)?, Algorithm::Sha256)?;
        while reader.next_chunk()?.is_some() {}
        anyhow::Ok(())
    };
    read(&whole).expect("whole");
    for len in 0..whole.len() {
        read(&whole[..len]).expect_err("shorter");
    }
    // Whatever it makes of it, it comes to an end, without a panic.
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut other = whole.clone();
            other[at] = value;
            let _ = read(&other);
        }
    }
}

#[test]
fn what_is_referred_to_is_kept() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let layer = put(&repository, b"layer", &[1; 5000], None);
    let config = put(
        &repository,
        b"config",
        &[2; 5000],
        Some(("sha256:1", &layer)),
    );
    let other = put(&repository, b"other", &[3; 5000], None);
    for (name, digest) in [("layer", &layer), ("config", &config), ("other", &other)] {
        repository
            .set_name(Category::Streams, name, digest)
            .expect("name");
    }
    repository
        .set_ref(Category::Streams, "oci/tag", "config")
        .expect("reference");
    assert_eq!(faults(&repository, Depth::Contents), [""; 0]);

    let would = gc::collect(&repository, |_| None, true).expect("dry run");
    assert_eq!((would.objects, would.streams), (2, 1));
    let did = gc::collect(&repository, |_| None, false).expect("collection");
    assert_eq!(would, did);
    assert_eq!(
        repository
            .lookup(Category::Streams, "layer")
            .expect("layer"),
        Some(layer)
    );
    assert_eq!(
        repository
            .lookup(Category::Streams, "other")
            .expect("other"),
        None
    );
    assert_eq!(faults(&repository, Depth::Contents), [""; 0]);

    assert!(repository
        .remove_ref(Category::Streams, "oci/tag")
        .expect("reference"));
    assert!(!repository
        .remove_ref(Category::Streams, "oci/tag")
        .expect("no reference"));
    let did = gc::collect(&repository, |_| None, false).expect("collection");
    assert_eq!((did.objects, did.streams), (4, 2));
}

#[test]
fn what_is_damaged_is_found() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let stream = put(&repository, b"stream", &[1; 5000], None);
    repository
        .set_name(Category::Streams, "stream", &stream)
        .expect("name");
    repository
        .set_ref(Category::Streams, "tag", "stream")
        .expect("reference");
    let mut objects = Unnamed::new(repository.store());
    let object = objects.put(&[1; 5000]).expect("object");
    let path = repository.objects_path().join(object_path(&object));

    // The file system of the test may have fs-verity, with which nothing can be written to it.
    fs::remove_file(&path).expect("removed");
    fs::write(&path, [2; 5000]).expect("written");
    assert_eq!(faults(&repository, Depth::Structure), [""; 0]);
    let found = fsck::check(&repository, Depth::Contents).expect("fsck");
    assert_eq!(
        found
            .faults
            .iter()
            .map(|fault| fault.object)
            .collect::<Vec<_>>(),
        [Some(object)]
    );

    fs::remove_file(&path).expect("removed");
    let found = faults(&repository, Depth::Structure);
    assert_eq!(
        found,
        [format!(
            "streams/stream: needs object {object}, which is not there"
        )]
    );
    fs::remove_file(repository.objects_path().join(object_path(&stream))).expect("removed");
    assert_eq!(faults(&repository, Depth::Structure).len(), 2);
}

#[test]
fn objects_get_their_names_together() {
    let dir = tempfile::tempdir().expect("directory");
    let repository = repository(dir.path());
    let mut objects = Unnamed::new(repository.store());
    let small = objects.put(&[1; 100]).expect("small");
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| i as u8).collect();
    let digest = objects
        .put_stream(&mut large.as_slice(), 3_000_000)
        .expect("large");
    objects
        .put_stream(&mut &large[..5], 6)
        .expect_err("too short");
    objects
        .put_stream(&mut &large[..2_000_000], 2_000_001)
        .expect_err("too short");
    repository.object(&small).expect_err("no name yet");
    objects.publish().expect("names");
    repository.object(&small).expect("small");
    let mut read = Vec::new();
    repository
        .object(&digest)
        .expect("large")
        .read_to_end(&mut read)
        .expect("read");
    assert!(read == large);

    let mut objects = Unnamed::new(repository.store());
    objects.put(&[2; 100]).expect("another");
    drop(objects);
    assert_eq!(
        fsck::check(&repository, Depth::Contents)
            .expect("fsck")
            .objects,
        2
    );
}

#[test]
fn others_are_locked_out() {
    let dir = tempfile::tempdir().expect("directory");
    let first = repository(dir.path());
    let second = Repository::open(first.path()).expect("shared");
    drop(second);
    first
        .lock_out_others(|| panic!("nobody else"))
        .expect("alone");
    let path = first.path().to_owned();
    let waits = std::thread::spawn(move || Repository::open(&path).map(drop));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!waits.is_finished());
    drop(first);
    waits.join().expect("thread").expect("opens then");
}

#[test]
fn a_repository_of_another_kind() {
    let dir = tempfile::tempdir().expect("directory");
    let first = repository(dir.path());
    let init = |algorithm| {
        let metadata = Metadata::new(algorithm, ErofsFormats::only(1));
        Repository::init(first.path(), &metadata, false)
    };
    assert!(matches!(init(Algorithm::Sha256), Ok(Made::Existed)));
    let error = init(Algorithm::Sha512).expect_err("another");
    assert!(
        format!("{error:#}").ends_with("there is one, of another kind"),
        "{error:#}"
    );
    let error = Repository::open(dir.path()).expect_err("none");
    assert!(
        format!("{error:#}").ends_with("there is no meta.json"),
        "{error:#}"
    );
}
