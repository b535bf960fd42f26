//! WASI imports are the toolchain's, seldom the author's: which toolchain, and what to tell it.

use crate::words;

/// Most names in one sentence.
const NAMES_MAX: usize = 6;

/// Which toolchain is known by which word of the producers section, why it imports WASI, and what to do.
const TOOLCHAINS: [(&[&str], &str, &str); 6] = [
    (
        &["componentize-js", "jco", "spidermonkey", "javascript"],
        "componentize-js gives its JavaScript engine a clock, random numbers and standard output through WASI",
        "switch them off: `componentize-js --disable all`, or `disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event']`",
    ),
    (
        &["componentize-py", "cpython", "python"],
        "componentize-py links CPython, which wants a file system, clocks and an environment through WASI",
        "have them replaced by stubs: `componentize-py componentize --stub-wasi`",
    ),
    (
        &["tinygo", "go"],
        "TinyGo's runtime uses WASI for clocks, random numbers and output",
        "build for the bare target: `tinygo build -target=wasm-unknown`",
    ),
    (
        &["rustc", "rust"],
        "it was built for a WASI target (`wasm32-wasip1` or `wasm32-wasip2`), whose standard library uses WASI",
        "build for `wasm32-unknown-unknown`: `iaso plugin build` does, and so does `cargo build --target wasm32-unknown-unknown`",
    ),
    (
        &["clang", "c11", "c", "c++"],
        "it is linked with wasi-libc, whose start-up code and functions call WASI",
        "build freestanding: `clang --target=wasm32-unknown-unknown -nostdlib -Wl,--no-entry`",
    ),
    (
        &[],
        "its toolchain does not say what it is; most often it is a compiler's WASI target or a language's runtime",
        "build for a target without WASI: Rust `wasm32-unknown-unknown`, C `-nostdlib`, JavaScript `--disable all`, Python `--stub-wasi`",
    ),
];

/// Names the imports, the cause, and what to do.
pub(crate) fn wasi(names: &[&str], made_by: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| format!("`{}`", words(name)))
        .collect();
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (makers, why, remedy) = toolchain(made_by);
    let said = if makers.is_empty() {
        String::new()
    } else {
        format!(" ({makers})")
    };
    format!(
        "it imports WASI, which no agent has: {}{more}. The cause is the toolchain{said}: {why}. {remedy}",
        shown.join(", "),
        remedy = sentence(remedy)
    )
}

fn toolchain(made_by: &[String]) -> (String, &'static str, &'static str) {
    let is_made_by = |word: &str| {
        made_by.iter().find(|maker| {
            let first = maker.split(' ').next().unwrap_or_default();
            first.eq_ignore_ascii_case(word)
        })
    };
    for (known, why, remedy) in TOOLCHAINS {
        if let Some(maker) = known.iter().find_map(|word| is_made_by(word)) {
            return (maker.clone(), why, remedy);
        }
    }
    let [.., (_, why, remedy)] = TOOLCHAINS;
    (String::new(), why, remedy)
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_is_named_by_what_the_component_says_of_its_makers() {
        let text = wasi(
            &["wasi:cli/environment@0.2.3"],
            &["Python ".to_owned(), "componentize-py 0.23.0".to_owned()],
        );
        assert!(text.contains("`wasi:cli/environment@0.2.3`"), "{text}");
        assert!(
            text.contains("componentize-py 0.23.0") && text.contains("--stub-wasi"),
            "{text}"
        );
        let text = wasi(&["wasi:cli/exit@0.2.0"; 8], &[]);
        assert!(
            text.contains("and 2 more") && text.contains("does not say"),
            "{text}"
        );
    }

    #[test]
    fn rust_for_a_wasi_target_is_told_which_target_to_use() {
        let text = wasi(&["wasi:io/streams@0.2.6"], &["rustc 1.95.0".to_owned()]);
        assert!(text.contains("wasm32-unknown-unknown"), "{text}");
    }
}
