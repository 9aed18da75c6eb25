// SPDX-License-Identifier: GPL-2.0-only
//! Damaged archives and streams: whatever is in them, there is an error of one line or a result that
//! is right, and never a panic. The mutations are the same every time.

use std::io::Read;
use std::path::Path;

use composefs_fuzz::mutate;
use composefs_fuzz::random::Random;
use composefs_oci::digest::BlobDigest;
use composefs_oci::manifest::Descriptor;
use composefs_oci::{filesystem, layer};
use composefs_repository::stream::{Chunk, Reader};
use composefs_repository::{Category, ErofsFormats, Metadata, Repository};
use composefs_tools::fsverity::{Algorithm, Digest};
use composefs_tools::image;
use tempfile::TempDir;

const BLOCK: usize = 512;
/// Mutations of archives, and of streams.
const MUTATIONS: usize = 3000;

fn repository() -> (TempDir, Repository) {
    // To sync a disk takes longer than all the rest.
    let memory = Path::new("/dev/shm");
    let dir = tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .expect("directory");
    let path = dir.path().join("repository");
    let metadata = Metadata::new(Algorithm::Sha256, ErofsFormats::only(1));
    Repository::init(&path, &metadata, false).expect("repository");
    let repository = Repository::open(&path).expect("repository");
    (dir, repository)
}

/// An archive with all that the reader knows: extensions of GNU and of PAX, a file with holes.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, link: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_mtime(1_234_567_890);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_size(data.len() as u64);
        match link {
            "" => builder.append_data(&mut header, path, data),
            link => builder.append_link(&mut header, path, link),
        }
        .expect("entry");
    };
    add("usr", tar::EntryType::Directory, "", b"");
    add("usr/large", tar::EntryType::Regular, "", &[7; 700]);
    add("usr/small", tar::EntryType::Regular, "", b"small");
    add(&"long/".repeat(40), tar::EntryType::Regular, "", &[8; 65]);
    add(
        "usr/link",
        tar::EntryType::Symlink,
        &"target/".repeat(30),
        b"",
    );
    add("usr/again", tar::EntryType::Link, "usr/large", b"");
    add("usr/.wh.small", tar::EntryType::Regular, "", b"");
    add("fifo", tar::EntryType::Fifo, "", b"");
    add(
        "pax",
        tar::EntryType::XHeader,
        "",
        b"30 mtime=1234567890.123456789\n44 SCHILY.xattr.security.capability=1234567\n",
    );
    add("with-attributes", tar::EntryType::Regular, "", &[9; 100]);
    let mut bytes = builder.into_inner().expect("archive");
    bytes.truncate(bytes.len() - 2 * BLOCK);
    bytes.extend(sparse());
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// A file of 5000 bytes of which 600 are there: GNU's old form.
fn sparse() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("holes").expect("path");
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(600);
    let mut block = header.as_bytes().to_vec();
    let mut number = |at: usize, value: u64| {
        block[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes())
    };
    number(386, 1024);
    number(398, 500);
    number(410, 4000);
    number(422, 100);
    number(483, 5000);
    let mut bytes = [block, vec![5; 600]].concat();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    mend(&mut bytes);
    bytes
}

/// Makes the sums right of what looks like headers: else nothing gets past the first check.
fn mend(bytes: &mut [u8]) {
    for block in bytes
        .chunks_exact_mut(BLOCK)
        .filter(|block| block[257..].starts_with(b"ustar"))
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Imports an archive; if that succeeds, its stream is the archive, and an image can be made of it
/// or there is an error.
fn check(repository: &Repository, bytes: &[u8]) -> Option<Digest> {
    let digest = BlobDigest::of(bytes);
    let descriptor = Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        digest: digest.clone(),
        size: bytes.len() as u64,
        platform: None,
        annotations: Default::default(),
    };
    let stream = match layer::store(repository, &descriptor, Some(&digest), bytes) {
        Ok(stream) => stream,
        Err(error) => {
            one_line(&error);
            return None;
        }
    };
    let mut reader = Reader::open(
        repository.object(&stream).expect("object"),
        Algorithm::Sha256,
    )
    .expect("stream");
    let mut again = Vec::new();
    while let Some(chunk) = reader.next_chunk().expect("chunk") {
        match chunk {
            Chunk::Inline(_) => reader.read_to_end(&mut again).expect("bytes"),
            Chunk::External(object) => repository
                .object(&object)
                .expect("object")
                .read_to_end(&mut again)
                .expect("bytes"),
        };
    }
    assert!(again == bytes, "the stream is not the archive");
    assert_eq!(reader.size(), bytes.len() as u64);
    compose(repository, stream);
    Some(stream)
}

fn compose(repository: &Repository, stream: Digest) {
    let made = filesystem::build(repository, &[(BlobDigest::of(b""), stream)]).and_then(|tree| {
        let options = image::Options {
            min_version: 1,
            max_version: 1,
            digest: None,
        };
        image::write(tree, &options, Some(&mut Vec::new()))
    });
    if let Err(error) = made {
        one_line(&error);
    }
}

fn one_line(error: &anyhow::Error) {
    let text = format!("{error:#}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn archives() {
    let (_dir, repository) = repository();
    let whole = archive();
    check(&repository, &whole).expect("it is imported");
    let mut random = Random::new(1);
    let mut imported = 0;
    for _ in 0..MUTATIONS {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.index(3) {
            mutate::bytes(&mut bytes, &mut random);
        }
        mend(&mut bytes);
        imported += usize::from(check(&repository, &bytes).is_some());
    }
    assert!(
        imported > MUTATIONS / 10,
        "only {imported} got past the first check"
    );
}

/// A stream that another tool wrote may hold anything.
#[test]
fn streams() {
    let (dir, repository) = repository();
    let stream = check(&repository, &archive()).expect("it is imported");
    let mut whole = Vec::new();
    repository
        .object(&stream)
        .expect("object")
        .read_to_end(&mut whole)
        .expect("read");
    let mut random = Random::new(2);
    for _ in 0..MUTATIONS {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.index(3) {
            mutate::bytes(&mut bytes, &mut random);
        }
        let mut objects = composefs_tools::store::Unnamed::new(repository.store());
        let digest = objects.put(&bytes).expect("object");
        objects.publish().expect("object");
        compose(&repository, digest);
    }
    repository
        .set_name(Category::Streams, "kept", &stream)
        .expect("name");
    drop(dir);
}

#[test]
fn files_with_holes_are_whole() {
    let (_dir, repository) = repository();
    let stream = check(&repository, &archive()).expect("it is imported");
    let reader = Reader::open(
        repository.object(&stream).expect("object"),
        Algorithm::Sha256,
    )
    .expect("stream");
    let whole = reader.names()["sparse:0"];
    let mut content = Vec::new();
    repository
        .object(&whole)
        .expect("object")
        .read_to_end(&mut content)
        .expect("read");
    let mut want = vec![0; 5000];
    want[1024..1524].fill(5);
    want[4000..4100].fill(5);
    assert!(content == want);
}
