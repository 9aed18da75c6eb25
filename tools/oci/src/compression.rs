// SPDX-License-Identifier: GPL-2.0-only
//! How layers are compressed.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// A compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// gzip, of any number of members.
    Gzip,
    /// Zstandard, of any number of frames.
    Zstd,
}

/// What a layer is once it is decompressed.
pub fn decompress<'a>(
    compression: Compression,
    layer: impl BufRead + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(layer),
        Compression::Gzip => Box::new(MultiGzDecoder::new(layer)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(layer)?),
    })
}
