//! Writes every mutant of a file into that file at once, each behind a switch, so that the crate is compiled once and not once for each.
//!
//! **Invariants**
//! - With every switch off the file means what it meant.
//! - A mutant is the one that cargo-mutants lists: only the way to switch it on is ours.
//!
//! Deliberately absent: fields left out of a struct, and what does not compile in this form, such as an operator beside a `let`. The
//! caller is told which were woven.

use anyhow::{Context, Result};
use proc_macro2::LineColumn;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One change, as `cargo mutants --list --json` writes it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Mutant {
    /// `path:line:column: what`.
    pub(super) name: String,
    pub(super) file: String,
    pub(super) genre: Genre,
    pub(super) replacement: String,
    pub(super) span: Extent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Extent {
    start: Place,
    end: Place,
}

/// Line and column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn of(at: LineColumn) -> Self {
        Self {
            line: at.line,
            column: at.column + 1,
        }
    }
}

/// A file with its mutants in it.
#[derive(Debug)]
pub(super) struct Woven {
    pub(super) text: String,
    /// What was put in: where it is in the new text, and the switches that it belongs to.
    pub(super) pieces: Vec<(Range<usize>, Vec<usize>)>,
}

/// Something is put in before the byte `at`.
struct Piece {
    at: usize,
    /// Ends come before beginnings at the same byte; of two ends the inner is first, of two beginnings the outer.
    order: (bool, i64, i64),
    text: String,
    switches: Vec<usize>,
}

/// Where the syntax tree has what mutants speak of.
#[derive(Default)]
struct Sites {
    /// Operators, by where they begin: their own bytes, the whole expression's, and whether a `let` stands beside them.
    operators: BTreeMap<Place, (Range<usize>, Range<usize>, bool)>,
    guards: BTreeMap<Place, Range<usize>>,
    /// Arms, by where they begin: the end of the pattern, and the guard's expression.
    arms: BTreeMap<Place, (usize, Option<Range<usize>>)>,
}

fn bytes(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

fn has_let(expr: &syn::Expr) -> bool {
    if let syn::Expr::Binary(both) = expr {
        return has_let(&both.left) || has_let(&both.right);
    }
    matches!(expr, syn::Expr::Let(_))
}

impl<'ast> Visit<'ast> for Sites {
    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let place = Place::of(node.op.span().start());
        let beside_let = has_let(&node.left) || has_let(&node.right);
        self.operators
            .insert(place, (bytes(&node.op), bytes(node), beside_let));
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let place = Place::of(node.op.span().start());
        self.operators
            .insert(place, (bytes(&node.op), bytes(node), false));
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        // An arm that takes everything takes what another one no longer does.
        let total = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        let rest_is_taken = node.arms.iter().any(total);
        for arm in &node.arms {
            let guard = arm.guard.as_ref().map(|(_, guard)| guard);
            if let Some(guard) = guard {
                self.guards
                    .insert(Place::of(guard.span().start()), bytes(guard));
            }
            if rest_is_taken {
                let place = Place::of(arm.pat.span().start());
                let guard = guard.map(bytes);
                self.arms.insert(place, (bytes(&arm.pat).end, guard));
            }
        }
        visit::visit_expr_match(self, node);
    }
}

/// The mutants of one place, each with the number of its switch.
type Group<'a> = Vec<(usize, &'a Mutant)>;

/// Weaves the mutants, each with the number of its switch, into the text of their file.
pub(super) fn weave(source: &str, mutants: &[(usize, &Mutant)]) -> Result<Woven> {
    let tree = syn::parse_file(source).context("it is not Rust")?;
    let mut sites = Sites::default();
    sites.visit_file(&tree);
    let mut by_place: BTreeMap<(Place, Place, Genre), Group<'_>> = BTreeMap::new();
    for (switch, mutant) in mutants {
        let key = (mutant.span.start, mutant.span.end, mutant.genre);
        by_place.entry(key).or_default().push((*switch, mutant));
    }
    let mut pieces = Vec::new();
    for ((start, end, genre), group) in by_place {
        let more = match genre {
            Genre::FnValue => value(source, start, end, &group),
            Genre::BinaryOperator | Genre::UnaryOperator => {
                operator(source, sites.operators.get(&start), &group)
            }
            Genre::MatchArm => arm(sites.arms.get(&start), &group),
            Genre::MatchArmGuard => guard(sites.guards.get(&start), &group),
            Genre::StructField => Vec::new(),
        };
        pieces.extend(more);
    }
    Ok(put_in(source, pieces))
}

fn put_in(source: &str, mut pieces: Vec<Piece>) -> Woven {
    pieces.sort_by_key(|piece| (piece.at, piece.order));
    let (mut text, mut placed, mut from) = (String::new(), Vec::new(), 0);
    for piece in pieces {
        text.push_str(source.get(from..piece.at).unwrap_or_default());
        from = piece.at;
        let start = text.len();
        text.push_str(&piece.text);
        placed.push((start..text.len(), piece.switches));
    }
    text.push_str(source.get(from..).unwrap_or_default());
    Woven {
        text,
        pieces: placed,
    }
}

/// How an expression and its switches are put in: `if on(1) { this } else if on(2) { that } else { what was }`.
fn switched(whole: &Range<usize>, rank: i64, ways: &[(usize, String)]) -> Vec<Piece> {
    let width = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let switches: Vec<usize> = ways.iter().map(|(switch, _)| *switch).collect();
    let mut open = String::from("(");
    for (switch, way) in ways {
        open.push_str("if crate::woven::on(");
        open.push_str(&switch.to_string());
        open.push_str("){");
        open.push_str(way);
        open.push_str("}else ");
    }
    open.push('{');
    vec![
        Piece {
            at: whole.start,
            order: (true, -width, rank),
            text: open,
            switches: switches.clone(),
        },
        Piece {
            at: whole.end,
            order: (false, width, -rank),
            text: "})".into(),
            switches,
        },
    ]
}

fn value(source: &str, start: Place, end: Place, group: &[(usize, &Mutant)]) -> Vec<Piece> {
    let (Some(at), Some(to)) = (offset(source, start), offset(source, end)) else {
        return Vec::new();
    };
    let width = i64::try_from(to.saturating_sub(at)).unwrap_or(i64::MAX);
    let returns = group.iter().map(|(switch, mutant)| Piece {
        at,
        order: (true, -width, -2),
        text: format!(
            "if crate::woven::on({switch}){{return {};}}",
            mutant.replacement
        ),
        switches: vec![*switch],
    });
    returns.collect()
}

fn operator(
    source: &str,
    site: Option<&(Range<usize>, Range<usize>, bool)>,
    group: &[(usize, &Mutant)],
) -> Vec<Piece> {
    let Some((own, whole, false)) = site else {
        return Vec::new();
    };
    let before = source.get(whole.start..own.start).unwrap_or_default();
    let behind = source.get(own.end..whole.end).unwrap_or_default();
    let ways: Vec<(usize, String)> = group
        .iter()
        .map(|(switch, mutant)| (*switch, format!("{before}{}{behind}", mutant.replacement)))
        .collect();
    switched(whole, 0, &ways)
}

fn guard(site: Option<&Range<usize>>, group: &[(usize, &Mutant)]) -> Vec<Piece> {
    let Some(whole) = site else {
        return Vec::new();
    };
    let ways: Vec<(usize, String)> = group
        .iter()
        .map(|(switch, mutant)| (*switch, mutant.replacement.clone()))
        .collect();
    switched(whole, -1, &ways)
}

/// An arm that is left out never matches: what it took goes on to the arm that takes everything.
fn arm(site: Option<&(usize, Option<Range<usize>>)>, group: &[(usize, &Mutant)]) -> Vec<Piece> {
    let (Some((pattern_end, guard)), Some((switch, _))) = (site, group.first()) else {
        return Vec::new();
    };
    match guard {
        Some(guard) => {
            let mut pieces = switched(guard, -1, &[(*switch, "false".into())]);
            for piece in &mut pieces {
                piece.order.2 = piece.order.2.saturating_mul(3);
            }
            pieces
        }
        None => vec![Piece {
            at: *pattern_end,
            order: (false, i64::MAX, 0),
            text: format!(" if !crate::woven::on({switch})"),
            switches: vec![*switch],
        }],
    }
}

fn offset(source: &str, place: Place) -> Option<usize> {
    let mut at = 0;
    for (number, line) in source.split_inclusive('\n').enumerate() {
        if number + 1 == place.line {
            let column = line.char_indices().nth(place.column - 1);
            return Some(at + column.map_or(line.len(), |(byte, _)| byte));
        }
        at += line.len();
    }
    None
}

/// The switches themselves, for the crate's root. With `IASO_MUTANT=7` the seventh is on; with `IASO_MUTANT_REACHED=FILE` each that is
/// asked for is written there once.
pub(super) const SWITCHES: &str = r#"
#[doc(hidden)]
#[allow(warnings, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod woven {
    use std::io::Write;
    use std::sync::{Mutex, OnceLock};
    static ON: OnceLock<usize> = OnceLock::new();
    static REACHED: OnceLock<Option<Mutex<(std::collections::BTreeSet<usize>, std::fs::File)>>> = OnceLock::new();
    pub fn on(switch: usize) -> bool {
        let on = *ON.get_or_init(|| {
            let on = std::env::var("IASO_MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
            // The first test that fails says all that is asked.
            if on != 0 { std::panic::set_hook(Box::new(|_| std::process::exit(101))); }
            on
        });
        if on == 0 { reached(switch); }
        on == switch
    }
    fn reached(switch: usize) {
        let reached = REACHED.get_or_init(|| {
            let path = std::env::var_os("IASO_MUTANT_REACHED")?;
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the list can be opened");
            Some(Mutex::new((Default::default(), file)))
        });
        let Some(reached) = reached else { return };
        let mut reached = reached.lock().unwrap();
        if reached.0.insert(switch) { writeln!(reached.1, "{switch}").expect("the list can be written"); }
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(genre: Genre, replacement: &str, from: (usize, usize), to: (usize, usize)) -> Mutant {
        let place = |(line, column)| Place { line, column };
        Mutant {
            name: String::new(),
            file: String::new(),
            genre,
            replacement: replacement.into(),
            span: Extent {
                start: place(from),
                end: place(to),
            },
        }
    }

    fn woven(source: &str, mutants: &[Mutant]) -> String {
        let numbered: Vec<(usize, &Mutant)> = (1..).zip(mutants).collect();
        let woven = weave(source, &numbered).expect("it is Rust").text;
        woven.replace("crate::woven::on", "on")
    }

    #[test]
    fn mutants_of_one_place_and_of_places_within_it_are_switched_apart() {
        let source = "fn f(a: u8, b: bool) -> bool {\n    a < 3 && !b\n}\n";
        let all = [
            mutant(Genre::FnValue, "true", (2, 5), (2, 16)),
            mutant(Genre::BinaryOperator, "||", (2, 11), (2, 13)),
            mutant(Genre::BinaryOperator, ">", (2, 7), (2, 8)),
            mutant(Genre::BinaryOperator, "==", (2, 7), (2, 8)),
            mutant(Genre::UnaryOperator, "", (2, 14), (2, 15)),
        ];
        let expect = "if on(1){return true;}(if on(2){a < 3 || !b}else {\
            (if on(3){a > 3}else if on(4){a == 3}else {a < 3}) && (if on(5){b}else {!b})})";
        let body = woven(source, &all);
        assert_eq!(body.lines().nth(1).map(str::trim), Some(expect));
    }

    #[test]
    fn an_arm_is_left_out_and_a_guard_replaced_by_a_guard() {
        let source = "fn f(a: u8) -> u8 {\n    match a {\n        1 => 2,\n        3 if a > 2 => 4,\n        _ => 5,\n    }\n}\n";
        let all = [
            mutant(Genre::MatchArm, "", (3, 9), (3, 16)),
            mutant(Genre::MatchArm, "", (4, 9), (4, 24)),
            mutant(Genre::MatchArmGuard, "true", (4, 14), (4, 19)),
            mutant(Genre::BinaryOperator, "<", (4, 16), (4, 17)),
        ];
        let text = woven(source, &all);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines.get(2), Some(&"1 if !on(1) => 2,"));
        let guarded = "3 if (if on(2){false}else {(if on(3){true}else {(if on(4){a < 2}else {a > 2})})}) => 4,";
        assert_eq!(lines.get(3), Some(&guarded));
    }

    #[test]
    fn what_cannot_be_woven_is_left_as_it_was() {
        let source = "fn f(a: Option<u8>) -> bool {\n    if let Some(b) = a && b > 1 {\n        return true;\n    }\n    false\n}\n";
        let beside_let = mutant(Genre::BinaryOperator, "||", (2, 24), (2, 26));
        assert_eq!(woven(source, &[beside_let]), source);
    }
}
