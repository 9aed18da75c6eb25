// SPDX-License-Identifier: GPL-2.0-only
//! Single programs in a guest: the demo, and the fuzzer of the kernel.

use std::fs::{self, File};
use std::io::Write;

use anyhow::{Context, Result};

use crate::jobs::Jobs;
use crate::suite::Suite;
use crate::{note, payload, place, qemu, vm};

/// `scripts/fuzz-kernel`: mounts damaged images and looks at them from all sides.
pub fn fuzz_kernel(count: u32, first: u32, suite: Suite) -> Result<i32> {
    let logs = place::build("fuzz-kernel/x")?.with_file_name("");
    let _ = fs::remove_dir_all(&logs);
    fs::create_dir_all(&logs)?;
    let payload = logs.join("payload");
    payload::make(&payload::Options {
        tests: true,
        bench: false,
        suite,
        module: None,
        part: None,
        dir: payload.clone(),
    })?;
    note!("fuzzing the kernel with {count} images (usually 5 a second)");
    let options = vm::Options {
        payload: Some(payload),
        timeout: Some(0),
        machine: qemu::Machine {
            memory: "3G".into(),
            ..Default::default()
        },
        suite,
        log: Some(logs.join("console.log")),
    };
    let command = [
        "/opt/composefs/tests/fuzz_images".into(),
        first.to_string().into(),
        count.to_string().into(),
    ];
    let mut tap = File::create(logs.join("tap"))?;
    let mut tell = |line: &[u8]| {
        let _ = std::io::stdout()
            .write_all(line)
            .and_then(|()| tap.write_all(line));
    };
    vm::run(&options, &vm::Program::Command(command.to_vec()), &mut tell)
}

/// `scripts/demo`: shows what composefs does, on a real operating system tree and a stock kernel.
pub fn demo() -> Result<i32> {
    if !place::cache()?.join("versions").exists() {
        note!(
            "The first run fetches a compiler, a kernel and a Debian system: some 6 minutes,\n\
             about 900 MB from the network, 5 GB in {}\n\
             (make clean-cache removes it all). Later runs take a minute or two.\n",
            place::cache()?.display()
        );
    }
    let run = vm::RunDirectory::new()?;
    let payload = run.path("payload");
    let path = payload
        .to_str()
        .context("the path of the cache is not text")?;
    // Unpacking a Debian system is a matter of the network and the disk; meanwhile the processors
    // can compile.
    let mut jobs = Jobs::new()?;
    jobs.start(&["machine", "path"], false)?;
    jobs.start(&["guest", "root"], false)?;
    jobs.start(&["payload", path], false)?;
    jobs.wait()?;
    fs::copy(
        place::checkout("scripts/in-guest/demo"),
        payload.join("demo"),
    )?;
    note!("booting a guest (usually 10 seconds)");
    let colour = if rustix::termios::isatty(std::io::stdout()) {
        "1"
    } else {
        ""
    };
    let options = vm::Options {
        payload: Some(payload),
        timeout: Some(1800),
        machine: qemu::Machine::default(),
        suite: Suite::Trixie,
        log: None,
    };
    let command = [
        "env".into(),
        format!("DEMO_COLOUR={colour}").into(),
        "/opt/composefs/demo".into(),
    ];
    let mut tell = |line: &[u8]| {
        let _ = std::io::stdout().write_all(line);
    };
    vm::run(&options, &vm::Program::Command(command.to_vec()), &mut tell)
}
