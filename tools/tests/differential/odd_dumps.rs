// SPDX-License-Identifier: GPL-2.0-only
//! Dumps at the limits of what the C tool accepts.

/// Dumps that are hardly ever come across by chance.
pub fn all() -> Vec<Vec<u8>> {
    let root = "/ 0 40755 2 0 0 0 0.0 - - -";
    let mut dumps: Vec<Vec<u8>> = Vec::new();
    let file = |line: &str| format!("{root}\n{line}\n").into_bytes();
    for text in [
        "",
        "\n",
        root,
        "/",
        "/ ",
        "//",
        "/ 0 100644 1 0 0 0 0.0 - - -\n",
    ] {
        dumps.push(text.into());
    }
    for line in [
        // Fields that are missing, or too many.
        "/a", "/a 0 100644", "/a 0 100644 1 0 0 0 0.0", "/a 0 100644 1 0 0 0 0.0 -",
        "/a 0 100644 1 0 0 0 0.0 - - - ", "/a 0 100644 1 0 0 0 0.0 - - -  ",
        "/a 0 100644 1 0 0 0 0.0 - - - user.a", "/a 0 100644 1 0 0 0 0.0 - - - user.a=",
        "/a 0 100644 1 0 0 0 0.0 - - - =a", "/a 0 100644 1 0 0 0 0.0 - - - a=b=c",
        "/a 0 100644 1 0 0 0 0.0 - - - \\x00=b", "/a 0 100644 1 0 0 0 0.0 - - - a\\x00b=c",
        // Times.
        "/a 0 100644 1 0 0 0 0 - - -", "/a 0 100644 1 0 0 0 0. - - -", "/a 0 100644 1 0 0 0 .0 - - -",
        "/a 0 100644 1 0 0 0 -1.5 - - -", "/a 0 100644 1 0 0 0 1.-5 - - -",
        "/a 0 100644 1 0 0 0 1.4294967297 - - -", "/a 0 100644 1 0 0 0 1.2.3 - - -",
        // Numbers: the C tool overlooks errors of gid and rdev if uid is not 0.
        "/a 0 100644 1 0 x 0 0.0 - - -", "/a 0 100644 1 5 x 0 0.0 - - -",
        "/a 0 100644 1 5 0 x 0.0 - - -", "/a 0 20644 1 5 0 x 0.0 - - -", "/a 0 20644 1 0 0 x 0.0 - - -",
        "/a -1 100644 1 0 0 0 0.0 - - -", "/a 99999999999999999999 100644 1 0 0 0 0.0 - - -",
        "/a 9223372036854775808 100644 1 0 0 0 0.0 - - -",
        "/a 18446744073709551615 20644 1 0 0 1 0.0 - - -", "/a 4294967296 10644 1 0 0 0 0.0 - - -",
        "/a 0 100644 4294967297 4294967297 4294967297 0 0.0 - - -",
        "/a 0 20644 1 0 0 4294967296 0.0 - - -", "/a 0 20644 1 0 0 4294967297 0.0 - - -",
        "/a 9007199254740992 100644 1 0 0 0 0.0 - - -", "/a 9007199254740993 100644 1 0 0 0 0.0 - - -",
        // Modes.
        "/a 0 0 1 0 0 0 0.0 - - -", "/a 0 644 1 0 0 0 0.0 - - -", "/a 0 170644 1 0 0 0 0.0 - - -",
        "/a 0 1100644 1 0 0 0 0.0 - - -", "/a 0 40000100644 1 0 0 0 0.0 - - -", "/a 0 @ 1 0 0 0 0.0 / - -",
        "/a 0 @@100644 1 0 0 0 0.0 / - -", "/a 0 @40755 1 0 0 0 0.0 / - -",
        // Names.
        "a 0 100644 1 0 0 0 0.0 - - -", "//a 0 100644 1 0 0 0 0.0 - - -", "/a/ 0 100644 1 0 0 0 0.0 - - -",
        "/. 0 100644 1 0 0 0 0.0 - - -", "/.. 0 100644 1 0 0 0 0.0 - - -", "/./a 0 100644 1 0 0 0 0.0 - - -",
        "\\x2fa 0 100644 1 0 0 0 0.0 - - -", "\\x00 0 100644 1 0 0 0 0.0 - - -",
        "/a\\x00b 0 100644 1 0 0 0 0.0 - - -", "/a\\ 0 100644 1 0 0 0 0.0 - - -",
        "/a\\x1 0 100644 1 0 0 0 0.0 - - -", "/ 0 40755 1 0 0 0 0.0 - - -", "/b/a 0 100644 1 0 0 0 0.0 - - -",
        // Content and targets.
        "/a 1 100644 1 0 0 0 0.0 - xx -", "/a 0 100644 1 0 0 0 0.0 -  -", "/a 1 100644 1 0 0 0 0.0 -  -",
        "/a 1 100644 1 0 0 0 0.0  - -", "/a 2 40755 1 0 0 0 0.0 - xx -", "/a 2 20644 1 0 0 0 0.0 p xx -",
        "/a 2 20644 1 0 0 5 0.0 p xx -", "/a 2 10644 1 0 0 0 0.0 p xx -", "/a 1 40755 1 0 0 0 0.0 - xx -",
        "/a 0 120777 1 0 0 0 0.0 - - -", "/a 0 120777 1 0 0 0 0.0  - -", "/a 0 120777 1 0 0 0 0.0 \\x00a - -",
        "/a 99 120777 1 0 0 0 0.0 b\\x00c - -", "/a 2 120777 1 0 0 0 0.0 b xx -", "/a 3 120777 1 0 0 0 0.0 b xx -",
        "/a 1 100644 1 0 0 0 0.0 /p - -", "/a 1 100644 1 0 0 0 0.0 / - -", "/a 1 100644 1 0 0 0 0.0 \\x2d - -",
        // Digests that do not matter, or are too long.
        "/a 1 100644 1 0 0 0 0.0 - x zz", "/a 0 100644 1 0 0 0 0.0 - - zz", "/a 0 40755 1 0 0 0 0.0 - - ",
        "/a 1 100644 1 0 0 0 0.0 - - 000102030405060708090a0b0c0d0e0f000102030405060708090A0B0C0D0E0Fzz",
        // Hard links.
        "/a 0 @100644 1 0 0 0 0.0 - - -", "/a 0 @100644 1 0 0 0 0.0 / - -", "/a 0 @100644 1 0 0 0 0.0  - -",
        "/a 0 @100644 1 0 0 0 0.0 /a - -", "/a 0 @100644 1 0 0 0 0.0 /b - -", "/a x @100644 x x x x x / x x",
        "/a 0 @100644 1 0 0 0 0.0 / - -\n/b 0 @100644 1 0 0 0 0.0 /a - -",
        "/a 0 @100644 1 0 0 0 0.0 b/ - -\n/b 0 100644 1 0 0 0 0.0 - - -",
        "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 40755 1 0 0 0 0.0 - - -",
        "/a 0 @20644 1 0 0 0 0.0 /b - -\n/b 0 20644 1 0 0 0 0.0 - - -",
        "/b 0 20644 2 0 0 0 0.0 - - -", "/b 0 20644 2 0 0 1 0.0 - - -", "/b 0 60644 2 0 0 0 0.0 - - -",
        "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 @100644 1 0 0 0 0.0 /a - -",
        "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 20644 1 0 0 0 0.0 - - -",
        // Whiteouts below directories that have the marks already.
        "/a 0 20644 1 0 0 0 0.0 - - - trusted.overlay.whiteout=x user.overlay.whiteout=y",
        "/d 0 40755 1 0 0 0 0.0 - - - user.overlay.opaque=\n/d/a 0 20644 1 0 0 0 0.0 - - -",
        "/d 0 40755 1 0 0 0 0.0 - - - user.overlay.opaque=long\n/d/a 0 20644 1 0 0 0 0.0 - - -",
        "/d 0 40755 1 0 0 0 0.0 - - - user.overlay.whiteouts=x\n/d/a 0 20644 1 0 0 0 0.0 - - -",
        "/d 0 40755 1 0 0 0 0.0 - - - user.overlay.whiteouts=x user.b=1\n/d/a 0 20644 1 0 0 0 0.0 - - -",
        "/d 0 40755 1 0 0 0 0.0 - - - trusted.overlay.opaque=y trusted.overlay.overlay.opaque=n",
        "/00 0 40755 1 0 0 0 0.0 - - -\n/ff 0 @100644 1 0 0 0 0.0 /00 - -",
    ] {
        dumps.push(file(line));
    }
    // Limits.
    let a = |count: usize| "a".repeat(count);
    for len in [254, 255, 256] {
        dumps.push(file(&format!("/{} 0 100644 1 0 0 0 0.0 - - -", a(len))));
        dumps.push(file(&format!("/a 0 100644 1 0 0 0 0.0 - - - {}=x", a(len))));
        dumps.push(file(&format!(
            "/a 0 100644 1 0 0 0 0.0 - - - trusted.overlay.{}=x",
            a(len - 16)
        )));
    }
    for len in [4094, 4095, 4096] {
        dumps.push(file(&format!("/a 0 120777 1 0 0 0 0.0 {} - -", a(len))));
        dumps.push(file(&format!("/a 9 100644 1 0 0 0 0.0 {} - -", a(len))));
    }
    for len in [5000, 5001] {
        dumps.push(file(&format!("/a {len} 100644 1 0 0 0 0.0 - {} -", a(len))));
        dumps.push(file(&format!("/a {len} 40755 1 0 0 0 0.0 - {} -", a(len))));
    }
    for len in [32741, 32742, 32743, 32744, 32745, 65536] {
        dumps.push(file(&format!(
            "/a 0 100644 1 0 0 0 0.0 - - - user.a={}",
            a(len)
        )));
        dumps.push(file(&format!(
            "/a 0 100644 1 0 0 0 0.0 - - - user.b=c user.a={}",
            a(len - 20)
        )));
        dumps.push(file(&format!(
            "/a 9 100644 1 0 0 0 0.0 p - - user.b={} user.a=x",
            a(len - 13)
        )));
    }
    // Inodes around block boundaries: symlinks, tails, chunk lists.
    for len in (3900..4095).step_by(7) {
        let links: String = (0..4)
            .map(|n| format!("/l{n} 0 120777 1 0 0 0 {n}.0 {} - -\n", a(len - n * 900)))
            .collect();
        dumps.push(format!("{root}\n{links}").into_bytes());
    }
    for chunks in [1, 2, 700, 1000, 1015, 1016, 1023, 1024] {
        for filler in [1, 40, 90] {
            let files: String = (0..filler)
                .map(|n| {
                    format!(
                        "/f{n} {} 100644 1 0 0 0 {n}.0 - - -\n",
                        (chunks as u64) << 43
                    )
                })
                .collect();
            dumps.push(format!("{root}\n{files}").into_bytes());
        }
    }
    dumps
}
