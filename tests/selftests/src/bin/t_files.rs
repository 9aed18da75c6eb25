// SPDX-License-Identifier: GPL-2.0-only
//! What else can be done with an open file than to read it: on files in the store and on files in
//! the image alike.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{IoSliceMut, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::image::{build, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};
use composefs_selftests::verity::{hex_digest, Algorithm};
use rustix::fs::{copy_file_range, ioctl_getflags, sendfile, statx, AtFlags, StatxFlags};
use rustix::io::{preadv2, Errno, ReadWriteFlags};
use rustix::mount::{mount, MountFlags};
use rustix::pipe::{pipe, splice, tee, SpliceFlags};

/// One file in the store, large and small, and two in the image.
const FILES: [&str; 4] = ["external-1m", "external-4097", "inline-64", "empty"];

struct Context {
    work: PathBuf,
    image: Image,
    mount: Mount,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("files")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    // Data between two holes, in whole blocks.
    let mut sparse = vec![0; SPARSE];
    sparse[ISLAND..ISLAND + 4096].fill(b'i');
    fs::write(source.join("sparse"), &sparse)?;
    let image = build(&setup::mkcomposefs(), &source, &work, &[])?;
    let mount = image.request().at(&work.join("mount"))?;
    setup::drop_caches()?;
    Ok(Context { work, image, mount })
}

const SPARSE: usize = 1 << 20;
const ISLAND: usize = 512 * 1024;

fn each(context: &Context, test: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    basic_tree::each(context.mount.root(), &FILES, test)
}

fn each_script(context: &Context, script: &str) -> Result<()> {
    basic_tree::each_script(context.mount.root(), &FILES, script)
}

/// Cached data is read without waiting; whatever comes without it is right.
fn no_wait(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let file = File::open(path)?;
        let mut cold = vec![0; content.len()];
        match preadv2(
            &file,
            &mut [IoSliceMut::new(&mut cold)],
            0,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(length) => ensure!(cold.get(..length) == content.get(..length), "cold read"),
            Err(Errno::AGAIN) => {}
            Err(errno) => bail!("cold: {errno}"),
        }
        ensure!(fs::read(path)? == content, "content differs");
        let mut warm = vec![0; content.len() + 1];
        let length = preadv2(
            &file,
            &mut [IoSliceMut::new(&mut warm)],
            0,
            ReadWriteFlags::NOWAIT,
        )
        .context("warm")?;
        ensure!(
            warm.get(..length) == Some(content),
            "{length} bytes of {} without waiting",
            content.len()
        );
        Ok(())
    })
}

const MAP: &str = include_str!("../../python/map.py");

fn map(context: &mut Context) -> Result<()> {
    each_script(context, MAP)
}

/// A page behind the last one of a mapping is no memory.
fn map_past_the_end(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let script = include_str!("../../python/map_past_the_end.py");
        let size = content.len().to_string();
        python::run(script, &[path.as_os_str(), size.as_ref()]).map(drop)
    })
}

fn send(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    each(context, |path, content| {
        let file = File::open(path)?;
        let out = File::create(&copy)?;
        let mut offset = 0;
        while sendfile(&out, &file, Some(&mut offset), 100_000)? > 0 {}
        ensure!(offset == content.len() as u64, "{offset} bytes were sent");
        ensure!(fs::read(&copy)? == content, "content differs");
        Ok(())
    })
}

fn splice_and_tee(context: &mut Context) -> Result<()> {
    each(context, |path, content| {
        let file = File::open(path)?;
        let ((out, into), (second_out, second_into)) = (pipe()?, pipe()?);
        let none = SpliceFlags::empty();
        let (mut offset, mut copy, mut second_copy) = (0, Vec::new(), Vec::new());
        loop {
            let length = splice(&file, Some(&mut offset), &into, None, 8192, none)?;
            if length == 0 {
                break;
            }
            ensure!(tee(&out, &second_into, length, none)? == length, "tee");
            for (pipe, copy) in [(&out, &mut copy), (&second_out, &mut second_copy)] {
                let mut part = vec![0; length];
                File::from(pipe.try_clone()?).read_exact(&mut part)?;
                copy.extend(part);
            }
        }
        ensure!(copy == content && second_copy == content, "content differs");
        Ok(())
    })
}

fn copy_out(context: &mut Context) -> Result<()> {
    let copy = context.work.join("copy");
    each(context, |path, content| {
        let file = File::open(path)?;
        let out = File::create(&copy)?;
        let mut offset = 0;
        loop {
            match copy_file_range(&file, Some(&mut offset), &out, None, 1 << 20) {
                Ok(0) => break,
                Ok(_) => {}
                // Between different filesystems, programs then copy by themselves.
                Err(Errno::XDEV) => {
                    tap::note("copy_file_range: EXDEV");
                    return Ok(());
                }
                Err(errno) => bail!("{errno}"),
            }
        }
        ensure!(fs::read(&copy)? == content, "content differs");
        Ok(())
    })?;
    let (source, copy) = (context.mount.join(FILES[0]), copy.to_string_lossy());
    run("cp", ["--reflink=auto", &source.to_string_lossy(), &copy])?;
    ensure!(
        fs::read(&*copy)? == basic_tree::content(FILES[0]),
        "cp's differs"
    );
    Ok(())
}

/// O_DIRECT is taken whatever a file's size and its object's filesystem (there is no direct I/O on
/// ramfs), and served from the page cache.
fn direct(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = include_str!("../../python/direct.py");
    each_script(context, SCRIPT)?;

    let target = context.work.join("ramfs");
    setup::create_dir(&target)?;
    mount("ramfs", &target, "ramfs", MountFlags::empty(), c"")?;
    let ramfs = Mount::adopt(&target);
    let (from, to) = (context.image.store.to_string_lossy(), ramfs.join("store"));
    let to = to.to_string_lossy();
    run("cp", ["-r", "--no-preserve=all", &from, &to])?;
    let request = Request::new(&context.image.file).set("basedir", &to);
    let mount = request
        .set("verity", "off")
        .at(&context.work.join("on-ramfs"))?;
    let plain = SCRIPT.replace(", os.RWF_NOWAIT", "");
    basic_tree::each_script(mount.root(), &FILES, &plain).context("objects on ramfs")
}

/// Mappings of two megabytes are where huge pages can be, as those of the object are.
fn alignment(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = include_str!("../../python/direct_alignment.py");
    const NAME: &str = "directory/external-3m";
    // With PREEMPT_RT there are none, and on ARM machines they may be larger: where mappings are is
    // chance then.
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    if size.ok().as_deref() != Some("2097152\n") {
        return Err(Skip("the kernel has no huge pages of two megabytes".into()).into());
    }
    let ours = python::run(SCRIPT, &[context.mount.join(NAME)])?;
    let object = context.image.object(&basic_tree::content(NAME));
    let expected = python::run(SCRIPT, &[object])?;
    ensure!(ours == expected, "{ours}, of the object {expected}");
    Ok(())
}

const ADVISE: &str = include_str!("../../python/advise.py");

fn advise(context: &mut Context) -> Result<()> {
    each_script(context, ADVISE)
}

/// Either as the object has them, or as one piece of data; never a hole where data is.
fn holes(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = include_str!("../../python/holes.py");
    each_script(context, SCRIPT)?;
    let sparse = context.mount.join("sparse");
    let size = SPARSE.to_string();
    let run = python::run(SCRIPT, &[sparse.as_os_str(), size.as_ref()]);
    run.context("sparse").map(drop)
}

/// FIEMAP says where the data of the object is on its disk, as that says itself; there is no such
/// place for a file in the image.
fn extents(context: &mut Context) -> Result<()> {
    const SCRIPT: &str = include_str!("../../python/extents.py");
    each(context, |path, content| {
        let ours = python::run(SCRIPT, &[path])?;
        let expected = if content.len() > 64 {
            python::run(SCRIPT, &[context.image.object(content)])?
        } else {
            "not supported".into()
        };
        ensure!(ours == expected, "{ours}, expected {expected}");
        Ok(())
    })?;
    // What users run where that is not there.
    let path = context.mount.join(FILES[0]);
    run(
        "cp",
        ["--sparse=always", &path.to_string_lossy(), "/dev/null"],
    )
    .map(drop)
}

/// What statx says of a file, FS_IOC_GETFLAGS says, too.
fn attributes(context: &mut Context) -> Result<()> {
    // They are the same bits: compressed, immutable, append-only, no dump, encrypted, fs-verity.
    const COMMON: u64 = 0x4 | 0x10 | 0x20 | 0x40 | 0x800 | 0x10_0000;
    for name in FILES.iter().copied().chain(["directory", ""]) {
        let file = File::open(context.mount.join(name))?;
        let stat = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let attributes = stat.stx_attributes.bits() & COMMON;
        let flags = u64::from(ioctl_getflags(&file)?.bits()) & COMMON;
        ensure!(
            attributes == flags,
            "{name}: {attributes:#x} and {flags:#x}"
        );
    }
    Ok(())
}

/// The digest and the flag of verified files; others have neither.
fn verity(context: &mut Context) -> Result<()> {
    const FLAGS: &str = include_str!("../../python/attributes.py");
    each(context, |path, content| {
        let seen = python::run(FLAGS, &[path])?;
        let mut lines = seen.lines();
        let (flag, digest) = (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        );
        if content.len() > 64 {
            let expected = format!("1 {}", hex_digest(Algorithm::Sha256, content));
            ensure!(flag == "verity", "{flag}");
            ensure!(digest == expected, "{digest}");
            let text = path.to_string_lossy();
            let measured = run("fsverity", ["measure", &text])?;
            ensure!(measured.contains(&expected[2..]), "{measured}");
            ensure!(run("lsattr", [&*text])?.contains('V'), "lsattr shows no V");
        } else {
            ensure!(flag == "no verity", "{flag}");
            ensure!(
                matches!(digest, "ENODATA" | "ENOTTY" | "EOPNOTSUPP"),
                "{digest}"
            );
        }
        Ok(())
    })?;
    // A directory, and a request that changes something.
    python::run(
        include_str!("../../python/measure_verity.py"),
        &[context.mount.root()],
    )
    .map(drop)
}

const CASES: &[Case<Context>] = &[
    ("preadv2 with RWF_NOWAIT", no_wait),
    ("mmap, mremap, mlock, mprotect, madvise", map),
    ("mmap past the end", map_past_the_end),
    ("sendfile", send),
    ("splice and tee", splice_and_tee),
    ("copy_file_range", copy_out),
    ("O_DIRECT", direct),
    ("where mappings are", alignment),
    ("posix_fadvise and readahead", advise),
    ("SEEK_DATA and SEEK_HOLE", holes),
    ("FIEMAP", extents),
    ("statx and FS_IOC_GETFLAGS", attributes),
    ("FS_IOC_GETFLAGS and FS_IOC_MEASURE_VERITY", verity),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
