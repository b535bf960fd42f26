//! The templates: the same check and the same fixtures in every language.

use crate::Language;

/// A file's path in the project, and its text.
pub(crate) type File = (&'static str, &'static str);

macro_rules! files {
    ($language:literal: $($path:literal = $file:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../templates/", $language, "/", $file)))),+]
    };
}

/// What every project has.
pub(crate) const FIXTURES: &[File] = files!("rust":
    "fixtures/enough.toml" = "fixtures/enough.toml.in",
    "fixtures/short.toml" = "fixtures/short.toml.in",
    "fixtures/denied.toml" = "fixtures/denied.toml.in",
);

/// What says what a plugin may ask, where no SDK does.
pub(crate) const WORLD: &[File] = files!("wit": "wit/world.wit" = "world.wit.in");

const RUST: &[File] = files!("rust":
    "Cargo.toml" = "Cargo.toml.in",
    "plugin.toml" = "plugin.toml.in",
    "README.md" = "README.md.in",
    ".gitignore" = "gitignore.in",
    "src/lib.rs" = "src/lib.rs.in",
    "tests/memory.rs" = "tests/memory.rs.in",
);

const C: &[File] = files!("c":
    "plugin.toml" = "plugin.toml.in",
    "README.md" = "README.md.in",
    ".gitignore" = "gitignore.in",
    "src/check.c" = "src/check.c.in",
    "vendor/iaso.h" = "vendor/iaso.h",
    "vendor/libc.c" = "vendor/libc.c",
    "vendor/stdlib.h" = "vendor/stdlib.h",
    "vendor/string.h" = "vendor/string.h",
);

const JS: &[File] = files!("js":
    "plugin.toml" = "plugin.toml.in",
    "README.md" = "README.md.in",
    ".gitignore" = "gitignore.in",
    "package.json" = "package.json.in",
    "src/check.js" = "src/check.js.in",
    "vendor/iaso.js" = "vendor/iaso.js",
);

const PYTHON: &[File] = files!("python":
    "plugin.toml" = "plugin.toml.in",
    "README.md" = "README.md.in",
    ".gitignore" = "gitignore.in",
    "requirements.txt" = "requirements.txt",
    "src/check.py" = "src/check.py.in",
    "vendor/iaso.py" = "vendor/iaso.py",
);

pub(crate) fn files(language: Language) -> &'static [File] {
    match language {
        Language::Rust => RUST,
        Language::C => C,
        Language::Js => JS,
        Language::Python => PYTHON,
    }
}
