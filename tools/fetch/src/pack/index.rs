// SPDX-License-Identifier: GPL-2.0-only
//! What is in a pack.

use std::io::{self, Read};

use anyhow::{anyhow, ensure, Context, Result};
use composefs_tools::fsverity::{Algorithm, Digest};

use crate::missing::Wanted;

const MAGIC: &[u8; 8] = b"cfspack1";
/// Most bytes of a frame, in the pack and of its objects: without a bound their sum could be none.
const LEN_MAX: u64 = 1 << 48;

/// A frame: objects that were compressed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes in the pack, right after those of the frame before.
    pub len: u64,
    /// What is in it, one after another.
    pub objects: Vec<Wanted>,
}

/// The index of a pack of these frames.
///
/// # Errors
/// If there are more of them, or in one of them, than an index can say.
pub fn encode(algorithm: Algorithm, frames: &[Frame]) -> Result<Vec<u8>> {
    let count = |len: usize| u32::try_from(len).context("too many objects for one pack");
    let mut bytes = MAGIC.to_vec();
    bytes.extend(u32::from(algorithm.id()).to_le_bytes());
    bytes.extend(count(frames.len())?.to_le_bytes());
    for frame in frames {
        bytes.extend(frame.len.to_le_bytes());
        bytes.extend(count(frame.objects.len())?.to_le_bytes());
        for object in &frame.objects {
            bytes.extend(object.size.to_le_bytes());
            bytes.extend(object.digest.as_bytes());
        }
    }
    Ok(bytes)
}

/// Reads an index, and calls `each` with the place of every frame in the pack, and the frame.
///
/// # Errors
/// If it is none, or of other digests; that of `each`.
pub fn read(
    index: &mut impl Read,
    algorithm: Algorithm,
    each: &mut dyn FnMut(u64, Frame) -> Result<()>,
) -> Result<()> {
    ensure!(
        array::<8>(index)? == *MAGIC,
        "is not the index of a pack, or of a later version"
    );
    let id = u32::from_le_bytes(array(index)?);
    ensure!(
        id == u32::from(algorithm.id()),
        "is not of {} digests",
        algorithm.name()
    );
    let mut start = 0_u64;
    for _ in 0..u32::from_le_bytes(array(index)?) {
        let frame = frame(index, algorithm)?;
        let len = frame.len;
        each(start, frame)?;
        let next = start.checked_add(len).filter(|&next| next <= LEN_MAX);
        start = next.ok_or_else(too_large)?;
    }
    ensure!(index.read(&mut [0])? == 0, "is damaged: it is too long");
    Ok(())
}

fn frame(index: &mut impl Read, algorithm: Algorithm) -> Result<Frame> {
    let len = u64::from_le_bytes(array(index)?);
    let mut frame = Frame {
        len,
        objects: Vec::new(),
    };
    let mut sum = 0_u64;
    for _ in 0..u32::from_le_bytes(array(index)?) {
        let size = u64::from_le_bytes(array(index)?);
        let digest = match algorithm {
            Algorithm::Sha256 => Digest::from_bytes(algorithm, &array::<32>(index)?),
            Algorithm::Sha512 => Digest::from_bytes(algorithm, &array::<64>(index)?),
        };
        let digest = digest.ok_or_else(|| anyhow!("is damaged"))?;
        let next = sum.checked_add(size).filter(|&next| next <= LEN_MAX);
        sum = next.ok_or_else(too_large)?;
        frame.objects.push(Wanted { digest, size });
    }
    Ok(frame)
}

fn too_large() -> anyhow::Error {
    anyhow!("is damaged: it is of more than {LEN_MAX} bytes")
}

fn array<const N: usize>(index: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    match index.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(anyhow!("is damaged: it ends too early"))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use composefs_tools::fsverity::digest_of;

    fn frames(algorithm: Algorithm) -> Vec<Frame> {
        let object = |number: u8| Wanted {
            digest: digest_of(algorithm, &[number]),
            size: 1 << number,
        };
        let frame = |len, numbers: std::ops::Range<u8>| Frame {
            len,
            objects: numbers.map(object).collect(),
        };
        vec![frame(70, 0..3), frame(1 << 40, 3..4), frame(9, 4..4)]
    }

    fn decode(bytes: &[u8], algorithm: Algorithm) -> Result<Vec<(u64, Frame)>> {
        let mut found = Vec::new();
        read(&mut &*bytes, algorithm, &mut |start, frame| {
            found.push((start, frame));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let frames = frames(algorithm);
            let bytes = encode(algorithm, &frames).expect("index");
            let found = decode(&bytes, algorithm).expect("index");
            let starts: Vec<_> = found.iter().map(|(start, _)| *start).collect();
            assert_eq!(starts, [0, 70, 70 + (1 << 40)]);
            assert!(found.into_iter().map(|(_, frame)| frame).eq(frames));
        }
    }

    #[test]
    fn every_damage_is_an_error_or_another_index() {
        let algorithm = Algorithm::Sha256;
        let bytes = encode(algorithm, &frames(algorithm)).expect("index");
        for len in 0..bytes.len() {
            decode(&bytes[..len], algorithm).expect_err("cut off");
        }
        decode(&[&bytes[..], &[0]].concat(), algorithm).expect_err("too long");
        decode(&bytes, Algorithm::Sha512).expect_err("other digests");
        for at in 0..bytes.len() {
            for bit in [1, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                let found = decode(&changed, algorithm);
                assert!(found.is_err() || found.expect("index").len() == 3, "{at}");
            }
        }
        let huge = Frame {
            len: LEN_MAX,
            objects: Vec::new(),
        };
        let bytes = encode(algorithm, &[huge.clone(), huge]).expect("index");
        decode(&bytes, algorithm).expect_err("a sum that is none");
    }
}
