//! C: bindings of `wit/`, clang, and the linker for WebAssembly. There is no C library but the few functions in the project's `vendor/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use crate::tool::{BuildError, find, made, run, started, written};

/// Newest first; the plain name before all.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=23;
/// Most source files of one plugin.
const SOURCES_MAX: usize = 256;
/// Bytes of the stack, which lies below everything else: running over it is a trap, not a silent overwrite.
const STACK: &str = "stack-size=131072";
const REMEDY: &str =
    "install clang and lld (Debian, as root: `apt-get install --no-install-recommends clang lld`)";

/// A compiler and a linker for C.
#[derive(Debug, Clone)]
pub struct Clang {
    compiler: PathBuf,
    linker: PathBuf,
}

impl Clang {
    /// Those in PATH.
    pub fn find() -> Result<Self, BuildError> {
        let named = |program: &'static str| {
            let mut names = vec![program.to_owned()];
            names.extend(VERSIONS.rev().map(|version| format!("{program}-{version}")));
            find(program, &names, None, || REMEDY.to_owned())
        };
        Ok(Self {
            compiler: named("clang")?,
            linker: named("wasm-ld")?,
        })
    }
}

/// Builds `src/*.c`; where the core module is.
pub(crate) fn build(directory: &Path) -> Result<PathBuf, BuildError> {
    let clang = Clang::find()?;
    let work = directory.join("build/bindings");
    made(&work)?;
    bindings(&directory.join("wit"), &work)?;
    let vendor = directory.join("vendor");
    let mut sources = sources(&directory.join("src"))?;
    sources.extend([vendor.join("libc.c"), work.join("plugin.c")]);
    let mut link = Command::new(&clang.linker);
    link.args(["--no-entry", "--gc-sections", "--strip-debug"])
        .args(["--stack-first", "-z", STACK])
        // What nothing defines becomes an import, which is then named in words.
        .arg("--allow-undefined");
    for (at, source) in sources.iter().enumerate() {
        let object = work.join(format!("{at}.o"));
        let mut compile = Command::new(&clang.compiler);
        compile
            .args(["--target=wasm32-unknown-unknown", "-std=c11", "-Os", "-c"])
            .args(["-ffreestanding", "-nostdlibinc", "-mbulk-memory"])
            .args(["-ffunction-sections", "-fdata-sections"])
            .arg("-I")
            .arg(&work)
            .arg("-isystem")
            .arg(&vendor)
            .arg("-o")
            .arg(&object)
            .arg(source);
        if source.starts_with(directory.join("src")) {
            compile.args(["-Wall", "-Wextra"]);
        }
        run("clang", &mut compile)?;
        link.arg(object);
    }
    let module = work.join("plugin.wasm");
    link.arg(work.join("plugin_component_type.o"))
        .arg("-o")
        .arg(&module);
    linked(&mut link)?;
    Ok(module)
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = std::fs::read_dir(directory).map_err(|source| BuildError::File {
        what: "read",
        path: directory.to_owned(),
        source,
    })?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "c"))
        .take(SOURCES_MAX + 1)
        .collect();
    if found.len() > SOURCES_MAX {
        let text = format!("src/ has more than {SOURCES_MAX} files in C");
        return Err(BuildError::Link(text));
    }
    found.sort();
    Ok(found)
}

/// Writes plugin.h, plugin.c and the object that carries the interface.
fn bindings(wit: &Path, into: &Path) -> Result<(), BuildError> {
    let refused = |error: &dyn std::fmt::Display| BuildError::Interface(format!("{error:#}"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).map_err(|error| refused(&error))?;
    let world = resolve
        .select_world(&[package], Some("plugin"))
        .map_err(|error| refused(&error))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| refused(&error))?;
    for (name, bytes) in files.iter() {
        written(&into.join(name), bytes)?;
    }
    Ok(())
}

fn linked(link: &mut Command) -> Result<(), BuildError> {
    let output = link
        .stdin(Stdio::null())
        .output()
        .map_err(|source| started(link, source))?;
    if output.status.success() {
        return Ok(());
    }
    Err(BuildError::Link(words(&String::from_utf8_lossy(
        &output.stderr,
    ))))
}

/// A linker's complaint, for an author.
fn words(said: &str) -> String {
    if let Some((_, rest)) = said.split_once("duplicate symbol: ") {
        let name = rest.lines().next().unwrap_or_default();
        return format!("`{name}` is defined more than once: keep one, or make them `static`");
    }
    "the linker refuses its objects: remove build/ and build again; if that does not help, clang and lld are of different versions: install them together"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linkers_complaint_comes_in_words() {
        let said = words(
            "wasm-ld-19: error: duplicate symbol: check\n>>> defined in 0.o\n>>> defined in 1.o\n",
        );
        assert_eq!(
            said,
            "`check` is defined more than once: keep one, or make them `static`"
        );
        let said = words("wasm-ld: error: 0.o: not a relocatable wasm file");
        assert!(!said.contains("wasm-ld:") && said.contains("remove build/"));
    }
}
