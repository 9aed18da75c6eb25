// SPDX-License-Identifier: GPL-2.0-only
//! What inputs are when they are not compressed, and the other way round.

use std::io::{Read, Write};

/// What is decompressed at most: inputs become no larger unless they are meant to.
pub(crate) const PLAIN_MAX: u64 = 4 << 20;

/// How an input is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// It is not.
    None,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// That of an input, by what it begins with.
pub(crate) fn of(bytes: &[u8]) -> Compression {
    match bytes {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// What an input is; `None` if it is damaged, or more than there should be.
pub(crate) fn decompress(compression: Compression, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let max = PLAIN_MAX + 1;
    match compression {
        Compression::None => return Some(bytes.to_vec()),
        Compression::Gzip => flate2::read::MultiGzDecoder::new(bytes)
            .take(max)
            .read_to_end(&mut plain),
        Compression::Zstd => zstd::stream::read::Decoder::new(bytes)
            .and_then(|decoder| decoder.take(max).read_to_end(&mut plain)),
    }
    .ok()?;
    (plain.len() as u64 <= PLAIN_MAX).then_some(plain)
}

/// The other way round.
pub(crate) fn compress(compression: Compression, plain: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory")
        }
        Compression::Zstd => zstd::encode_all(plain, 1).expect("memory"),
    }
}
