// SPDX-License-Identifier: GPL-2.0-only
//! System calls that have no safe interface in Rust, made by the guest's Python.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{bail, Result};

use crate::command::capture;

/// What scripts have at hand: `call()` for functions of the C library, which raises `OSError` where
/// they return -1, and `fails()` for what must.
const PRELUDE: &str = r#"
import ctypes, errno, fcntl, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments, result=ctypes.c_long):
    function = getattr(libc, name)
    function.restype = result
    value = function(*arguments)
    if value == -1 or (result is ctypes.c_void_p and value == 2**64 - 1):
        number = ctypes.get_errno()
        raise OSError(number, name + ": " + os.strerror(number))
    return value

def fails(number, function, *arguments):
    try:
        value = function(*arguments)
    except OSError as error:
        assert error.errno == number, "%s, expected %s" % (error, errno.errorcode[number])
    else:
        raise AssertionError("%r, expected %s" % (value, errno.errorcode[number]))

argument = sys.argv[1:]
"#;

/// Runs a script, which finds `arguments` in `argument`; what it prints, or an error with the
/// exception that ended it.
pub fn run<S: AsRef<OsStr>>(script: &str, arguments: &[S]) -> Result<String> {
    let script = format!("{PRELUDE}{script}");
    let mut python = Command::new("python3");
    let result = capture(python.args(["-I", "-c", &script]).args(arguments))?;
    if !result.status.success() {
        bail!("{}", String::from_utf8_lossy(&result.stderr).trim_end());
    }
    let printed = String::from_utf8_lossy(&result.stdout);
    Ok(printed.trim_end().to_owned())
}
