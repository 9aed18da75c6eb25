// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Regular files whose content is in the store.
//!
//! To EROFS they are files of one hole. What they hold is told to overlayfs by two attributes
//! (`fs/overlayfs/overlayfs.h`): `trusted.overlay.metacopy`, with the fs-verity digest of the
//! content, and `trusted.overlay.redirect`, with its path below a store.
//!
//! The chunk pointers of the hole are not looked at, no more than EROFS does where overlayfs has
//! the content: they are missing, or elsewhere, for files that composefs-rs writes without digest
//! in version 2, for files larger than a chunk of 8 TiB in version 2, and for files near 8 PiB.

use super::disk::metacopy::{self, at};
use super::disk::overlay;
use super::source::Window;
use super::xattr::{copy_out, Entries};
use super::{Algorithm, Digest, Error, Image, Node, Source, XattrIndex, XattrValue};

const METACOPY: &[u8] = XattrIndex::Trusted.rest(overlay::METACOPY);
const REDIRECT: &[u8] = XattrIndex::Trusted.rest(overlay::REDIRECT);
/// Longest metacopy attribute, with a digest of SHA-512.
const METACOPY_MAX: usize = metacopy::HEADER_SIZE + 64;

/// Where the content of an external file is, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// The fs-verity digest that the content must have, if the image says.
    pub digest: Option<Digest>,
    /// The path of the content below a store, if the image says: at most 4095 bytes, the first `/`,
    /// none NUL.
    pub redirect: Option<XattrValue>,
}

impl<S: Source> Image<S> {
    /// Where the content of a regular file in the store is; `None` for every other file.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the attributes that say so are missing or malformed, or the source's.
    pub fn external(&self, node: &Node) -> Result<Option<External>, S::Error> {
        if !node.is_external() {
            return Ok(None);
        }
        let (mut metacopy, mut redirect) = (None, None);
        if let Some(mut entries) = Entries::new(self, node)? {
            while metacopy.is_none() || redirect.is_none() {
                let Some(entry) = entries.next()? else { break };
                if !entry.is_trusted() {
                    continue;
                }
                if metacopy.is_none() && entries.is_named(&entry, METACOPY)? {
                    metacopy = Some(entry.value());
                } else if redirect.is_none() && entries.is_named(&entry, REDIRECT)? {
                    redirect = Some(entry.value());
                }
            }
        }
        let metacopy = metacopy.ok_or(Error::Corrupt("external file without metacopy"))?;
        let digest = self.digest(&metacopy)?;
        if let Some(redirect) = &redirect {
            self.check_redirect(redirect)?;
        }
        Ok(Some(External { digest, redirect }))
    }

    /// Whether the image gives a digest for a regular file in the store: what
    /// [`external`](Self::external) says of it, without a look at the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the attribute that says so is missing or malformed, or the source's.
    pub fn has_digest(&self, node: &Node) -> Result<bool, S::Error> {
        let Some(mut entries) = Entries::new(self, node)? else {
            return Ok(false);
        };
        while let Some(entry) = entries.next()? {
            if entry.is_trusted() && entries.is_named(&entry, METACOPY)? {
                let mut buffer = [0; METACOPY_MAX];
                let bytes = buffer
                    .get_mut(..entry.value().len())
                    .ok_or(Error::Corrupt("metacopy is too long"))?;
                copy_out(entries.window_of(&entry), entry.value().offset(), bytes)?;
                return Ok(parse_metacopy(bytes)?.is_some());
            }
        }
        Err(Error::Corrupt("external file without metacopy").into())
    }

    fn digest(&self, metacopy: &XattrValue) -> Result<Option<Digest>, S::Error> {
        let mut buffer = [0; METACOPY_MAX];
        let bytes = buffer
            .get_mut(..metacopy.len())
            .ok_or(Error::Corrupt("metacopy is too long"))?;
        self.read_xattr(metacopy, bytes)?;
        Ok(parse_metacopy(bytes)?)
    }

    fn check_redirect(&self, redirect: &XattrValue) -> Result<(), S::Error> {
        if redirect.len() == 0 || redirect.len() > overlay::REDIRECT_MAX {
            return Err(Error::Corrupt("redirect is empty or too long").into());
        }
        let mut window = Window::new(self);
        let (mut pos, mut left) = (redirect.offset(), redirect.len());
        if window.bytes(pos)?.first() != Some(&b'/') {
            return Err(Error::Corrupt("redirect is not absolute").into());
        }
        while left != 0 {
            let bytes = window.bytes(pos)?;
            let len = bytes.len().min(left);
            if bytes.get(..len).unwrap_or_default().contains(&0) {
                return Err(Error::Corrupt("redirect contains a NUL").into());
            }
            pos = pos.saturating_add(len as u64);
            left = left.saturating_sub(len);
        }
        Ok(())
    }
}

/// The digest in the value of a metacopy attribute: `struct ovl_metacopy`, or nothing where there
/// is no digest.
fn parse_metacopy(bytes: &[u8]) -> Result<Option<Digest>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let fields = (
        at::VERSION.read(bytes),
        at::LEN.read(bytes),
        at::FLAGS.read(bytes),
        at::ALGORITHM.read(bytes),
        bytes.get(metacopy::HEADER_SIZE..),
    );
    let (Some(version), Some(len), Some(flags), Some(algorithm), Some(digest)) = fields else {
        return Err(Error::Corrupt("metacopy is too short"));
    };
    if version != metacopy::VERSION || flags != metacopy::FLAGS {
        return Err(Error::Corrupt("metacopy of an unknown version"));
    }
    if usize::from(len) != bytes.len() {
        return Err(Error::Corrupt("metacopy has the wrong length"));
    }
    if algorithm == 0 && digest.is_empty() {
        return Ok(None);
    }
    let algorithm = Algorithm::from_id(algorithm)
        .ok_or(Error::Corrupt("metacopy has an unknown digest algorithm"))?;
    Digest::from_bytes(algorithm, digest)
        .map(Some)
        .ok_or(Error::Corrupt("metacopy has a digest of the wrong length"))
}
