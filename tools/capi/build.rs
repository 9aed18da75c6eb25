// SPDX-License-Identifier: GPL-2.0-only
//! The name that programs are linked to.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcomposefs.so.1");
}
