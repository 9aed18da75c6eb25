// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Digests and file types in their various forms.

use composefs_format::{Algorithm, Digest, FileType};

#[test]
fn hex_is_read_and_shown() {
    let short = "0123456789abcdef".repeat(4);
    let long = short.repeat(2);
    for (text, algorithm) in [
        (short.clone(), Algorithm::Sha256),
        (format!("sha256:{short}"), Algorithm::Sha256),
        (long.clone(), Algorithm::Sha512),
        (format!("sha512:{long}"), Algorithm::Sha512),
        (format!("sha512:{}", long.to_uppercase()), Algorithm::Sha512),
        (short.to_uppercase(), Algorithm::Sha256),
    ] {
        let digest = Digest::parse_hex(text.as_bytes()).unwrap();
        assert_eq!(digest.algorithm(), algorithm);
        assert_eq!(digest.as_bytes().len(), algorithm.digest_size());
        assert_eq!(digest.as_bytes()[..3], [0x01, 0x23, 0x45]);
        let digits = &long[..algorithm.digest_size() * 2];
        assert_eq!(digest.to_string(), digits);
        let name = match algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        };
        assert_eq!(algorithm.name(), name);
        assert_eq!(format!("{digest:?}"), format!("{name}:{digits}"));
        assert_eq!(
            Digest::from_bytes(algorithm, digest.as_bytes()),
            Some(digest)
        );
    }
    let a = Digest::parse_hex(short.as_bytes()).unwrap();
    let b = Digest::parse_hex(short.replace('0', "1").as_bytes()).unwrap();
    assert_ne!(a, b);
    assert_ne!(a, Digest::parse_hex(long.as_bytes()).unwrap());
}

#[test]
fn what_is_no_digest_is_refused() {
    let number = "digest has the wrong number of hex digits";
    let digit = "digest contains a character that is no hex digit";
    let algorithm = "digest algorithm is neither sha256 nor sha512";
    let short = "a".repeat(64);
    for (text, reason) in [
        (String::new(), number),
        ("sha256:".to_owned(), number),
        ("a".repeat(63), number),
        ("a".repeat(65), number),
        ("a".repeat(127), number),
        ("a".repeat(130), number),
        (format!("sha512:{short}"), number),
        (format!("sha256:{short}{short}"), number),
        (format!("sha1:{short}"), algorithm),
        (format!(":{short}"), algorithm),
        (format!("SHA256:{short}"), algorithm),
        (format!("sha256:sha256:{short}"), digit),
        (format!("{}g", "a".repeat(63)), digit),
        (format!("0x{}", "a".repeat(62)), digit),
        (format!(" {}", "a".repeat(63)), digit),
        (format!("+{}", "a".repeat(63)), digit),
    ] {
        let error = Digest::parse_hex(text.as_bytes()).unwrap_err();
        assert_eq!((error.reason(), error.to_string()), (reason, reason.into()));
    }
    assert_eq!(Digest::from_bytes(Algorithm::Sha256, &[0; 31]), None);
    assert_eq!(Digest::from_bytes(Algorithm::Sha256, &[0; 64]), None);
    assert_eq!(Digest::from_bytes(Algorithm::Sha512, &[0; 32]), None);
}

#[test]
fn algorithms_have_the_numbers_of_the_kernel() {
    for (id, algorithm) in [(1, Algorithm::Sha256), (2, Algorithm::Sha512)] {
        assert_eq!(Algorithm::from_id(id), Some(algorithm));
        assert_eq!(algorithm.id(), id);
    }
    assert_eq!(Algorithm::from_id(0), None);
    assert_eq!(Algorithm::from_id(3), None);
}

#[test]
fn types_have_the_numbers_of_the_kernel() {
    // DT_ constants are the type bits of a mode.
    for mode in 0..=u16::MAX {
        match FileType::from_mode(mode) {
            Some(file_type) => {
                assert_eq!(u16::from(file_type.dt()), mode >> 12);
                assert_eq!(file_type.mode(), mode & 0o170_000);
            }
            None => assert!(![1, 2, 4, 6, 8, 10, 12].contains(&(mode >> 12))),
        }
    }
}

#[test]
fn types_have_the_numbers_of_erofs() {
    let types = [
        FileType::Regular,
        FileType::Directory,
        FileType::CharDevice,
        FileType::BlockDevice,
        FileType::Fifo,
        FileType::Socket,
        FileType::Symlink,
    ];
    assert_eq!(types.map(FileType::dirent), [1, 2, 3, 4, 5, 6, 7]);
}
