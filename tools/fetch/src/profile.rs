// SPDX-License-Identifier: GPL-2.0-only
//! What programs read of an image, as whoever has the image tells it.

use std::io::Read;

use anyhow::{anyhow, bail, Context, Error, Result};
use composefs_format::MAX_SIGNATURE_SIZE;
use composefs_repository::profile::{Profile, MAX};
use composefs_tools::fsverity::Digest;

use crate::export::IMAGES;
use crate::source::{Refusal, Source};

/// Looks whether the text of a profile is to be taken; is given what reads its signature as well, if
/// somebody has to vouch for it.
pub type Expect<'a> = &'a dyn Fn(&[u8], &dyn Fn() -> Result<Vec<u8>>) -> Result<()>;

/// The profile of an image, if the source has one.
///
/// # Errors
/// If it cannot be read, is none, or is not what is expected.
pub fn of(source: &dyn Source, image: &Digest, expect: Expect) -> Result<Option<Profile>> {
    let path = format!("{IMAGES}/{image}.profile");
    let Some(text) = read(source, &path, MAX)? else {
        return Ok(None);
    };
    let signature = || {
        let path = format!("{path}.sig");
        let signature = read(source, &path, MAX_SIGNATURE_SIZE)?;
        signature.ok_or_else(|| anyhow!("there is no {path}"))
    };
    let profile = expect(&text, &signature).and_then(|()| Profile::parse(&text, image));
    profile.context(path).map(Some)
}

/// A file of a source, if it has it.
fn read(source: &dyn Source, path: &str, max: usize) -> Result<Option<Vec<u8>>, Error> {
    let stream = match source.open(path, None) {
        Ok(stream) => stream,
        Err(Refusal::Absent) => return Ok(None),
        Err(Refusal::Broken(error)) => return Err(error),
    };
    let mut content = Vec::new();
    let mut stream = stream.take(max as u64 + 1);
    stream
        .read_to_end(&mut content)
        .with_context(|| path.to_owned())?;
    if content.len() > max {
        bail!("{path}: is of more than {max} bytes");
    }
    Ok(Some(content))
}
