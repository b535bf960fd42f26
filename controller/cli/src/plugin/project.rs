//! `iaso plugin new`, `build` and `pack`.

use super::args::{BuildArgs, Lang, NewArgs, PackArgs};
use super::desk::Desk;
use super::{files, keys};
use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::text::Text;
use iaso_author::{Language, Toolchain, build_other, component_of, module_path};
use iaso_package::{COMPONENT_BYTES_MAX, Manifest, look, pack};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A project that was begun.
#[derive(Debug, Serialize)]
struct Begun {
    name: String,
    directory: PathBuf,
    files: usize,
}

/// Writes a new project.
pub(super) fn new(global: &Global, what: &NewArgs) -> Result<Exit, Failure> {
    let language = match what.lang {
        Lang::Rust => Language::Rust,
        Lang::C => Language::C,
        Lang::Js => Language::Js,
        Lang::Python => Language::Python,
    };
    let project = iaso_author::project(&what.name, language)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let directory = what
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(&what.name));
    let is_used = fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || directory.is_file() {
        return Err(Failure::Plugin(format!(
            "{} exists, and nothing is overwritten: give another name, or --dir DIRECTORY",
            directory.display()
        )));
    }
    for (path, text) in &project {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| {
                Failure::Plugin(format!("cannot make {}: {error}", parent.display()))
            })?;
        }
        files::create(&path, 0o644, text.as_bytes())?;
    }
    let begun = Begun {
        name: what.name.clone(),
        files: project.len(),
        directory,
    };
    // What a language's tool comes with is fetched once, by its own package manager.
    let first = language
        .preparation()
        .map_or_else(String::new, |once| format!("{once} && "));
    keys::show(global, &begun, |begun| {
        format!(
            "{} is in {}: a check that works, its manifest, fixtures, and what it is written with.\n  \
             cd {} && {first}iaso plugin build && iaso plugin test\n",
            begun.name,
            begun.directory.display(),
            begun.directory.display()
        )
    })?;
    Ok(Exit::Ok)
}

/// A component that was made.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    name: String,
    version: String,
    file: PathBuf,
    bytes: usize,
    digest: String,
    problems: Vec<Text>,
}

/// Compiles the project, makes a component, and packs the manifest into it.
pub(super) fn build(global: &Global, what: &BuildArgs) -> Result<Exit, Failure> {
    let desk = Desk::open(&what.dir)?;
    let other = build_other(&desk.directory).map_err(|error| explained(&error))?;
    let module = match other {
        Some(made) => made,
        None => cargo_build(&desk.directory)?,
    };
    let bytes = files::read(&module, COMPONENT_BYTES_MAX)?;
    let out = what.out.clone().unwrap_or_else(|| desk.component());
    finish(global, &bytes, &module, &desk.manifest, &out)
}

/// Makes a component of a module, if it is none yet, and packs the manifest into it.
pub(super) fn pack_file(global: &Global, what: &PackArgs) -> Result<Exit, Failure> {
    let manifest = super::desk::manifest(&what.manifest)?;
    let bytes = files::component(&what.file)?;
    let out = what
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.wasm", manifest.name)));
    finish(global, &bytes, &what.file, &manifest, &out)
}

fn finish(
    global: &Global,
    bytes: &[u8],
    from: &Path,
    manifest: &Manifest,
    out: &Path,
) -> Result<Exit, Failure> {
    let wrong = |error: String| Failure::Plugin(format!("{}: {error}", from.display()));
    let component = component_of(bytes).map_err(|error| wrong(error.to_string()))?;
    let packed = pack(&component, manifest).map_err(|error| wrong(error.to_string()))?;
    let looked = look(&packed).map_err(|error| wrong(error.to_string()))?;
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|error| {
            Failure::Plugin(format!("cannot make {}: {error}", parent.display()))
        })?;
    }
    files::replace(out, &packed)?;
    let mut problems = looked.problems();
    let missing = looked.missing(&manifest.grants);
    if !missing.is_empty() {
        problems.push(format!(
            "it imports what needs {} and plugin.toml does not ask for it: add it under [grants.check] or [grants.fix], or name the interface in grants.declined",
            missing.join(", ")
        ));
    }
    let made = Made {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        file: out.to_owned(),
        bytes: packed.len(),
        digest: looked.digest,
        problems: problems.into_iter().map(Text::from).collect(),
    };
    keys::show(global, &made, |made| {
        format!(
            "{} {}: {}, {} bytes, sha256 {}\n",
            made.name,
            made.version,
            made.file.display(),
            made.bytes,
            made.digest
        )
    })?;
    for problem in &made.problems {
        output::complain(&format!("iaso: an agent would refuse it: {problem}"));
    }
    Ok(if made.problems.is_empty() {
        Exit::Ok
    } else {
        Exit::Wrong
    })
}

/// An error and its cause, in one line.
fn explained(error: &iaso_author::BuildError) -> Failure {
    let cause = std::error::Error::source(error);
    Failure::Plugin(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
}

/// Builds the crate in this directory; where its module is.
fn cargo_build(directory: &Path) -> Result<PathBuf, Failure> {
    let manifest = directory.join("Cargo.toml");
    let package = package_name(&manifest)?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| directory.join("target"), PathBuf::from);
    let target = std::path::absolute(&target).unwrap_or(target);
    let toolchain = Toolchain::find(
        super::desk::cache()
            .map(|cache| cache.join("rustup-target-refused"))
            .as_deref(),
    )
    .map_err(|error| Failure::Plugin(error.to_string()))?;
    // Cargo's own words go to standard error: standard output is for the answer.
    let status = toolchain
        .cargo_build()
        .current_dir(directory)
        .arg("--target-dir")
        .arg(&target)
        .args(["--lib", "--quiet"])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| {
            Failure::Plugin(format!(
                "cannot start cargo: {error}; install Rust with rustup"
            ))
        })?;
    if !status.success() {
        return Err(Failure::Plugin(
            "the plugin does not compile: cargo's words stand above".to_owned(),
        ));
    }
    Ok(module_path(&target, &package))
}

/// The name that cargo gives the module.
fn package_name(manifest: &Path) -> Result<String, Failure> {
    const MANIFEST_BYTES_MAX: u64 = 1 << 20;
    let text = files::read_text(manifest, MANIFEST_BYTES_MAX)?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| Failure::Plugin(format!("{}: {error}", manifest.display())))?;
    let name_in = |table_name: &str| {
        table
            .get(table_name)?
            .get("name")?
            .as_str()
            .map(str::to_owned)
    };
    name_in("lib")
        .or_else(|| name_in("package"))
        .ok_or_else(|| {
            Failure::Plugin(format!(
                "{} names no package: a plugin is one crate",
                manifest.display()
            ))
        })
}
