// SPDX-License-Identifier: GPL-2.0-only
//! Layers: archives of tar, compressed by gzip, by zstd, or not.

use std::io::{self, Read};

use composefs_oci::digest::BlobDigest;
use composefs_oci::layer;
use composefs_oci::manifest::Descriptor;
use composefs_repository::stream::{Chunk, Reader};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;

use crate::compression::{self, Compression, PLAIN_MAX};
use crate::repository::{self, one_line};

/// Imports a layer. If that succeeds, its stream is the archive, and an image can be made of it or there
/// is an error; if not, nothing is left.
pub(crate) fn layer(bytes: &[u8]) {
    let compression = compression::of(bytes);
    let plain = compression::decompress(compression, bytes);
    let stream = import(compression, bytes, plain.as_deref());
    if compression == Compression::None {
        return;
    }
    // However it is compressed, it is the same. Whether a frame of zstd that is of another size than
    // it says is an error depends on how much is read at a time, so that it may be one of two.
    if let (Some(plain), Some(stream)) = (plain, stream) {
        assert_eq!(
            import(Compression::None, &plain, Some(&plain)),
            Some(stream)
        );
    }
}

fn import(compression: Compression, blob: &[u8], plain: Option<&[u8]>) -> Option<Digest> {
    let (_dir, repository) = repository::new();
    let kind = match compression {
        Compression::None => "",
        Compression::Gzip => "+gzip",
        Compression::Zstd => "+zstd",
    };
    let descriptor = Descriptor {
        media_type: format!("application/vnd.oci.image.layer.v1.tar{kind}"),
        digest: BlobDigest::of(blob),
        size: blob.len() as u64,
        artifact_type: None,
        platform: None,
        annotations: Default::default(),
    };
    let diff_id = BlobDigest::of(plain.unwrap_or_default());
    let reader = Counted {
        rest: blob,
        ends: 0,
    };
    let made = layer::store_up_to(PLAIN_MAX, &repository, &descriptor, Some(&diff_id), reader);
    match made {
        Ok(stream) => {
            let plain = plain.expect("what cannot be decompressed is no layer");
            expect(&repository, &stream, plain);
            repository::compose(&repository, stream, plain.len() as u64);
            Some(stream)
        }
        Err(error) => {
            one_line(&error);
            assert_eq!(repository::files(repository.path()), 1, "{error:#}");
            None
        }
    }
}

/// A stream is the archive, and no object is larger than what may come of that.
fn expect(repository: &Repository, stream: &Digest, plain: &[u8]) {
    let file = repository.object(stream).expect("object");
    let mut reader = Reader::open(file, repository.algorithm()).expect("stream");
    assert_eq!(reader.content_type(), layer::TYPE);
    assert_eq!(reader.size(), plain.len() as u64);
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
    assert!(again == plain, "the stream is not the archive");
    let whole = reader.names().values().map(|object| {
        let file = repository.object(object).expect("object");
        file.metadata().expect("object").len()
    });
    assert!(whole.sum::<u64>() <= PLAIN_MAX);
}

/// A blob that is read no further than it has to be.
struct Counted<'a> {
    rest: &'a [u8],
    ends: u32,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.ends += 1;
            assert!(self.ends < 10, "it is read again and again");
        }
        self.rest.read(buffer)
    }
}
