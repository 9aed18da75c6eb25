// SPDX-License-Identifier: GPL-2.0-only
//! Streams, which other tools may have written.

use std::fs::File;
use std::io::{self, Seek, Write};

use anyhow::Result;
use composefs_repository::fsck::{self, Depth};
use composefs_repository::stream::{Chunk, Reader};
use composefs_repository::Category;
use composefs_tools::fsverity::Algorithm;
use composefs_tools::store::Unnamed;

use crate::repository::{self, one_line};

/// What zstd makes at most of a byte: blocks of 128 KiB take four.
const EXPANSION: u64 = 1 << 15;

/// What is in a stream, in numbers.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    objects: u64,
    chunks: u64,
    /// Bytes in chunks.
    inline: u64,
}

/// Reads a stream, then as that of a layer; and checks a repository that has it.
pub(crate) fn stream(bytes: &[u8]) {
    let open = || {
        let memory = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile());
        let mut file = memory.expect("file");
        file.write_all(bytes).expect("file");
        file.rewind().expect("file");
        file
    };
    let seen = read(open(), bytes, true);
    // Whether what is in a chunk is read or passed over makes no difference.
    assert_eq!(seen, read(open(), bytes, false));
    let inline = seen.as_ref().map_or(0, |seen| seen.inline);

    let (_dir, repository) = repository::new();
    let mut objects = Unnamed::new(repository.store());
    let digest = objects.put(bytes).expect("object");
    objects.publish().expect("object");
    repository::compose(&repository, digest, inline);

    repository
        .set_name(Category::Streams, "stream", &digest)
        .expect("name");
    let report = fsck::check(&repository, Depth::Structure).expect("report");
    for fault in &report.faults {
        assert!(!fault.to_string().contains('\n'), "{fault}");
    }
    // What cannot be read is a fault, what needs others that are not there as well.
    assert!(seen.is_some_and(|seen| seen.objects == 0) || !report.faults.is_empty());
}

fn read(file: File, bytes: &[u8], all: bool) -> Option<Seen> {
    let read = || -> Result<Seen> {
        let mut reader = Reader::open(file, Algorithm::Sha256)?;
        let digests = reader.objects().len() + reader.names().len();
        // Two names may be of one digest, but a name has more bytes than none.
        assert!(digests as u64 <= EXPANSION * bytes.len() as u64);
        let mut seen = Seen {
            objects: digests as u64,
            chunks: 0,
            inline: 0,
        };
        while let Some(chunk) = reader.next_chunk()? {
            seen.chunks += 1;
            match chunk {
                Chunk::Inline(size) if all => {
                    let copied = io::copy(&mut reader, &mut io::sink())?;
                    assert!(copied <= size);
                    seen.inline += copied;
                }
                Chunk::Inline(size) => seen.inline = seen.inline.saturating_add(size),
                Chunk::External(object) => assert!(reader.objects().contains(&object)),
            }
            assert!(!all || 8 * seen.chunks + seen.inline <= EXPANSION * bytes.len() as u64);
        }
        Ok(seen)
    };
    read().inspect_err(one_line).ok()
}
