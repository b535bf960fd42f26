//! Lists the SDK's files, so that `iaso plugin new` can write them into a project outside of this tree.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let plugins = here.join("../../plugins").canonicalize()?;
    let mut files = Vec::new();
    for directory in ["sdk/src", "wit"] {
        collect(&plugins.join(directory), &mut files)?;
    }
    files.push(plugins.join("Cargo.toml"));
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&plugins).map_err(io::Error::other)?;
        println!("cargo:rerun-if-changed={}", file.display());
        let (name, file) = (name.to_string_lossy(), file.to_string_lossy());
        let _ = writeln!(code, "    ({name:?}, include_str!({file:?})),");
    }
    code.push_str("]\n");
    for directory in ["sdk/src", "sdk/src/testing", "wit"] {
        println!(
            "cargo:rerun-if-changed={}",
            plugins.join(directory).display()
        );
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("sdk.rs"), code)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
