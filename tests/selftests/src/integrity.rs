// SPDX-License-Identifier: GPL-2.0-only
//! What the tests of IMA and IPE share: where the kernel takes their policies, and programs to be
//! judged by them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::run;
use crate::tap::Skip;

/// The directory of a security module's files; skips where the kernel does not have it.
pub fn securityfs(module: &str) -> Result<PathBuf> {
    let root = Path::new("/sys/kernel/security");
    // Empty until it is mounted.
    if !root.join("lsm").exists() {
        let at = root.to_string_lossy();
        run("mount", ["-t", "securityfs", "securityfs", &at])?;
    }
    let directory = root.join(module);
    if !directory.exists() {
        return Err(Skip(format!("the kernel has no {module}")).into());
    }
    Ok(directory)
}

/// A program for this machine that needs no other file and exits with this status. It is too large
/// to be in an image.
pub fn program(status: u8) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let (machine, code) = if cfg!(target_arch = "aarch64") {
        // mov x8, 93 (exit); mov x0, status; svc 0
        let code = [
            0xd280_0ba8,
            0xd280_0000 | u32::from(status) << 5,
            0xd400_0001,
        ];
        (183, code.map(u32::to_le_bytes).concat())
    } else {
        // mov eax, 60 (exit); mov edi, status; syscall
        let code = [0xb8, 60, 0, 0, 0, 0xbf, status, 0, 0, 0, 0x0f, 0x05];
        (62, code.to_vec())
    };
    let headers = 64 + 56;
    let size = headers + code.len() as u64;

    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
    // An executable for this machine, its entry, and where its headers are, of which there is one.
    put(&[2, 0, machine, 0, 1, 0, 0, 0]);
    for word in [BASE + headers, 64, 0] {
        put(&word.to_le_bytes());
    }
    put(&[0, 0, 0, 0]);
    for half in [64_u16, 56, 1, 0, 0, 0] {
        put(&half.to_le_bytes());
    }
    // To be loaded, readable and executable: all of the file.
    put(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        put(&word.to_le_bytes());
    }
    put(&code);
    elf
}
