// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The value of the mount option `basedir=`: paths with colons between them. A backslash takes away
//! the meaning of a colon or backslash that follows.

/// The paths in the value of `basedir=`, one at least.
pub fn split(value: &[u8]) -> impl Iterator<Item = Escaped<'_>> {
    let mut rest = Some(value);
    core::iter::from_fn(move || {
        let path = rest.take()?;
        let mut unread = path;
        let end = loop {
            unread = match unread {
                [b'\\', b':' | b'\\', behind @ ..] => behind,
                [b':', behind @ ..] => {
                    rest = Some(behind);
                    break unread;
                }
                [_, behind @ ..] => behind,
                [] => break unread,
            };
        };
        let len = path.len().checked_sub(end.len())?;
        path.get(..len).map(Escaped)
    })
}

/// A path as it is in the value of `basedir=`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a [u8]);

impl<'a> Escaped<'a> {
    /// The bytes of the path itself.
    pub fn bytes(self) -> impl Iterator<Item = u8> + Clone + 'a {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let byte;
            (byte, rest) = match rest {
                [b'\\', byte @ (b':' | b'\\'), behind @ ..] => (*byte, behind),
                [byte, behind @ ..] => (*byte, behind),
                [] => return None,
            };
            Some(byte)
        })
    }
}

/// The value of `basedir=` that names these paths: the reverse of [`split`].
pub fn join<'a, I>(paths: I) -> impl Iterator<Item = u8> + Clone + use<'a, I>
where
    I: Iterator<Item = &'a [u8]> + Clone,
{
    let mut is_first = true;
    paths.flat_map(move |path| {
        let separator = (!is_first).then_some(b':');
        is_first = false;
        let escaped = path.iter().flat_map(|&byte| {
            let escape = matches!(byte, b':' | b'\\').then_some(b'\\');
            escape.into_iter().chain([byte])
        });
        separator.into_iter().chain(escaped)
    })
}
