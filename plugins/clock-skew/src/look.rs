//! Asks the sources for their time, and the init system for who keeps ours.

use std::time::Duration;

use iaso_plugin::capability::{Request, ms};
use iaso_plugin::{Error, Files, Host, Http, Services};

use crate::date;
use crate::settings::Settings;

const TIME_MIN: Duration = Duration::from_millis(10);

/// What one source says of our clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    Offset {
        /// Theirs minus ours: positive when this host is behind.
        offset_ms: i64,
        /// What the measurement cannot tell, either way.
        error_ms: i64,
    },
    Unseen(String),
}

/// Who keeps the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// This unit is running.
    Running(String),
    /// This unit is running, and has not yet set the clock.
    Waiting(String),
    /// None of the units is running.
    Nobody,
    Unseen(String),
    NotAsked,
}

#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) readings: Vec<(String, Reading)>,
    pub(crate) keeper: Keeper,
}

pub(crate) fn look<H: Http + Host + Services + Files>(host: &H, settings: &Settings) -> Sight {
    let begun = host.monotonic();
    let readings = settings
        .sources
        .iter()
        .map(|url| {
            let spent = host.monotonic().saturating_sub(begun);
            let time = settings.timeout.min(settings.budget.saturating_sub(spent));
            let reading = if time < TIME_MIN {
                Reading::Unseen("no time left within `budget`".to_owned())
            } else {
                read(host, url, time).unwrap_or_else(Reading::Unseen)
            };
            (url.clone(), reading)
        })
        .collect();
    let keeper = keeper(host, settings);
    Sight { readings, keeper }
}

fn read<H: Http + Host>(host: &H, url: &str, timeout: Duration) -> Result<Reading, String> {
    let before = host.info().map_err(|why| why.to_string())?.now_unix_ms;
    let sent = host.monotonic();
    let answer = host
        .send(&Request {
            method: "HEAD".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: ms(timeout),
            max_bytes: 0,
        })
        .map_err(|why| why.to_string())?;
    let took = host.monotonic().saturating_sub(sent);
    // An answer out of a cache carries the date of when it was new.
    if let Some(age) = header(&answer.headers, "age")
        && age.trim() != "0"
    {
        return Err("its answer comes from a cache, and its date is old".to_owned());
    }
    let text = header(&answer.headers, "date").ok_or("its answer has no `Date`")?;
    let theirs = date::unix_ms(text).ok_or("its `Date` is not one")?;
    let half_ms = i64::try_from(took.as_millis() / 2).unwrap_or(i64::MAX / 4);
    let ours = i64::try_from(before).map_err(|_| "this host's clock is absurd")? + half_ms;
    // A date is cut to whole seconds: on average it is half a second old.
    let theirs = i64::try_from(theirs).map_err(|_| "its `Date` is absurd")? + 500;
    Ok(Reading::Offset {
        offset_ms: theirs - ours,
        error_ms: 500 + half_ms,
    })
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

fn keeper<H: Services + Files>(host: &H, settings: &Settings) -> Keeper {
    if settings.time_units.is_empty() {
        return Keeper::NotAsked;
    }
    let mut unseen = None;
    for unit in &settings.time_units {
        match host.status(unit) {
            Ok(state) if state.active_state == "active" => {
                return if is_waiting(host, settings, unit) {
                    Keeper::Waiting(unit.clone())
                } else {
                    Keeper::Running(unit.clone())
                };
            }
            Ok(_) => {}
            // Where one cannot be asked, it may be the one that runs.
            Err(why) => unseen = Some(why),
        }
    }
    match unseen {
        None => Keeper::Nobody,
        Some(Error::Timeout) => Keeper::Unseen("the init system does not answer".to_owned()),
        Some(
            why @ (Error::Denied(_) | Error::TooLarge(_) | Error::Unavailable(_) | Error::Other(_)),
        ) => Keeper::Unseen(why.to_string()),
    }
}

/// Only systemd-timesyncd leaves such a mark.
fn is_waiting<H: Files>(host: &H, settings: &Settings, unit: &str) -> bool {
    unit.starts_with("systemd-timesyncd")
        && !settings.synchronized_file.is_empty()
        && host
            .stat(&settings.synchronized_file)
            .is_ok_and(|stat| stat.kind == "missing")
}
