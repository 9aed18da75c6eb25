// SPDX-License-Identifier: GPL-2.0-only
//! Running both tools, and comparing what they do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common;
use crate::rng::Rng;

/// Where the C tools are, and what they are compared with.
#[derive(Clone)]
pub struct Tools {
    c: PathBuf,
    /// The directory of our libcomposefs.so.1, where that is compared: the C tools on it.
    library: Option<PathBuf>,
    strict: bool,
}

impl Tools {
    pub fn find() -> Self {
        let c = std::env::var_os("COMPOSEFS_C_TOOLS");
        let c = PathBuf::from(c.expect("COMPOSEFS_C_TOOLS is set"));
        assert!(c.join("mkcomposefs").exists(), "no mkcomposefs in {c:?}");
        Self {
            c,
            library: None,
            strict: false,
        }
    }

    /// The C tools, to be compared with themselves on our library.
    pub fn on_library() -> Self {
        let library = std::env::var_os("COMPOSEFS_CAPI");
        let library = PathBuf::from(library.expect("COMPOSEFS_CAPI is set"));
        assert!(library.join("libcomposefs.so.1").exists(), "{library:?}");
        Self {
            library: Some(library),
            ..Self::find()
        }
    }

    /// The tools with the variable set that makes them refuse dumps which contradict themselves.
    pub fn strict(&self) -> Self {
        Self {
            strict: true,
            ..self.clone()
        }
    }

    /// A directory for one of their comparisons.
    pub fn case(&self, name: &str, seed: u64) -> Case {
        match self.library {
            Some(_) => Case::new(&format!("library-{name}"), seed),
            None => Case::new(name, seed),
        }
    }

    fn c(&self, name: &str) -> Command {
        self.command(&self.c.join(name))
    }

    fn ours(&self, name: &str) -> Command {
        if let Some(library) = &self.library {
            let root = self.c.join("root/usr");
            let mut libraries = library.clone().into_os_string();
            libraries.push(":");
            libraries.push(root.join("lib/x86_64-linux-gnu"));
            let mut command = self.command(&root.join("lib64/ld-linux-x86-64.so.2"));
            command.arg("--library-path").arg(libraries);
            command.arg(root.join("bin").join(name));
            return command;
        }
        self.built(name)
    }

    /// The tool that is ours altogether.
    fn built(&self, name: &str) -> Command {
        let built = match name {
            "mkcomposefs" => env!("CARGO_BIN_EXE_mkcomposefs"),
            _ => env!("CARGO_BIN_EXE_composefs-info"),
        };
        self.command(&common::tool(name, built))
    }

    fn command(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        if self.strict {
            command.env("CFS_PARSE_STRICT", "1");
        }
        command
    }
}

/// A directory for one comparison; it stays if that fails.
pub struct Case {
    dir: PathBuf,
}

impl Case {
    pub fn new(name: &str, seed: u64) -> Self {
        Self {
            dir: common::directory(&format!("{name}-{seed}")),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn done(self) {
        fs::remove_dir_all(&self.dir).expect("remove directory");
    }
}

fn output(command: &mut Command) -> Output {
    command.output().expect("run a tool")
}

pub fn version_options(rng: &mut Rng) -> Vec<OsString> {
    let options: &[&str] = match rng.below(8) {
        0 => &["--min-version=0", "--max-version=0"],
        1 => &["--min-version=1"],
        2 => &["--max-version=1"],
        3 => &["--max-version=0"],
        4 => &["--min-version", "1", "--max-version", "0"],
        _ => &[],
    };
    options.iter().map(OsString::from).collect()
}

pub fn walk_options(rng: &mut Rng) -> Vec<OsString> {
    let mut options: Vec<OsString> = Vec::new();
    for option in ["--use-epoch", "--skip-devices"] {
        if rng.one_in(4) {
            options.push(option.into());
        }
    }
    match rng.below(6) {
        0 => options.push("--skip-xattrs".into()),
        1 => options.push("--user-xattrs".into()),
        _ => {}
    }
    if rng.one_in(3) {
        options.push(format!("--threads={}", 1 + rng.below(4)).into());
    }
    options
}

/// What only ours refuses: the C tool makes an image of it that is of no use.
const REFUSED: [&str; 6] = [
    "is not a digest of",
    "is larger than 8 PiB",
    "the path of an object is longer than",
    ", which is a directory",
    ", which is a whiteout",
    "a whiteout cannot have a second link",
];

/// Makes an image with both tools. Returns whether the C tool makes one; ours must do the same.
pub fn assert_same_images(tools: &Tools, case: &Case, options: &[OsString], source: &Path) -> bool {
    let mut arguments: Vec<OsString> = options.to_vec();
    arguments.push("--print-digest".into());
    arguments.push(source.into());
    let (image_c, image_ours) = (case.path("c.img"), case.path("ours.img"));
    let _ = fs::remove_file(&image_ours);
    let c = output(tools.c("mkcomposefs").args(&arguments).arg(&image_c));
    let ours = output(tools.ours("mkcomposefs").args(&arguments).arg(&image_ours));
    let stderr = String::from_utf8_lossy(&ours.stderr);
    let dir = &case.dir;
    if c.status.code().is_none() {
        // It crashed; whatever ours does is better, as long as it does not crash.
        assert!(ours.status.code().is_some(), "{dir:?}: both crash");
        return false;
    }
    if c.status.success() && !ours.status.success() {
        // The library refuses what our own tool does, but in fewer words.
        let said = match &tools.library {
            Some(_) => output(tools.built("mkcomposefs").args(&arguments).arg(&image_ours)).stderr,
            None => ours.stderr.clone(),
        };
        let said = String::from_utf8_lossy(&said);
        let known = REFUSED.iter().any(|cause| said.contains(cause));
        assert!(known, "{dir:?}: {stderr}{said}");
        return true;
    }
    assert_eq!(c.status.code(), ours.status.code(), "{dir:?}: {stderr}");
    if !c.status.success() {
        if tools.library.is_some() {
            assert_eq!(c.stderr, ours.stderr, "{dir:?}");
        } else {
            assert_eq!(stderr.lines().count(), 1, "{dir:?}: {stderr}");
            assert!(!image_ours.exists(), "{dir:?}: half an image");
        }
        return false;
    }
    assert_eq!(c.stdout, ours.stdout, "{dir:?}: digest");
    let same =
        fs::read(&image_c).expect("read image") == fs::read(&image_ours).expect("read image");
    assert!(same, "{dir:?}: images differ with {arguments:?}");

    let mut only = options.to_vec();
    only.push("--print-digest-only".into());
    let only = output(tools.ours("mkcomposefs").args(&only).arg(source));
    assert_eq!(c.stdout, only.stdout, "{dir:?}: --print-digest-only");
    true
}

/// Compares what `composefs-info` says of the image that was made.
pub fn assert_same_info(tools: &Tools, case: &Case, rng: &mut Rng) {
    let image = case.path("c.img");
    let dir = &case.dir;
    for command in ["ls", "dump", "objects", "missing-objects", "measure-file"] {
        let mut arguments = vec![OsString::from(command), image.clone().into()];
        if command != "measure-file" && rng.one_in(3) {
            for name in ["etc", "a", "d"] {
                arguments.push(format!("--filter={name}").into());
            }
        }
        let c = output(tools.c("composefs-info").args(&arguments));
        let ours = output(tools.ours("composefs-info").args(&arguments));
        let stderr = String::from_utf8_lossy(&ours.stderr);
        assert_eq!(c.status.code(), ours.status.code(), "{dir:?}: {stderr}");
        assert!(c.stdout == ours.stdout, "{dir:?}: {arguments:?} differs");
    }
    // What we print makes the same image again, unless it has a hard link: which of the names had
    // the inode is not in a dump.
    let dump = case.path("again.dump");
    let text = output(tools.ours("composefs-info").arg("dump").arg(&image)).stdout;
    if text.windows(2).any(|pair| pair == b" @") {
        return;
    }
    fs::write(&dump, text).expect("write dump");
    let version = fs::read(&image).expect("read image")[12];
    let again = output(
        tools
            .ours("mkcomposefs")
            .arg("--from-file")
            .arg(format!("--min-version={version}"))
            .arg(format!("--max-version={version}"))
            .args([&dump, &case.path("again.img")]),
    );
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{dir:?}: {stderr}");
    let again = fs::read(case.path("again.img")).expect("read image");
    assert!(
        again == fs::read(&image).expect("read image"),
        "{dir:?}: the dump of an image makes another image"
    );
}

/// The digests that composefs-rs and our tool compute of the image of a directory; none of ours if
/// it does not fit into an image of version 2.
pub fn digests_of_both(
    rs: &Path,
    algorithm: &str,
    version: u32,
    options: &[&str],
    source: &Path,
) -> (Vec<u8>, Option<Vec<u8>>) {
    let theirs = output(
        Command::new(rs.join("cfsctl"))
            .arg(format!("--hash={algorithm}"))
            .arg(format!("--erofs-version={version}"))
            .args(["compute-id", "--no-propagate-usr-to-root"])
            .arg(source),
    );
    let built = env!("CARGO_BIN_EXE_mkcomposefs");
    let ours = output(
        Command::new(common::tool("mkcomposefs", built))
            .arg(format!("--digest-algorithm={algorithm}"))
            .arg(format!("--min-version={version}"))
            .args(options)
            .arg("--print-digest-only")
            .arg(source),
    );
    assert!(theirs.status.success());
    let error = String::from_utf8_lossy(&ours.stderr);
    let does_not_fit = version == 2 && error.contains("than an image of format version 2 can hold");
    assert!(ours.status.success() || does_not_fit, "{error}");
    (theirs.stdout, (!does_not_fit).then_some(ours.stdout))
}

/// The images of version 2 that composefs-rs and our tool make of a dump.
pub fn images_of_dump(rs: &Path, case: &Case, algorithm: &str, dump: &Path) -> [Vec<u8>; 2] {
    let text = fs::File::open(dump).expect("open dump");
    let theirs = output(
        Command::new(rs.join("image-of-dump"))
            .arg(algorithm)
            .stdin(text),
    );
    let ours = image_of_dump(algorithm, dump);
    [theirs, ours].map(|made| {
        let stderr = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{:?}: {stderr}", case.dir);
        made.stdout
    })
}

/// What our tool says of an image of version 2 makes the same image again, unless there was a
/// whiteout: those hide themselves.
pub fn assert_same_again(case: &Case, algorithm: &str, source: &[u8], image: &[u8]) {
    let is_whiteout = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let is_char = |mode: &[u8]| mode.len() == 5 && mode.starts_with(b"2");
        let is_device = fields.next().is_some_and(is_char);
        is_device && fields.nth(3) == Some(b"0")
    };
    if source.split(|&byte| byte == b'\n').any(is_whiteout) {
        return;
    }
    let (path, dump) = (case.path("image"), case.path("again.dump"));
    fs::write(&path, image).expect("write image");
    let built = env!("CARGO_BIN_EXE_composefs-info");
    let mut info = Command::new(common::tool("composefs-info", built));
    let told = output(info.arg("dump").arg(path));
    fs::write(&dump, told.stdout).expect("write dump");
    let again = image_of_dump(algorithm, &dump);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(again.stdout == image, "{:?}: {stderr}", case.dir);
}

fn image_of_dump(algorithm: &str, dump: &Path) -> Output {
    let built = env!("CARGO_BIN_EXE_mkcomposefs");
    output(
        Command::new(common::tool("mkcomposefs", built))
            .arg(format!("--digest-algorithm={algorithm}"))
            .args(["--from-file", "--min-version=2"])
            .args([dump, Path::new("-")]),
    )
}

/// The images that our tool and composefs-rs make, which acts as `mkcomposefs`, too.
pub fn images_of_both(rs: &Path, case: &Case, options: &[OsString], source: &Path) -> [Vec<u8>; 2] {
    let built = env!("CARGO_BIN_EXE_mkcomposefs");
    let mut theirs = Command::new(rs.join("cfsctl"));
    theirs.arg("mkcomposefs");
    [Command::new(common::tool("mkcomposefs", built)), theirs].map(|mut tool| {
        let image = case.path("both.img");
        let made = output(tool.args(options).args([source, &image]));
        let stderr = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{:?}: {stderr}", case.dir);
        fs::read(image).expect("read image")
    })
}

/// Fills a store with each tool; they must hold the same objects.
pub fn assert_same_stores(tools: &Tools, case: &Case, source: &Path) {
    let (store_c, store_ours) = (case.path("c.store"), case.path("ours.store"));
    for (command, store) in [
        (&mut tools.c("mkcomposefs"), &store_c),
        (&mut tools.ours("mkcomposefs"), &store_ours),
        // Once more: everything is there.
        (&mut tools.ours("mkcomposefs"), &store_ours),
    ] {
        let store = format!("--digest-store={}", store.display());
        let image = case.path("store.img");
        let done = output(command.arg(store).args([source, &image]));
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{:?}: {stderr}", case.dir);
    }
    assert_eq!(listing(&store_c), listing(&store_ours), "{:?}", case.dir);
}

/// The files of a store: mode and content by path.
fn listing(store: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut pending = vec![store.to_owned()];
    while let Some(dir) = pending.pop() {
        // A source without large files needs no store; the C tool then makes none.
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.expect("read directory").path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let mode = fs::metadata(&path).expect("stat").permissions().mode();
                let content = fs::read(&path).expect("read object");
                let relative = path.strip_prefix(store).expect("below the store");
                files.insert(relative.to_owned(), (mode, content));
            }
        }
    }
    files
}
