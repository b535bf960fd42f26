//! One question, and the kinds of answer that mean something here.

use std::time::Duration;

use iaso_plugin::capability::{Answer, Question, ms};
use iaso_plugin::{Dns, Error};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Probe {
    /// `kubernetes.default.svc.…`, which must exist.
    Cluster,
    /// A random name, which must not.
    Absent,
    /// A name of the internet, which must exist.
    External,
}

/// What was answered, or was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Records,
    /// The name exists without such records.
    Empty,
    NxDomain,
    ServFail,
    Refused,
    OtherRcode(String),
    Timeout,
    /// The port refuses, or nobody knows the way.
    Unreachable(String),
    /// Nothing was asked, and nothing is known.
    Unseen(String),
}

impl Reply {
    /// True when a DNS server answered, whatever it said.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Records
            | Self::Empty
            | Self::NxDomain
            | Self::ServFail
            | Self::Refused
            | Self::OtherRcode(_) => true,
            Self::Timeout | Self::Unreachable(_) | Self::Unseen(_) => false,
        }
    }

    /// True when the server was asked and stayed silent, or its port refused.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable(_))
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Records => "NOERROR".to_owned(),
            Self::Empty => "NOERROR without records".to_owned(),
            Self::NxDomain => "NXDOMAIN".to_owned(),
            Self::ServFail => "SERVFAIL".to_owned(),
            Self::Refused => "REFUSED".to_owned(),
            Self::OtherRcode(rcode) => rcode.clone(),
            Self::Timeout => "timeout".to_owned(),
            Self::Unreachable(why) => format!("unreachable: {why}"),
            Self::Unseen(why) => format!("not asked: {why}"),
        }
    }
}

/// Asks for the A records of a name.
pub(crate) fn ask<H: Dns>(
    host: &H,
    server: &(String, u16),
    transport: &str,
    name: &str,
    timeout: Duration,
) -> Reply {
    let question = Question {
        server: server.0.clone(),
        port: server.1,
        name: name.to_owned(),
        record_type: "A".to_owned(),
        transport: transport.to_owned(),
        timeout_ms: ms(timeout),
    };
    match host.query(&question) {
        Ok(answer) => read(answer),
        Err(Error::Timeout) => Reply::Timeout,
        Err(Error::Unavailable(why)) => Reply::Unreachable(why),
        Err(why @ (Error::Denied(_) | Error::TooLarge(_) | Error::Other(_))) => {
            Reply::Unseen(why.to_string())
        }
    }
}

fn read(answer: Answer) -> Reply {
    match answer.rcode.as_str() {
        // A truncated answer has records, only not here.
        "NOERROR" if answer.records.is_empty() && !answer.truncated => Reply::Empty,
        "NOERROR" => Reply::Records,
        "NXDOMAIN" => Reply::NxDomain,
        "SERVFAIL" => Reply::ServFail,
        "REFUSED" => Reply::Refused,
        _ => Reply::OtherRcode(answer.rcode),
    }
}
