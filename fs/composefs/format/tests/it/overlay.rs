// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Names of attributes as overlayfs shows them.

use composefs_format::overlay::{stored_name, visible_name};
use composefs_format::XattrFilter;
use composefs_format::XattrIndex::{
    self, Lustre, PosixAclAccess, Security, Trusted, Unprefixed, User,
};

use crate::builder::{xattr, xattr_area, Builder, New, PLAIN};

#[test]
fn private_names_are_hidden_and_escaped_ones_shown() {
    type Case = (XattrIndex, &'static [u8], Option<&'static [u8]>);
    let cases: &[Case] = &[
        (Trusted, b"overlay.metacopy", None),
        (Trusted, b"overlay.", None),
        (Trusted, b"overlay.overlay", None),
        (Trusted, b"overlay.overlay.opaque", Some(b"overlay.opaque")),
        (Trusted, b"overlay.overlay.", Some(b"overlay.")),
        (
            Trusted,
            b"overlay.overlay.overlay.x",
            Some(b"overlay.overlay.x"),
        ),
        (Trusted, b"overlay", Some(b"overlay")),
        (Trusted, b"overlayfs", Some(b"overlayfs")),
        (Trusted, b"x.overlay.y", Some(b"x.overlay.y")),
        (User, b"overlay.metacopy", Some(b"overlay.metacopy")),
        (User, b"overlay.overlay.x", Some(b"overlay.overlay.x")),
        (Security, b"selinux", Some(b"selinux")),
        (PosixAclAccess, b"", Some(b"")),
        (Lustre, b"lov", None),
        (Unprefixed, b"system.x", None),
    ];
    for (index, stored, visible) in cases {
        assert_eq!(visible_name(*index, stored), *visible, "{stored:?}");
        if let Some(visible) = visible {
            let back = stored_name(*index, visible);
            assert_eq!([back.head, back.tail].concat(), *stored);
        }
    }
}

#[test]
fn visible_names_are_found_where_they_are_stored() {
    let long = [b'l'; 255 - 16];
    let escaped = [&b"overlay.overlay."[..], &long].concat();
    let mut new = New::file(PLAIN, 0);
    let own = [
        xattr(4, b"overlay.opaque", b"private"),
        xattr(4, b"overlay.overlay.opaque", b"public"),
        xattr(4, b"plain", b"p"),
        xattr(4, &escaped, b"long"),
        xattr(1, b"overlay.opaque", b"user"),
    ];
    new.xattrs = xattr_area(&[], &own);
    let (image, node) = Builder::single(&new);
    let get = |index, name: &[u8]| {
        let get = |out: &mut [u8]| {
            image.read_visible_xattr(&node, index, name, &mut XattrFilter::default(), out)
        };
        let len = get(&mut []).unwrap()?;
        let mut bytes = vec![b'-'; len + 1];
        assert_eq!(get(&mut bytes), Ok(Some(len)));
        // What has no room for all of it is left as it was.
        let mut short = vec![b'-'; len - 1];
        assert_eq!(get(&mut short), Ok(Some(len)));
        assert!(short.iter().all(|byte| *byte == b'-'));
        assert_eq!(bytes.pop(), Some(b'-'));
        Some(bytes)
    };
    assert_eq!(get(Trusted, b"overlay.opaque").unwrap(), b"public");
    assert_eq!(get(Trusted, b"overlay.overlay.opaque"), None);
    assert_eq!(get(Trusted, b"plain").unwrap(), b"p");
    assert_eq!(get(User, b"overlay.opaque").unwrap(), b"user");
    assert_eq!(get(User, b"plain"), None);
    let visible = [&b"overlay."[..], &long].concat();
    assert_eq!(get(Trusted, &visible).unwrap(), b"long");
    let longer = [&visible[..], b"l"].concat();
    assert_eq!(get(Trusted, &longer), None);
    assert_eq!(get(User, &[b'u'; 256]), None);
}
