// SPDX-License-Identifier: GPL-2.0-only
//! The incumbent's mount of an image (EROFS + overlayfs, by mount.composefs 1.0.8) and the
//! driver's, side by side: every difference that system calls show must be one that
//! Documentation/filesystems/composefs.rst lists.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{output, run};
use composefs_selftests::image::{build, enable_verity, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::observation::{observe, Facts};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::tree::display;
use composefs_selftests::{basic_tree, odd_tree};
use rustix::fs::{lsetxattr, mknodat, FileType, Mode, XattrFlags, CWD};

struct Pair {
    theirs: Mount,
    ours: Mount,
}

struct Context {
    odd: Pair,
    dump: Pair,
    late: Pair,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("compare")?;
    let source = work.join("source");
    odd_tree::create(&source)?;
    basic_tree::create(&source.join("basic"))?;
    access_control(&source.join("acl")).context("ACLs")?;
    overlay_attributes(&source.join("overlay")).context("overlayfs's xattrs")?;
    let image = build(&setup::mkcomposefs(), &source, &work.join("odd"), &[])?;
    let odd = mount_both(&image.request(), &work.join("odd"))?;

    let dump = mount_both_of(DUMP, &work.join("dump"))?;
    let late = mount_both_of(LATE, &work.join("late"))?;
    setup::drop_caches()?;
    Ok(Context { odd, dump, late })
}

fn mount_both_of(dump: &str, directory: &Path) -> Result<Pair> {
    let image = dump_image(dump, directory)?;
    mount_both(&image.request(), directory)
}

fn mount_both(request: &Request, directory: &Path) -> Result<Pair> {
    Ok(Pair {
        theirs: Mount::incumbent(request, &directory.join("theirs"))?,
        ours: request.at(&directory.join("ours"))?,
    })
}

/// Files that are given to others than their owner and group, by ACLs of every kind.
fn access_control(directory: &Path) -> Result<()> {
    setup::create_dir(directory)?;
    for (index, acl) in [
        "u:1000:r",
        "u:1000:---",
        "g:1001:rwx",
        "u:1000:rwx,m::r",
        "u:1000:rx,g:1001:w,o::-",
    ]
    .into_iter()
    .enumerate()
    {
        for (name, size) in [("inline", 10), ("external", 5000)] {
            let path = directory.join(format!("{name}-{index}"));
            fs::write(&path, vec![b'a'; size])?;
            set_acl(&["-m", acl], &path)?;
        }
        let path = directory.join(format!("directory-{index}"));
        setup::create_dir(&path)?;
        fs::write(path.join("below"), "below")?;
        set_acl(&["-m", acl], &path)?;
        set_acl(&["-d", "-m", acl], &path)?;
    }
    let path = directory.join("default-only");
    setup::create_dir(&path)?;
    set_acl(&["-d", "-m", "u:1000:rwx"], &path)
}

fn set_acl(arguments: &[&str], path: &Path) -> Result<()> {
    let mut command = Command::new("setfacl");
    output(command.args(arguments).arg(path)).map(drop)
}

/// What overlayfs keeps in xattrs, here as part of the tree: images hold it escaped. Whiteouts of
/// each flavour are among it.
fn overlay_attributes(directory: &Path) -> Result<()> {
    setup::create_dir(&directory.join("opaque"))?;
    setup::create_dir(&directory.join("whiteouts"))?;
    let node = |path: PathBuf| {
        mknodat(
            CWD,
            path,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            0,
        )
    };
    node(directory.join("opaque/whiteout"))?;
    node(directory.join("whiteout"))?;
    fs::write(directory.join("opaque/file"), "opaque")?;
    fs::write(directory.join("whiteouts/xattr-whiteout"), "")?;
    fs::write(directory.join("whiteouts/file"), vec![b'f'; 1000])?;
    fs::write(directory.join("escaped"), "inline")?;
    fs::write(directory.join("escaped-external"), vec![b'e'; 1000])?;
    let set = |name: &str, key: &str, value: &[u8]| {
        lsetxattr(directory.join(name), key, value, XattrFlags::empty())
            .with_context(|| format!("{key} of {name}"))
    };
    for prefix in ["trusted", "user"] {
        let key = |key: &str| format!("{prefix}.overlay.{key}");
        set("opaque", &key("opaque"), b"y")?;
        set("whiteouts", &key("opaque"), b"x")?;
        set("whiteouts/xattr-whiteout", &key("whiteout"), b"y")?;
        for file in ["escaped", "escaped-external", "whiteouts/file"] {
            set(file, &key("custom"), b"1")?;
            set(file, &key("overlay.custom"), b"2")?;
            set(file, &key("overlay.overlay.custom"), b"3")?;
            set(file, &key("redirect"), b"/elsewhere")?;
            set(file, &key("origin"), b"o")?;
            set(file, &format!("{prefix}.overlayer"), b"not overlayfs's")?;
        }
    }
    Ok(())
}

/// What only a dump can describe: hard links, link counts, whiteouts in every directory.
const DUMP: &str = "\
/ 0 40755 5 0 0 0 1.5 - - - user.root=yes
/00 0 20644 1 0 0 0 0.0 - - -
/5f 4 100644 1 0 0 0 0.0 - real -
/a 0 40755 2 1 2 0 3.000000004 - - - trusted.overlay.opaque=y
/a/whiteout 0 20000 1 0 0 0 0.0 - - -
/a/whiteout-with-xattr 0 20000 1 0 0 0 0.0 - - - user.a=b trusted.overlay.custom=c
/a/one 5 100644 3 5 6 0 7.8 - hello - user.x=y
/a/two 0 @100644 1 0 0 0 0.0 /a/one - -
/three 0 @100644 1 0 0 0 0.0 /a/one - -
/b 0 40755 2 0 0 0 0.0 - - - trusted.overlay.opaque=x user.overlay.opaque=x
/b/file 0 100644 1 0 0 0 0.0 - - - trusted.overlay.whiteout=y user.overlay.whiteout=y
/b/symlink 4 120777 1 0 0 0 0.0 a/.. - -
/b/fifo 0 10600 1 0 0 0 0.0 - - -
/b/lost 4096 100644 1 0 0 0 0.0 no/such-object - -
/c 0 40000 2 0 0 0 0.0 - - - user.overlay.whiteouts=y
/c/large 6 100644 1 4294967294 4294967294 0 0.0 - inline - user.v=LARGE
/late 2 100644 1 0 0 0 5.1000000000 - hi -
/later 0 120777 1 0 0 0 -1.4294967295 b/symlink - -
";

/// Nothing but times of a second and more of nanoseconds, the earliest of which is the build time,
/// which inodes of the short form have.
const LATE: &str = "\
/ 0 40755 3 0 0 0 7.1000000001 - - -
/file 2 100644 1 0 0 0 7.1000000001 - hi -
/directory 0 40755 2 0 0 0 7.1000000002 - - -
/directory/fifo 0 10644 1 0 0 0 8.3999999999 - - -
";

fn dump_image(lines: &str, directory: &Path) -> Result<Image> {
    let store = directory.join("store");
    setup::create_dir(&store)?;
    let lines = lines.replace("LARGE", &"v".repeat(20_000));
    let (dump, file) = (directory.join("dump"), directory.join("image"));
    fs::write(&dump, lines)?;
    let mut tool = Command::new(setup::mkcomposefs());
    output(tool.arg("--from-file").arg(&dump).arg(&file))?;
    // The incumbent mounts the file itself, of which EROFS reads whole pages only (7.3): where they
    // are larger than blocks, what is in the last one would be EIO.
    let image = File::options().write(true).open(&file)?;
    let length = image.metadata()?.len();
    image.set_len(length.next_multiple_of(setup::page_size()?))?;
    drop(image);
    let digest = enable_verity(&file)?;
    Ok(Image {
        file,
        store,
        digest,
    })
}

/// The reason for a difference that is intended, as Documentation/filesystems/composefs.rst has it.
fn intended(what: &str, theirs: &Facts, ours: &Facts) -> Option<&'static str> {
    let fact = |facts: &Facts, name: &str| facts.get(name).cloned().unwrap_or_default();
    let (their, our) = (fact(theirs, what), fact(ours, what));
    let mode = fact(ours, "mode");
    let is_regular = mode.starts_with("10");
    let attributes =
        |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default();
    let verity = if is_regular { VERITY } else { 0 };
    let size: u64 = fact(ours, "size").parse().unwrap_or_default();
    match what {
        "blocks" if is_regular && our == (size.div_ceil(4096) * 8).to_string() => {
            Some("the blocks of external files follow from their sizes")
        }
        "statx attributes" if attributes(&our) & !verity == attributes(&their) & !IMMUTABLE => {
            Some("STATX_ATTR_VERITY of verified files, and no STATX_ATTR_IMMUTABLE")
        }
        "flags" if is_regular && our.contains("0x100000") => {
            Some("FS_IOC_GETFLAGS tells of fs-verity")
        }
        "flags" if our == "IFlags(0x0)" && their == "ENOTTY" => {
            Some("FS_IOC_GETFLAGS works where EROFS has none")
        }
        "size of the xattr list" | "xattr list in too small a buffer" => {
            let listed = ours.keys().filter_map(|name| name.strip_prefix("xattr "));
            let size: usize = listed
                .filter(|name| !name.contains(" in too small"))
                .map(|name| name.len() + 1)
                .sum();
            // Not more than the names that are listed; overlayfs counts its own as well.
            (size.to_string() == fact(ours, "size of the xattr list"))
                .then_some("listxattr counts only what it lists")
        }
        "probed trusted.overlay." if their == "EINVAL" && our == "ENODATA" => {
            Some("overlayfs's prefix is not a name")
        }
        "content" if their == "ENOENT" && our == "EIO" => {
            Some("a file whose object is missing is there, and cannot be read")
        }
        _ => None,
    }
}

const VERITY: u64 = 0x10_0000;
const IMMUTABLE: u64 = 0x10;

fn compare(pair: &Pair) -> Result<()> {
    let theirs = observe(pair.theirs.root()).context("the incumbent's")?;
    let ours = observe(pair.ours.root()).context("ours")?;
    let paths: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    let (mut observed, none) = (0, Facts::new());
    for path in &paths {
        let (theirs, ours) = (
            theirs.get(*path).unwrap_or(&none),
            ours.get(*path).unwrap_or(&none),
        );
        let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        for name in names {
            observed += 1;
            let (their, our) = (theirs.get(name), ours.get(name));
            if their == our {
                continue;
            }
            match intended(name, theirs, ours) {
                Some(reason) => *reasons.entry(reason).or_default() += 1,
                None => {
                    let path = display(path);
                    differences.push(format!("{path}: {name}: {their:?}, ours {our:?}"));
                }
            }
        }
    }
    tap::note(format_args!(
        "{observed} observations of {} entries",
        paths.len()
    ));
    for (reason, count) in reasons {
        tap::note(format_args!("intended, {count} times: {reason}"));
    }
    ensure!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    Ok(())
}

fn odd(context: &mut Context) -> Result<()> {
    compare(&context.odd)
}

fn odd_again(context: &mut Context) -> Result<()> {
    compare(&context.odd)
}

fn dump(context: &mut Context) -> Result<()> {
    compare(&context.dump)
}

fn late(context: &mut Context) -> Result<()> {
    compare(&context.late)
}

/// What each of several users may do, as access(2) says: owners, groups and ACLs decide.
fn permissions(context: &mut Context) -> Result<()> {
    let users = [
        ("0", "0"),
        ("1000", "1000"),
        ("1002", "1001"),
        ("65534", "65534"),
    ];
    for (user, group) in users {
        let mut seen = Vec::new();
        for mount in [&context.odd.theirs, &context.odd.ours] {
            let mut find = Command::new("setpriv");
            find.args(["--reuid", user, "--regid", group, "--clear-groups"]);
            find.args(["find", ".", "-printf", "%p"]);
            for (test, letter) in [("-readable", "r"), ("-writable", "w"), ("-executable", "x")] {
                find.args([
                    "(",
                    test,
                    "-printf",
                    &format!(" {letter}"),
                    "-o",
                    "-true",
                    ")",
                ]);
            }
            find.args(["-printf", "\n"]).current_dir(mount.root());
            let found = find.output().context("find")?;
            let mut lines: Vec<_> = found.stdout.split(|byte| *byte == b'\n').collect();
            lines.sort_unstable();
            let lines: Vec<String> = lines
                .into_iter()
                .map(|line| line.escape_ascii().to_string())
                .collect();
            ensure!(lines.len() > 100, "find found {} entries", lines.len());
            seen.push(lines);
        }
        let [theirs, ours] = seen.as_slice() else {
            continue;
        };
        for (their, our) in theirs.iter().zip(ours) {
            ensure!(their == our, "user {user}: {their}, ours {our}");
        }
        ensure!(theirs.len() == ours.len(), "user {user} sees more");
    }
    Ok(())
}

/// The tools that copy and show trees say the same of both.
fn tools(context: &mut Context) -> Result<()> {
    for (script, what) in [
        ("getfacl -R -n . 2>&1 | sha256sum", "getfacl"),
        (
            "getfattr -R -h -d -m - -e hex . 2>&1 | sha256sum",
            "getfattr",
        ),
        (
            "tar --sort=name --numeric-owner --xattrs '--xattrs-include=*' --acls -cf - . \
             2>/dev/null | sha256sum",
            "tar",
        ),
    ] {
        let mut seen = Vec::new();
        for mount in [&context.odd.theirs, &context.odd.ours] {
            let script = format!("cd {} && {script}", mount.root().display());
            seen.push(run("sh", ["-c", &script])?);
        }
        tap::note(format_args!("{what}: {}", seen.concat()));
        ensure!(seen.first() == seen.last(), "{what} shows a difference");
    }
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("a tree with one of everything, cold", odd),
    ("the same tree, cached", odd_again),
    ("a tree that only a dump describes", dump),
    ("times with seconds of nanoseconds", late),
    ("what users may do", permissions),
    ("getfacl, getfattr and tar", tools),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
