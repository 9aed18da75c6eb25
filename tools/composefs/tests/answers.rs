// SPDX-License-Identifier: GPL-2.0-only
//! What the command says of itself.

mod common;

use common::ok;

#[test]
fn its_version() {
    let nowhere = std::path::Path::new("/nowhere");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        ok(nowhere, &["--version"]),
        format!("composefs {version}\n")
    );
}
