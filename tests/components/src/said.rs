//! A plugin that says the same every time.

use crate::{component, data, module, words};

const TEXTS_AT: u32 = 4096;
const RESULT_AT: u32 = 16;
const FINDINGS_AT: u32 = 64;
const REMEDIES_AT: u32 = 128;
const FIXES_AT: u32 = 192;
const PLAN_AT: u32 = 256;
const APPLIED_AT: u32 = 320;

/// One finding, and one fix.
#[derive(Debug, Clone, Copy)]
pub struct Says<'a> {
    /// The finding's code.
    pub code: &'a str,
    /// The finding's severity.
    pub severity: &'a str,
    /// The fix that the finding names as its remedy.
    pub remedy: &'a str,
    /// What applying it comes to; `trap` breaks the plugin, `loop` never ends.
    pub applied: &'a str,
}

impl Says<'_> {
    /// A component that checks and fixes.
    #[must_use]
    pub fn fixer(&self) -> Vec<u8> {
        let apply = match self.applied {
            "trap" => "unreachable".to_owned(),
            "loop" => "(loop $l (br $l)) unreachable".to_owned(),
            _ => format!("(i32.const {APPLIED_AT})"),
        };
        let fix = format!(
            r#"
            (func (export "iaso:plugin/fix@0.1.0#fixes") (result i32) (i32.const {FIXES_AT}))
            (func (export "iaso:plugin/fix@0.1.0#plan") (param i32 i32 i32 i32) (result i32) (i32.const {PLAN_AT}))
            (func (export "iaso:plugin/fix@0.1.0#apply") (param i32 i32 i32 i32) (result i32) {apply})"#
        );
        component(
            "fixer",
            &module(&(self.memory() + &fix), &format!("(i32.const {RESULT_AT})")),
        )
    }

    fn memory(&self) -> String {
        let mut texts = Texts::default();
        let none = [0, 0];
        let (code, severity) = (texts.put(self.code), texts.put(self.severity));
        let (remedy, applied) = (texts.put(self.remedy), texts.put(self.applied));
        let (apply, why) = (texts.put("apply"), texts.put("as it says"));
        let record = |parts: &[[u32; 2]]| words(parts.as_flattened());
        let ok = |parts: &[[u32; 2]]| [words(&[0]), record(parts)].concat();
        let remedies = [REMEDIES_AT, 1];
        [
            data(RESULT_AT, &words(&[0, FINDINGS_AT, 1])),
            data(
                FINDINGS_AT,
                &record(&[code, severity, none, why, remedies, none]),
            ),
            data(REMEDIES_AT, &record(&[remedy])),
            data(FIXES_AT, &words(&[FIXES_AT + 8, 1])),
            // A description ends in `disruptive: bool`.
            data(
                FIXES_AT + 8,
                &[record(&[remedy, why]), words(&[1])].concat(),
            ),
            data(PLAN_AT, &ok(&[apply, why, none, none])),
            data(APPLIED_AT, &ok(&[applied, why, none, none])),
            texts.data,
        ]
        .concat()
    }
}

#[derive(Default)]
struct Texts {
    data: String,
    used: u32,
}

impl Texts {
    /// Puts a text into memory; where it is and how long.
    fn put(&mut self, text: &str) -> [u32; 2] {
        let at = TEXTS_AT + self.used;
        let length = u32::try_from(text.len()).expect("a test's text is short");
        self.data += &data(at, text.as_bytes());
        self.used += length;
        [at, length]
    }
}
