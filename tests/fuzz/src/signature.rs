// SPDX-License-Identifier: GPL-2.0-only
//! Detached signatures, and digests as text.

use composefs_format::{Digest, FormattedDigest, Signer};

/// Asks who has made a signature, and reads the input as a digest.
pub(crate) fn signature(bytes: &[u8]) {
    if let Ok(signer) = Signer::of(bytes) {
        // One line, and not a long one, with nothing in it that ends the quotes: it goes into the kernel's log.
        let text = signer.to_string();
        assert!(text.len() <= 12 + 2 * 32 + 5 + 64 + 1, "{text}");
        assert!(
            text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{text}"
        );
        let quotes = text.bytes().filter(|&byte| byte == b'"').count();
        let parts = match signer {
            Signer::Certificate { serial, issuer } => {
                assert_eq!(quotes, 2, "{text}");
                [serial, issuer]
            }
            Signer::Key { identifier } => {
                assert_eq!(quotes, 0, "{text}");
                [identifier, b""]
            }
        };
        // What names the signer is part of the message, which holds at least the headers of eight elements besides.
        assert!(parts.iter().map(|part| part.len()).sum::<usize>() + 16 <= bytes.len());
        // A message is all that there is.
        assert_eq!(Signer::of(bytes), Ok(signer));
        assert!(Signer::of(&[bytes, b"\0"].concat()).is_err());
        for len in [0, bytes.len() / 2, bytes.len() - 1] {
            assert!(Signer::of(&bytes[..len]).is_err());
        }
    }
    if let Ok(digest) = Digest::parse_hex(bytes) {
        let text = digest.to_string();
        assert_eq!(text.len(), 2 * digest.algorithm().digest_size());
        assert_eq!(Digest::parse_hex(text.as_bytes()), Ok(digest));
        let long = format!("{}:{text}", digest.algorithm().name());
        assert_eq!(Digest::parse_hex(long.as_bytes()), Ok(digest));
        let formatted = FormattedDigest::new(&digest);
        assert!(formatted.as_bytes().ends_with(digest.as_bytes()));
        assert_eq!(formatted.as_bytes().len(), 12 + digest.as_bytes().len());
        let of_image = FormattedDigest::of_image(&digest);
        assert!(of_image.as_bytes().ends_with(formatted.as_bytes()));
    }
}
