//! From a plugin's type to a component's exports.

use crate::bindings::capabilities::iaso::plugin::types::{
    Finding as RawFinding, FixOutcome, FixPlan,
};
use crate::{Config, Finding, Fix, FixInfo, Outcome, OutcomeKind, Plan, Verdict};

/// A look at one thing, for every host `H` that has the capabilities named by the bounds of the `impl`.
pub trait Check<H> {
    /// The keys of the plugin's configuration. Another key is an error: a misspelt limit must not be a silent default.
    const KEYS: &'static [&'static str];

    /// Looks. An `Err` says why it could not look at all: a wrong configuration, say.
    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String>;
}

/// Runs a check as the component does.
#[doc(hidden)]
pub fn run_check<P: Check<H>, H>(
    host: &H,
    config: Vec<(String, String)>,
) -> Result<Vec<RawFinding>, String> {
    let config = Config::new(config, P::KEYS)?;
    Ok(P::check(host, &config)?
        .into_iter()
        .map(RawFinding::from)
        .collect())
}

/// What the plugin offers.
#[doc(hidden)]
#[must_use]
pub fn describe_fixes<P: Fix<H>, H>() -> &'static [FixInfo] {
    P::FIXES
}

/// Plans as the component does.
#[doc(hidden)]
pub fn plan_fix<P: Fix<H>, H>(
    host: &H,
    name: &str,
    config: Vec<(String, String)>,
) -> Result<FixPlan, String> {
    known::<P, H>(name)?;
    let config = Config::new(config, P::KEYS)?;
    Ok(P::plan(host, name, &config)?.into())
}

/// Plans again and applies only what the plan allows.
#[doc(hidden)]
pub fn apply_fix<P: Fix<H>, H>(
    host: &H,
    name: &str,
    config: Vec<(String, String)>,
) -> Result<FixOutcome, String> {
    known::<P, H>(name)?;
    let config = Config::new(config, P::KEYS)?;
    let plan = P::plan(host, name, &config)?;
    let outcome = match plan.verdict {
        Verdict::Apply => P::apply(host, name, &config, &plan)?,
        Verdict::Refuse => not_applied(OutcomeKind::Refused, plan),
        Verdict::Nothing => not_applied(OutcomeKind::Unchanged, plan),
    };
    Ok(outcome.into())
}

fn not_applied(kind: OutcomeKind, plan: Plan) -> Outcome {
    Outcome {
        kind,
        reason: plan.reason,
        steps: Vec::new(),
        attributes: plan.attributes,
    }
}

fn known<P: Fix<H>, H>(name: &str) -> Result<(), String> {
    if P::FIXES.iter().any(|fix| fix.name == name) {
        return Ok(());
    }
    let offered: Vec<&str> = P::FIXES.iter().map(|fix| fix.name).collect();
    Err(format!(
        "there is no fix `{name}`; this plugin has: {}",
        offered.join(", ")
    ))
}

/// Makes a component of a type: `export!(Plugin: check)` or `export!(Plugin: check, fix)`.
///
/// Does nothing when built for another target than wasm32, so that the plugin's own tests run natively.
#[macro_export]
macro_rules! export {
    ($plugin:ty: check) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated code")]
        const _: () = {
            use $crate::bindings::checking::exports::iaso::plugin::check;

            struct Checking;

            impl check::Guest for Checking {
                fn run(config: check::Attributes) -> Result<Vec<check::Finding>, String> {
                    $crate::__private::run_check::<$plugin, _>(&$crate::Wasm, config)
                }
            }

            $crate::bindings::checking::export!(Checking with_types_in $crate::bindings::checking);
        };
    };
    ($plugin:ty: check, fix) => {
        $crate::export!($plugin: check);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated code")]
        const _: () = {
            use $crate::bindings::fixing::exports::iaso::plugin::fix;

            struct Fixing;

            impl fix::Guest for Fixing {
                fn fixes() -> Vec<fix::Description> {
                    let raw = |info: &$crate::FixInfo| fix::Description {
                        name: info.name.to_owned(),
                        summary: info.summary.to_owned(),
                        disruptive: info.disruptive,
                    };
                    $crate::__private::describe_fixes::<$plugin, $crate::Wasm>().iter().map(raw).collect()
                }

                fn plan(name: String, config: fix::Attributes) -> Result<fix::FixPlan, String> {
                    $crate::__private::plan_fix::<$plugin, _>(&$crate::Wasm, &name, config)
                }

                fn apply(name: String, config: fix::Attributes) -> Result<fix::FixOutcome, String> {
                    $crate::__private::apply_fix::<$plugin, _>(&$crate::Wasm, &name, config)
                }
            }

            $crate::bindings::fixing::export!(Fixing with_types_in $crate::bindings::fixing);
        };
    };
}
