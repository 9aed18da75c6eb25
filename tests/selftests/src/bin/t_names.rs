// SPDX-License-Identifier: GPL-2.0-only
//! Names and xattrs of all lengths, in large and deep directories.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::output;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tasks;
use rustix::fs::{lgetxattr, lgetxattr_query, llistxattr, llistxattr_query, openat, Mode, OFlags};
use rustix::io::Errno;

/// Entries of the large directory.
const ENTRIES: usize = 100_000;

/// Directories in one another, whose path is nearly as long as a path may be.
const LEVELS: usize = 2000;

/// Close to the largest value that mkcomposefs writes: all xattrs of a file take at most 32767 bytes.
const LARGEST_VALUE: usize = 28_000;

struct Context {
    mount: Mount,
}

fn name(number: usize) -> String {
    // Every length from a few bytes to 40, so that entries end everywhere in a block.
    format!("{number}{}", "-".repeat(number % 35))
}

/// A name with every byte that names can have, which is the same twice but for the last byte.
fn odd_names() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let mut names: Vec<Vec<u8>> = bytes
        .iter()
        .filter(|byte| **byte != b'.')
        .map(|byte| vec![*byte])
        .collect();
    names.extend(bytes.iter().map(|byte| vec![b'x', *byte]));
    names.push(bytes);
    for length in [2, 63, 64, 127, 128, 254, 255] {
        for last in [b'a', b'b', 0xff] {
            let mut name = vec![b'l'; length - 1];
            name.push(last);
            names.push(name);
        }
    }
    names
}

fn escape(name: &[u8]) -> String {
    name.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(text, "{}", char::from(*byte)),
            byte => write!(text, "\\x{byte:02x}"),
        };
        text
    })
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("names")?;
    let mut dump = String::from("/ 0 40755 5 0 0 0 0.0 - - -\n/large 0 40755 2 0 0 0 0.0 - - -\n");
    for number in 0..ENTRIES {
        let kind = if number % 100 == 0 {
            "40755 2"
        } else {
            "100644 1"
        };
        writeln!(
            dump,
            "/large/{} 0 {kind} {number} 0 0 0.0 - - -",
            name(number)
        )?;
    }
    dump.push_str("/odd 0 40755 2 0 0 0 0.0 - - -\n");
    for (number, name) in odd_names().iter().enumerate() {
        writeln!(
            dump,
            "/odd/{} 0 100644 1 {number} 0 0 0.0 - - -",
            escape(name)
        )?;
    }
    let mut path = String::new();
    for level in 0..LEVELS {
        path.push_str("/d");
        writeln!(dump, "{path} 0 40755 3 {level} 0 0 0.0 - - -")?;
    }
    writeln!(dump, "{path}/f 2 100644 1 0 0 0 0.0 - ok -")?;
    let value = |letter: &str, length| letter.repeat(length);
    writeln!(
        dump,
        "/xattrs 0 100644 1 0 0 0 0.0 - - - user.empty= user.one=1 user.page={} user.largest={} \
         trusted.t=secret security.s=label",
        value("p", 4096),
        value("v", LARGEST_VALUE)
    )?;
    write!(dump, "/many-xattrs 0 100644 1 0 0 0 0.0 - - -")?;
    for number in 0..400 {
        write!(dump, " user.{}{number}={number}", "n".repeat(number % 100))?;
    }
    dump.push('\n');
    let (file, image) = (work.join("dump"), work.join("image"));
    fs::write(&file, dump)?;
    let mut tool = Command::new(setup::mkcomposefs());
    output(tool.arg("--from-file").arg(&file).arg(&image))?;
    let mount = Request::new(&image).at(&work.join("mount"))?;
    setup::drop_caches()?;
    Ok(Context { mount })
}

fn listed(path: &Path) -> Result<Vec<Vec<u8>>> {
    let items = fs::read_dir(path)?;
    items
        .map(|item| Ok(item?.file_name().as_bytes().to_vec()))
        .collect()
}

fn odd(context: &mut Context) -> Result<()> {
    let directory = context.mount.join("odd");
    let names: BTreeSet<_> = odd_names().into_iter().collect();
    let seen: BTreeSet<_> = listed(&directory)?.into_iter().collect();
    ensure!(seen == names, "{} names of {}", seen.len(), names.len());
    for (number, name) in odd_names().iter().enumerate() {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::symlink_metadata(directory.join(OsStr::from_bytes(name)))
            .with_context(|| escape(name))?;
        ensure!(
            metadata.uid() as usize == number,
            "{} is another",
            escape(name)
        );
    }
    Ok(())
}

/// Names that are not there, similar to ones that are; too long ones.
fn missing(context: &mut Context) -> Result<()> {
    let directory = context.mount.join("odd");
    let there: BTreeSet<_> = odd_names().into_iter().collect();
    for mut name in odd_names() {
        for last in [b'!', 0xfe, b'A'] {
            if let Some(byte) = name.last_mut() {
                *byte = last;
            }
            let found = fs::symlink_metadata(directory.join(OsStr::from_bytes(&name)));
            ensure!(
                found.is_ok() == there.contains(&name),
                "{}: {found:?}",
                escape(&name)
            );
        }
    }
    let long = rustix::fs::lstat(directory.join("x".repeat(256)));
    ensure!(
        long.is_err_and(|errno| errno == Errno::NAMETOOLONG),
        "256 bytes"
    );
    Ok(())
}

/// What is not there is remembered, too.
fn negative_dentries(context: &mut Context) -> Result<()> {
    let negative = || -> Result<i64> {
        let state = fs::read_to_string("/proc/sys/fs/dentry-state")?;
        let field = state.split_whitespace().nth(4).context("dentry-state")?;
        Ok(field.parse()?)
    };
    setup::drop_caches()?;
    let before = negative()?;
    for _ in 0..2 {
        for number in 0..2000 {
            let path = context.mount.join(format!("large/no-{number}"));
            let found = rustix::fs::lstat(&path);
            ensure!(
                found.is_err_and(|errno| errno == Errno::NOENT),
                "no-{number}"
            );
        }
    }
    let grown = negative()? - before;
    ensure!(
        (1900..3500).contains(&grown),
        "{grown} more negative dentries, expected 2000"
    );
    Ok(())
}

fn large(context: &mut Context) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let directory = context.mount.join("large");
    let names: BTreeSet<_> = (0..ENTRIES)
        .map(|number| name(number).into_bytes())
        .collect();
    let seen = listed(&directory)?;
    ensure!(seen.len() == ENTRIES, "{} names", seen.len());
    ensure!(
        seen.into_iter().collect::<BTreeSet<_>>() == names,
        "other names"
    );
    for number in (0..ENTRIES).step_by(37) {
        let metadata = fs::symlink_metadata(directory.join(name(number)))?;
        ensure!(
            metadata.uid() as usize == number,
            "{} is another",
            name(number)
        );
        ensure!(metadata.is_dir() == (number % 100 == 0), "{}", name(number));
    }
    Ok(())
}

fn positions(context: &mut Context) -> Result<()> {
    python::run(
        include_str!("../../python/positions.py"),
        &[
            context.mount.join("large").as_os_str(),
            ENTRIES.to_string().as_ref(),
        ],
    )
    .map(drop)
}

/// Several threads list it, look names up, and the caches are dropped meanwhile.
fn together(context: &mut Context) -> Result<()> {
    let directory = context.mount.join("large");
    setup::drop_caches()?;
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for worker in 0..4_usize {
            let directory = &directory;
            workers.push(scope.spawn(move || -> Result<()> {
                let seen = listed(directory)?;
                ensure!(seen.len() == ENTRIES, "{} names", seen.len());
                for number in (worker..ENTRIES).step_by(997) {
                    fs::symlink_metadata(directory.join(name(number)))?;
                }
                Ok(())
            }));
        }
        for _ in 0..5 {
            setup::drop_caches()?;
        }
        for worker in workers {
            tasks::join(worker)?;
        }
        Ok(())
    })
}

fn deep(context: &mut Context) -> Result<()> {
    let relative = vec!["d"; LEVELS].join("/");
    let path = context.mount.join(format!("{relative}/f"));
    if path.as_os_str().len() < 4096 {
        ensure!(fs::read(&path)? == b"ok", "by its path");
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut directory = openat(rustix::fs::CWD, context.mount.root(), flags, Mode::empty())?;
    for level in 0..LEVELS {
        directory = openat(&directory, "d", flags, Mode::empty())
            .with_context(|| format!("level {level}"))?;
    }
    setup::drop_caches()?;
    openat(&directory, "f", OFlags::RDONLY, Mode::empty())?;
    for level in 0..LEVELS {
        directory = openat(&directory, "..", flags, Mode::empty())
            .with_context(|| format!("up from level {level}"))?;
    }
    let (root, top) = (
        rustix::fs::lstat(context.mount.root())?,
        rustix::fs::fstat(&directory)?,
    );
    ensure!(root.st_ino == top.st_ino, "not at the root again");
    Ok(())
}

/// One xattr with buffers of all kinds.
fn value(path: &PathBuf, name: &str, expected: &[u8]) -> Result<()> {
    ensure!(
        lgetxattr_query(path, name)? == expected.len(),
        "size of {name}"
    );
    let mut exact = vec![0; expected.len()];
    if !expected.is_empty() {
        let length = lgetxattr(path, name, &mut exact[..])?;
        ensure!(
            length == expected.len() && exact == expected,
            "{name} in a buffer of its size"
        );
        // A buffer of no bytes asks for the size.
        if expected.len() > 1 {
            let short = lgetxattr(path, name, &mut exact[..expected.len() - 1]);
            ensure!(
                short == Err(Errno::RANGE),
                "{name} in a short buffer: {short:?}"
            );
            let shortest = lgetxattr(path, name, &mut exact[..1]);
            ensure!(
                shortest == Err(Errno::RANGE),
                "{name} in one byte: {shortest:?}"
            );
        }
    }
    let mut large = vec![0; 65_536];
    let length = lgetxattr(path, name, &mut large[..])?;
    ensure!(
        large.get(..length) == Some(expected),
        "{name} in a large buffer"
    );
    Ok(())
}

fn xattr_values(context: &mut Context) -> Result<()> {
    let path = context.mount.join("xattrs");
    value(&path, "user.empty", b"")?;
    value(&path, "user.one", b"1")?;
    value(&path, "user.page", &[b'p'; 4096])?;
    value(&path, "user.largest", &vec![b'v'; LARGEST_VALUE])?;
    value(&path, "trusted.t", b"secret")?;
    value(&path, "security.s", b"label")?;
    for missing in ["user.on", "user.one1", "user.ONE", "trusted.one", "user.n"] {
        let found = lgetxattr_query(&path, missing);
        ensure!(found == Err(Errno::NODATA), "{missing}: {found:?}");
    }
    let none = lgetxattr_query(&path, "nothing.known");
    ensure!(
        none == Err(Errno::OPNOTSUPP),
        "an unknown namespace: {none:?}"
    );
    Ok(())
}

fn xattr_lists(context: &mut Context) -> Result<()> {
    for (file, count) in [("xattrs", 6), ("many-xattrs", 400), ("large", 0)] {
        let path = context.mount.join(file);
        let size = llistxattr_query(&path)?;
        let mut list = vec![0; size];
        if size > 0 {
            ensure!(
                llistxattr(&path, &mut list[..])? == size,
                "{file}: the size"
            );
            for short in [1, size / 2, size - 1] {
                let result = llistxattr(&path, &mut vec![0; short][..]);
                ensure!(
                    result == Err(Errno::RANGE),
                    "{file}, {short} bytes: {result:?}"
                );
            }
        }
        let names: Vec<_> = list
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .collect();
        ensure!(names.len() == count, "{file}: {} names", names.len());
        for name in names {
            lgetxattr_query(&path, name).with_context(|| name.escape_ascii().to_string())?;
        }
    }
    // Who is not privileged does not see trusted ones.
    let mut user = Command::new("setpriv");
    user.args([
        "--reuid",
        "1000",
        "--regid",
        "1000",
        "--clear-groups",
        "--bounding-set=-all",
    ]);
    user.args(["getfattr", "-d", "-m", "-", "--absolute-names"]);
    let seen = output(user.arg(context.mount.join("xattrs")))?;
    ensure!(
        seen.contains("user.one") && seen.contains("security.s"),
        "{seen:.200}"
    );
    ensure!(
        !seen.contains("trusted"),
        "an unprivileged user sees trusted xattrs"
    );
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("names of every byte and length", odd),
    ("names that are not there", missing),
    ("negative dentries", negative_dentries),
    ("100,000 entries", large),
    ("telldir and seekdir", positions),
    ("several readers, and dropped caches", together),
    ("deep directories", deep),
    ("xattr values of all lengths", xattr_values),
    ("xattr lists", xattr_lists),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
