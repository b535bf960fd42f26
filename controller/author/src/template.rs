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
pub(crate) const SHARED: &[File] = files!("any":
    "plugin.toml" = "plugin.toml.in",
    "fixtures/enough.toml" = "fixtures/enough.toml.in",
    "fixtures/short.toml" = "fixtures/short.toml.in",
    "fixtures/denied.toml" = "fixtures/denied.toml.in",
);

/// What a project has where no SDK says what a plugin may ask.
pub(crate) const WITHOUT_SDK: &[File] = files!("other":
    "README.md" = "README.md.in",
    "wit/world.wit" = "world.wit.in",
);

const RUST: &[File] = files!("rust":
    "Cargo.toml" = "Cargo.toml.in",
    "README.md" = "README.md.in",
    ".gitignore" = "gitignore.in",
    "src/lib.rs" = "src/lib.rs.in",
    "tests/memory.rs" = "tests/memory.rs.in",
);

const C: &[File] = files!("c":
    ".gitignore" = "gitignore.in",
    "src/check.c" = "src/check.c.in",
    "vendor/iaso.h" = "vendor/iaso.h",
    "vendor/libc.c" = "vendor/libc.c",
    "vendor/stdlib.h" = "vendor/stdlib.h",
    "vendor/string.h" = "vendor/string.h",
);

const JS: &[File] = files!("js":
    ".gitignore" = "gitignore.in",
    "package.json" = "package.json.in",
    "src/check.js" = "src/check.js.in",
    "vendor/iaso.js" = "vendor/iaso.js",
);

const PYTHON: &[File] = files!("python":
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

/// The most that one run of the template needs: KiB of the component, and of memory.
pub(crate) const fn budget_kib(language: Language) -> (u32, u32) {
    match language {
        Language::Rust => (128, 2_048),
        Language::C => (64, 2_048),
        Language::Js => (16_384, 16_384),
        Language::Python => (24_576, 20_480),
    }
}

/// With what a project is built, for its README.
pub(crate) fn needs(language: Language) -> String {
    let once = language.preparation().unwrap_or_default();
    match language {
        Language::Rust => "Rust from rustup".to_owned(),
        Language::C => "clang and lld (Debian: `apt-get install clang lld`)".to_owned(),
        Language::Js => format!("Node.js 20 and `{once}`, once"),
        Language::Python => format!("Python 3, and once `{once}`"),
    }
}
