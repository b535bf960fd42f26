//! From the bytes of a file to the certificates in it.

use x509_cert::Certificate as X509;
use x509_cert::der::{DateTime, Decode, DecodePem};
use x509_cert::ext::pkix::BasicConstraints;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// A bundle of authorities may have a few; a file with more is cut.
const CERTIFICATES_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 120;

/// What matters of one certificate. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) name: String,
    pub(crate) is_ca: bool,
    pub(crate) begins_s: u64,
    pub(crate) ends_s: u64,
}

/// All certificates of a file, PEM or DER; other blocks, such as a key, are passed over. An error says what is wrong with the file.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(format!("it is empty ({} bytes)", bytes.len()));
    }
    // DER begins with a sequence, and a PEM file never with this byte.
    if bytes.first() == Some(&0x30) {
        let parsed = X509::from_der(bytes).map_err(|why| format!("it is damaged: {why}"))?;
        return Ok(vec![told(&parsed)]);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is neither PEM nor DER".to_owned())?;
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once(BEGIN) {
        let (body, after) = block
            .split_once(END)
            .ok_or("it breaks off within a certificate")?;
        let parsed = X509::from_pem(format!("{BEGIN}{body}{END}\n"))
            .map_err(|why| format!("it is damaged: {why}"))?;
        found.push(told(&parsed));
        if found.len() == CERTIFICATES_MAX {
            break;
        }
        rest = after;
    }
    if found.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(found)
}

fn told(parsed: &X509) -> Certificate {
    let tbs = parsed.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>();
    Certificate {
        name: tbs
            .subject()
            .to_string()
            .chars()
            .take(NAME_CHARS_MAX)
            .collect(),
        is_ca: matches!(constraints, Ok(Some((_, constraints))) if constraints.ca),
        begins_s: tbs.validity().not_before.to_unix_duration().as_secs(),
        ends_s: tbs.validity().not_after.to_unix_duration().as_secs(),
    }
}

/// The day as people write it: `2027-06-01`.
pub(crate) fn day(unix_s: u64) -> String {
    DateTime::from_unix_duration(std::time::Duration::from_secs(unix_s)).map_or_else(
        |_| format!("{unix_s} s after 1970"),
        |date| format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
    )
}
