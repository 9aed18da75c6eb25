// SPDX-License-Identifier: GPL-2.0-only
//! The modules of mutants: built in copies of the driver, as many at once as there are processors,
//! unless an earlier run has built the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{anyhow, Context, Result};
use sha2::{Digest, Sha256};

use super::patch::Mutant;
use super::{SUITE, UNBROKEN};
use crate::artifact::remove_tree;
use crate::kernel::Kernel;
use crate::process::{self, Log};
use crate::toolchain::Toolchain;
use crate::{module, note, overlay, place};

/// Where modules are kept, below the directory of logs.
pub const KEPT: &str = "modules";

/// For each mutant its module, or why there is none.
pub struct Built(BTreeMap<String, Result<PathBuf, String>>);

impl Built {
    pub fn has(&self, mutant: &Mutant) -> bool {
        self.failure(mutant).is_none()
    }

    pub fn failure(&self, mutant: &Mutant) -> Option<&str> {
        match self.0.get(&mutant.name) {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(why),
            None => Some("was not built"),
        }
    }

    /// The driver as it is.
    pub fn unbroken(&self) -> Result<PathBuf> {
        match self.0.get(UNBROKEN) {
            Some(Ok(module)) => Ok(module.clone()),
            Some(Err(why)) => Err(anyhow!("the driver as it is {why}")),
            None => Err(anyhow!("the driver as it is was not built")),
        }
    }

    /// Puts the modules where the guest looks for them.
    pub fn copy_to(&self, payload: &Path) -> Result<()> {
        let to = payload.join("mutants");
        fs::create_dir(&to)?;
        for (name, module) in &self.0 {
            if let Ok(module) = module {
                fs::copy(module, to.join(format!("{name}.ko")))?;
            }
        }
        let script = place::checkout("scripts/in-guest/run-mutants");
        fs::copy(script, payload.join("run-mutants"))?;
        Ok(())
    }
}

/// Builds the driver as it is, and all mutants.
pub fn all(mutants: &[Mutant], logs: &Path) -> Result<Built> {
    let kept = Kept::new(logs)?;
    let mut built = BTreeMap::new();
    let mut todo = Vec::new();
    for mutant in [None].into_iter().chain(mutants.iter().map(Some)) {
        let module = kept.module(mutant)?;
        if module.exists() {
            built.insert(name(mutant).to_owned(), Ok(module));
        } else {
            todo.push((mutant, module));
        }
    }
    if !todo.is_empty() {
        note!("{} modules: building (usually 10 seconds each)", todo.len());
    }
    let lanes = thread::available_parallelism()?.get().min(todo.len());
    let todo = Mutex::new(todo.into_iter());
    let built = Mutex::new(built);
    let next = || todo.lock().ok().and_then(|mut todo| todo.next());

    thread::scope(|scope| {
        let work = |number| {
            let lane = Lane::new(number, logs)?;
            while let Some((mutant, module)) = next() {
                let result = lane.build(mutant, &module);
                let result = result.map_err(|error| format!("{error:#}"));
                if let Ok(mut built) = built.lock() {
                    built.insert(name(mutant).to_owned(), result.map(|()| module));
                }
            }
            Ok::<_, anyhow::Error>(())
        };
        let lanes: Vec<_> = (0..lanes)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        lanes.into_iter().try_for_each(|lane| match lane.join() {
            Ok(result) => result,
            Err(_) => Err(anyhow!("a thread that builds mutants died")),
        })
    })?;
    Ok(Built(built.into_inner().unwrap_or_default()))
}

/// `None` is the driver as it is.
fn name(mutant: Option<&Mutant>) -> &str {
    mutant.map_or(UNBROKEN, |mutant| &mutant.name)
}

/// Modules of this run, and of earlier ones of the same driver.
struct Kept(PathBuf);

impl Kept {
    fn new(logs: &Path) -> Result<Self> {
        let kernel = Kernel::of(SUITE)?;
        let base = Sha256::new()
            .chain_update(overlay::sources()?)
            .chain_update(kernel.dir().as_os_str().as_encoded_bytes());
        let (all, base) = (logs.join(KEPT), hex(base));
        fs::create_dir_all(all.join(&base))?;
        for entry in fs::read_dir(&all)? {
            let path = entry?.path();
            if !path.ends_with(&base) {
                remove_tree(&path)?;
            }
        }
        Ok(Self(all.join(base)))
    }

    /// Where the module is, or has to be put.
    fn module(&self, mutant: Option<&Mutant>) -> Result<PathBuf> {
        let name = match mutant {
            Some(mutant) => {
                let patch = Sha256::new().chain_update(fs::read(&mutant.patch)?);
                format!("{}-{}.ko", mutant.name, hex(patch))
            }
            None => format!("{UNBROKEN}.ko"),
        };
        Ok(self.0.join(name))
    }
}

/// As much of a hash as tells the few things here apart.
fn hex(hash: Sha256) -> String {
    let hash = hash.finalize();
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A copy of the driver, and where it is built.
struct Lane {
    toolchain: Toolchain,
    sources: PathBuf,
    out: PathBuf,
    log: Log,
}

impl Lane {
    fn new(number: usize, logs: &Path) -> Result<Self> {
        let dir = logs.join(format!("lane{number}"));
        let (sources, out) = (dir.join("sources"), dir.join("out"));
        fs::create_dir_all(sources.join("fs"))?;
        fs::create_dir(&out)?;
        fs::copy(place::checkout("Kbuild"), sources.join("Kbuild"))?;
        process::run(
            Command::new("cp")
                .arg("-a")
                .arg(place::checkout("fs/composefs"))
                .arg(sources.join("fs")),
        )?;
        Ok(Self {
            toolchain: Toolchain::of(SUITE)?,
            sources,
            out,
            log: Log::create(dir.join("log"))?,
        })
    }

    /// Builds a mutant into `module`; the copy is as it was afterwards.
    fn build(&self, mutant: Option<&Mutant>, module: &Path) -> Result<()> {
        self.log.line(&format!("== {}", name(mutant)))?;
        let Some(mutant) = mutant else {
            return self.make(module);
        };
        let mut apply = Command::new("git");
        apply
            .args(["apply", "--whitespace=nowarn"])
            .arg(&mutant.patch)
            .current_dir(&self.sources)
            // The copy is in a checkout, to which the patch is not meant to be applied.
            .env("GIT_CEILING_DIRECTORIES", self.sources.with_file_name(""));
        self.log.run(&mut apply).with_context(|| {
            format!(
                "the patch does not apply; see {}",
                self.log.path().display()
            )
        })?;
        let result = self.make(module);
        for file in &mutant.files {
            // It has to look new to the kernel's make, so it does not keep its time.
            fs::copy(place::checkout("").join(file), self.sources.join(file))?;
        }
        result
    }

    /// Builds what is there now.
    fn make(&self, module: &Path) -> Result<()> {
        let mut make = module::make(SUITE, &self.sources, &self.out)?;
        self.log
            .run(make.args(["-s", "modules"]))
            .with_context(|| format!("does not build; see {}", self.log.path().display()))?;
        // All of them have to fit into the memory of a guest.
        let small = self.out.with_extension("ko");
        let mut strip = self.toolchain.command(&[], "strip")?;
        strip.args(["--strip-debug", "-o"]).arg(&small);
        self.log.run(strip.arg(self.out.join(module::BUILT)))?;
        Ok(fs::rename(small, module)?)
    }
}
