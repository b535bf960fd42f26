//! The operator's configuration of this plugin.

use std::time::Duration;

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &[
    "sources",
    "quorum",
    "agreement",
    "skew_warn",
    "skew_critical",
    "time_units",
    "synchronized_file",
    "timeout",
    "budget",
];

/// Who is asked, and how far off is too far.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// URLs whose answers have a `Date`.
    pub(crate) sources: Vec<String>,
    /// Sources that must agree.
    pub(crate) quorum: usize,
    /// How far apart two sources may be and still agree.
    pub(crate) agreement: Duration,
    pub(crate) skew_warn: Duration,
    pub(crate) skew_critical: Duration,
    /// Units of which one should keep the clock. Empty: not looked at.
    pub(crate) time_units: Vec<String>,
    /// There once systemd-timesyncd has set the clock.
    pub(crate) synchronized_file: String,
    pub(crate) timeout: Duration,
    pub(crate) budget: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        // Without TLS, because a clock that is far off refuses every certificate; who agrees is what is believed.
        let sources = config.list(
            "sources",
            &[
                "http://one.one.one.one/",
                "http://www.google.com/generate_204",
                "http://deb.debian.org/",
            ],
        )?;
        if let Some(wrong) = sources
            .iter()
            .find(|url| !url.starts_with("http://") && !url.starts_with("https://"))
        {
            return Err(format!(
                "configuration key `sources` must be http or https URLs, not `{wrong}`"
            ));
        }
        let quorum = usize::try_from(config.number("quorum", 2, 1..=16)?).unwrap_or(2);
        if quorum > sources.len() {
            return Err(format!(
                "`quorum` is {quorum}, and there are only {} `sources`: name more, or ask for less",
                sources.len()
            ));
        }
        let settings = Self {
            sources,
            quorum,
            agreement: config.duration("agreement", Duration::from_secs(2))?,
            skew_warn: config.duration("skew_warn", Duration::from_secs(3))?,
            skew_critical: config.duration("skew_critical", Duration::from_mins(1))?,
            time_units: config.list(
                "time_units",
                &[
                    "systemd-timesyncd.service",
                    "chrony.service",
                    "chronyd.service",
                    "ntpsec.service",
                    "ntpd.service",
                ],
            )?,
            synchronized_file: config
                .text("synchronized_file", "/run/systemd/timesync/synchronized")
                .to_owned(),
            timeout: config.duration("timeout", Duration::from_secs(2))?,
            budget: config.duration("budget", Duration::from_secs(8))?,
        };
        if settings.skew_warn > settings.skew_critical {
            return Err("`skew_warn` must not be over `skew_critical`".to_owned());
        }
        Ok(settings)
    }
}
