//! `iaso report ID`.

use super::Session;
use crate::args::{Format, ReportFormat};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{output, render, text};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// `--output json`: the report as an object, its body as a string.
#[derive(Debug, Serialize)]
struct Wrapped<'a> {
    format: &'a text::Text,
    body: &'a text::Text,
    path: &'a text::Text,
}

pub(super) async fn run(
    session: &Session,
    id: String,
    format: ReportFormat,
    out: Option<&Path>,
) -> Result<Exit, Failure> {
    let report = session.client.report(id, format.word()).await?;
    if let Some(file) = out {
        fs::write(file, report.body.raw()).map_err(|source| Failure::Write {
            file: file.to_owned(),
            option: "--out",
            source,
        })?;
        output::complain(&format!("report written to {}", file.display()));
        return Ok(Exit::Ok);
    }
    if session.format == Format::Json {
        output::print(&render::json(&Wrapped {
            format: &report.format,
            body: &report.body,
            path: &report.path,
        }))?;
        return Ok(Exit::Ok);
    }
    let mut body = match format {
        ReportFormat::Md => text::document(report.body.raw()),
        ReportFormat::Json => text::json(report.body.raw()),
    };
    if !body.ends_with('\n') {
        body.push('\n');
    }
    output::print(&body)?;
    if !report.path.is_empty() {
        output::complain(&format!("the controller keeps it at {}", report.path));
    }
    Ok(Exit::Ok)
}
