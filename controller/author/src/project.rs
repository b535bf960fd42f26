//! A new plugin's directory: source, manifest, fixtures, and the SDK beside it, so that it builds anywhere.

use std::path::{Component, Path, PathBuf};

use iaso_package::Manifest;

use crate::{Language, template};

/// The SDK's sources and the interface file, by their path under `plugins/`.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
/// Where the SDK goes in a project.
const VENDOR: &str = "vendor";
/// What stands in a template where the plugin's name belongs, and its name as an identifier of Rust.
const NAME: &str = "{{name}}";
const IDENTIFIER: &str = "{{identifier}}";

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A name that no plugin may have.
    #[error(
        "a plugin's name has 1 to 63 of a-z 0-9 and `-`, a letter first, and no Rust keyword; it is not {0:?}"
    )]
    Name(String),
    /// The SDK in this program is not what it must be.
    #[error("the SDK in this program cannot be written out: {0}")]
    Sdk(String),
}

/// The files of a new project, by their path in it.
pub fn project(name: &str, language: Language) -> Result<Vec<(PathBuf, String)>, ProjectError> {
    let manifest = format!("name = {name:?}\nversion = \"0.1.0\"");
    // `crate`, `self` and the like cannot name a package; cargo would say so only when it is too late.
    let is_word = [
        "crate", "self", "super", "test", "core", "std", "alloc", "vendor",
    ]
    .contains(&name);
    if Manifest::from_toml(&manifest).is_err() || is_word {
        return Err(ProjectError::Name(name.chars().take(80).collect()));
    }
    let (beside, interface) = match language {
        Language::Rust => (&[] as &[_], sdk()?),
        Language::C | Language::Js | Language::Python => (template::WITHOUT_SDK, interface()?),
    };
    let own = template::files(language).iter();
    Ok(own
        .chain(template::SHARED)
        .chain(beside)
        .map(|(path, text)| (PathBuf::from(path), filled(text, name, language)))
        .chain(interface)
        .collect())
}

/// The interface file, beside the project's own world.
fn interface() -> Result<Vec<(PathBuf, String)>, ProjectError> {
    let (_, text) = SDK
        .iter()
        .find(|(path, _)| *path == "wit/plugin.wit")
        .ok_or_else(|| ProjectError::Sdk("it has no plugin.wit".to_owned()))?;
    let path = PathBuf::from("wit/deps/iaso-plugin/plugin.wit");
    Ok(vec![(path, (*text).to_owned())])
}

fn filled(text: &str, name: &str, language: Language) -> String {
    let (component_kib, memory_kib) = template::budget_kib(language);
    text.replace(NAME, name)
        .replace(IDENTIFIER, &name.replace('-', "_"))
        .replace("{{source}}", language.mark())
        .replace("{{needs}}", &template::needs(language))
        .replace("{{component_kib}}", &component_kib.to_string())
        .replace("{{memory_kib}}", &memory_kib.to_string())
}

/// The SDK as a crate of its own: its sources, the interface file beside it, and a manifest without a workspace.
fn sdk() -> Result<Vec<(PathBuf, String)>, ProjectError> {
    let mut files = vec![(
        Path::new(VENDOR).join("iaso-plugin/Cargo.toml"),
        sdk_manifest()?,
    )];
    for (path, text) in SDK {
        let Ok(inner) = Path::new(path).strip_prefix("sdk") else {
            // The interface file keeps its place beside the crate: the bindings look for it there.
            if Path::new(path).components().next() == Some(Component::Normal("wit".as_ref())) {
                files.push((Path::new(VENDOR).join(path), (*text).to_owned()));
            }
            continue;
        };
        let place = Path::new(VENDOR).join("iaso-plugin").join(inner);
        files.push((place, (*text).to_owned()));
    }
    Ok(files)
}

/// Versions are those of the workspace that the SDK comes from: one place says them.
fn sdk_manifest() -> Result<String, ProjectError> {
    let broken = |what: &str| ProjectError::Sdk(format!("its workspace has no {what}"));
    let (_, text) = SDK
        .iter()
        .find(|(path, _)| *path == "Cargo.toml")
        .ok_or_else(|| broken("manifest"))?;
    let workspace: toml::Table =
        toml::from_str(text).map_err(|error| ProjectError::Sdk(error.to_string()))?;
    let of = |table: &str, key: &str| {
        workspace
            .get("workspace")?
            .get(table)?
            .get(key)
            .map(toml::Value::to_string)
    };
    let package = |key: &str| of("package", key).ok_or_else(|| broken(key));
    let bindgen = of("dependencies", "wit-bindgen").ok_or_else(|| broken("wit-bindgen"))?;
    Ok(format!(
        "# The SDK of `iaso`, as of its release: `iaso plugin new` wrote it here, and this project builds with it anywhere.\n\
         [package]\nname = \"iaso-plugin\"\nversion = {}\nedition = {}\nrust-version = {}\nlicense = {}\npublish = false\n\n\
         [features]\n# `testing::MockHost`: for the plugin's own tests, never in a component.\ntesting = []\n\n\
         [dependencies]\nwit-bindgen = {bindgen}\n",
        package("version")?,
        package("edition")?,
        package("rust-version")?,
        package("license")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_the_whole_sdk_and_no_placeholder_left() {
        let files = project("disk-hog", Language::Rust).expect("a good name");
        let has = |path: &str| files.iter().any(|(file, _)| file == Path::new(path));
        for path in [
            "Cargo.toml",
            "plugin.toml",
            "src/lib.rs",
            "fixtures/short.toml",
            "vendor/iaso-plugin/Cargo.toml",
            "vendor/iaso-plugin/src/lib.rs",
            "vendor/iaso-plugin/src/testing/run.rs",
            "vendor/wit/plugin.wit",
        ] {
            assert!(has(path), "{path}");
        }
        let left = files
            .iter()
            .find(|(path, text)| !path.starts_with(VENDOR) && text.contains("{{"));
        assert!(left.is_none(), "{left:?}");
    }

    #[test]
    fn every_templates_manifest_is_a_good_one() {
        for language in Language::ALL {
            let files = project("disk-hog", language).expect("a good name");
            let (_, text) = files
                .iter()
                .find(|(path, _)| path == Path::new("plugin.toml"))
                .expect("there");
            let manifest = Manifest::from_toml(text).expect("good");
            assert_eq!(manifest.name, "disk-hog");
            assert!(manifest.grants.check.host && manifest.budget.host_calls.is_some());
        }
    }

    #[test]
    fn the_vendored_sdk_stands_alone() {
        let manifest = sdk_manifest().expect("it is written");
        let table: toml::Table = toml::from_str(&manifest).expect("TOML");
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(table["dependencies"]["wit-bindgen"]["version"].is_str());
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["", "Disk", "1disk", "a/b", "../x", "self", "a b"] {
            assert!(project(name, Language::Rust).is_err(), "{name:?}");
        }
    }
}
