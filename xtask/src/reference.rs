//! `docs/plugins/reference.md`, made from the interface file: what it says of itself, and the grant that each function needs.

use crate::process::root;
use anyhow::{Context, Result, bail};
use iaso_grants::{INTERFACE_VERSION, Interface};
use std::fmt::Write as _;
use std::path::PathBuf;
use wit_parser::{Docs, Function, Resolve, Type, TypeDefKind};

const PAGE: &str = "docs/plugins/reference.md";

fn path() -> PathBuf {
    root().join(PAGE)
}

/// Writes the page.
pub(crate) fn write() -> Result<()> {
    std::fs::write(path(), page()?).with_context(|| format!("cannot write {PAGE}"))
}

/// Says if the page is not what the interface file says.
pub(crate) fn check() -> Result<Vec<String>> {
    let found = std::fs::read_to_string(path()).unwrap_or_default();
    if found == page()? {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{PAGE} is not what plugins/wit/plugin.wit says: run `cargo xtask tidy --reference`"
    )])
}

fn page() -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(root().join("plugins/wit"))
        .context("the interface file")?;
    let interfaces = &resolve
        .packages
        .get(package)
        .context("the interface file has no package")?
        .interfaces;
    let mut out = format!(
        "# The plugin interface, {INTERFACE_VERSION}\n\n\
         Made from `plugins/wit/plugin.wit` by `cargo xtask tidy --reference`: change that file, not this one.\n\n\
         A plugin imports what it uses, and its import list is its list of capabilities. `iaso plugin inspect` shows it.\n"
    );
    for (name, id) in interfaces {
        let Some(interface) = resolve.interfaces.get(*id) else {
            bail!("interface {name} is not in its own package");
        };
        let role = match name.as_str() {
            "check" | "fix" => ": what a plugin exports",
            _ => "",
        };
        let _ = write!(out, "\n## {name}{role}\n\n{}", paragraph(&interface.docs));
        for function in interface.functions.values() {
            function_of(&resolve, name, function, &mut out);
        }
        for id in interface.types.values() {
            type_of(&resolve, *id, &mut out)?;
        }
    }
    Ok(out)
}

fn function_of(resolve: &Resolve, interface: &str, function: &Function, out: &mut String) {
    let params: Vec<String> = function
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, words(resolve, &param.ty)))
        .collect();
    let result = function
        .result
        .as_ref()
        .map_or_else(String::new, |ty| format!(" -> {}", words(resolve, ty)));
    let grant = Interface::named(interface)
        .and_then(|known| known.functions().iter().find(|f| f.name == function.name))
        .map_or("", |known| known.grant);
    let needs = if grant.is_empty() {
        String::new()
    } else {
        format!(" Needs the grant `{grant}`.")
    };
    let _ = write!(
        out,
        "\n### {}\n\n`{}: func({}){result}`\n\n{}{}\n",
        function.name,
        function.name,
        params.join(", "),
        line(&function.docs),
        needs
    );
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the interface has records, one variant and names for lists"
)]
fn type_of(resolve: &Resolve, id: wit_parser::TypeId, out: &mut String) -> Result<()> {
    let ty = resolve.types.get(id).context("a type is missing")?;
    let Some(name) = &ty.name else { return Ok(()) };
    match &ty.kind {
        TypeDefKind::Record(record) => {
            let _ = write!(out, "\n### record {name}\n\n{}", paragraph(&ty.docs));
            out.push_str("\n| field | type | is |\n| --- | --- | --- |\n");
            for field in &record.fields {
                let ty = words(resolve, &field.ty);
                let _ = writeln!(out, "| `{}` | `{ty}` | {} |", field.name, cell(&field.docs));
            }
        }
        TypeDefKind::Variant(variant) => {
            let _ = write!(out, "\n### variant {name}\n\n{}", paragraph(&ty.docs));
            out.push_str("\n| case | is |\n| --- | --- |\n");
            for case in &variant.cases {
                let carried = case
                    .ty
                    .as_ref()
                    .map_or_else(String::new, |ty| format!("({})", words(resolve, ty)));
                let _ = writeln!(out, "| `{}{carried}` | {} |", case.name, cell(&case.docs));
            }
        }
        // A name that another interface lends.
        TypeDefKind::Type(_) => {}
        _ => {
            let shown = kind(resolve, &ty.kind);
            let _ = write!(
                out,
                "\n### type {name}\n\n`{shown}`\n\n{}",
                paragraph(&ty.docs)
            );
        }
    }
    Ok(())
}

fn words(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::U8 => "u8".into(),
        Type::U16 => "u16".into(),
        Type::U32 => "u32".into(),
        Type::U64 => "u64".into(),
        Type::S8 => "s8".into(),
        Type::S16 => "s16".into(),
        Type::S32 => "s32".into(),
        Type::S64 => "s64".into(),
        Type::F32 => "f32".into(),
        Type::F64 => "f64".into(),
        Type::Char => "char".into(),
        Type::String => "string".into(),
        Type::ErrorContext => "error-context".into(),
        Type::Id(id) => resolve.types.get(*id).map_or_else(
            || "?".into(),
            |ty| ty.name.clone().unwrap_or_else(|| kind(resolve, &ty.kind)),
        ),
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the interface has no other kinds, and a new one would show as a question mark in review"
)]
fn kind(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let or_blank = |ty: &Option<Type>| {
        ty.as_ref()
            .map_or_else(|| "_".to_owned(), |ty| words(resolve, ty))
    };
    match kind {
        TypeDefKind::List(ty) => format!("list<{}>", words(resolve, ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", words(resolve, ty)),
        TypeDefKind::Result(result) => {
            format!(
                "result<{}, {}>",
                or_blank(&result.ok),
                or_blank(&result.err)
            )
        }
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<String> = tuple.types.iter().map(|ty| words(resolve, ty)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        _ => "?".to_owned(),
    }
}

fn line(docs: &Docs) -> String {
    let text = docs.contents.as_deref().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(docs: &Docs) -> String {
    line(docs).replace('|', "\\|")
}

/// Paragraphs stay apart.
fn paragraph(docs: &Docs) -> String {
    let text = docs.contents.as_deref().unwrap_or_default().trim();
    if text.is_empty() {
        String::new()
    } else {
        format!("{text}\n")
    }
}
