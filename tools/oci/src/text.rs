// SPDX-License-Identifier: GPL-2.0-only
//! The streams of manifests and configurations: each is one object, which is the text as it was
//! fetched.

use std::collections::BTreeMap;

use anyhow::{bail, ensure, Context, Result};
use composefs_repository::stream::{Chunk, ContentType, Reader, Writer};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::store::Unnamed;

use crate::digest::BlobDigest;
use crate::source::read_some;

/// Adds a text, as an object.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn put_text(writer: &mut Writer, text: &[u8], objects: &mut Unnamed) -> Result<()> {
    let object = objects.put(text)?;
    writer.external(&object, text.len() as u64)
}

/// The text that a stream is, and what it refers to.
///
/// # Errors
/// If it is not there, or damaged.
pub(crate) fn read(
    repository: &Repository,
    stream: &Digest,
    content_type: ContentType,
    digest: &BlobDigest,
) -> Result<(Vec<u8>, BTreeMap<String, Digest>)> {
    let open = || {
        let mut reader = open_stream(repository, stream, content_type)?;
        let text = read_text(repository, &mut reader, digest)?;
        anyhow::Ok((text, reader.names().clone()))
    };
    open().with_context(|| digest.to_string())
}

/// Opens the stream of something.
///
/// # Errors
/// If it is damaged, or of something else.
pub(crate) fn open_stream(
    repository: &Repository,
    stream: &Digest,
    content_type: ContentType,
) -> Result<Reader> {
    let reader = Reader::open(repository.object(stream)?, repository.algorithm())?;
    ensure!(
        reader.content_type() == content_type,
        "is the stream of something else"
    );
    Ok(reader)
}

/// The text that an open stream is.
///
/// # Errors
/// If it is not there, or damaged.
pub(crate) fn read_text(
    repository: &Repository,
    reader: &mut Reader,
    digest: &BlobDigest,
) -> Result<Vec<u8>> {
    let Some(Chunk::External(object)) = reader.next_chunk()? else {
        bail!("is damaged");
    };
    let text = read_some(repository.object(&object)?)?;
    let found = BlobDigest::of(&text);
    ensure!(found == *digest, "is damaged: its digest is {found}");
    Ok(text)
}
