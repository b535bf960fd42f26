//! The `Date` of an HTTP answer (RFC 9110, IMF-fixdate; the two old forms are no longer sent).

/// Milliseconds since the Unix epoch; none when it is not a date.
pub(crate) fn unix_ms(text: &str) -> Option<u64> {
    let mut parts = text.trim().split_once(", ")?.1.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month = month(parts.next()?)?;
    let year: u64 = parts.next()?.parse().ok()?;
    let mut time = parts.next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let is_utc = parts.next() == Some("GMT") && parts.next().is_none() && time.next().is_none();
    let is_possible = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    (is_utc && is_possible).then(|| {
        let days = days_before(year, month) + day - 1;
        (days * 86_400 + hour * 3600 + minute * 60 + second) * 1000
    })
}

fn month(name: &str) -> Option<u64> {
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = names.iter().position(|known| *known == name)?;
    u64::try_from(at + 1).ok()
}

/// Days from 1970-01-01 to the first of a month: years are counted from March, so that the leap day is the last of them.
const fn days_before(year: u64, month: u64) -> u64 {
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use super::unix_ms;

    #[test]
    fn dates_are_read_and_what_is_none_is_refused() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(
                unix_ms(text),
                expect.map(|seconds| seconds * 1000),
                "{text}"
            );
        };
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199));
        check("Fri, 15 Jan 2027 08:00:00 GMT", Some(1_800_000_000));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799));
        for wrong in [
            "",
            "now",
            "Fri, 15 Jan 2027 08:00:00 CET",
            "Fri, 15 Jan 2027 08:00 GMT",
            "Fri, 15 Jan 2027 24:00:00 GMT",
            "Fri, 00 Jan 2027 08:00:00 GMT",
            "Fri, 15 Foo 2027 08:00:00 GMT",
            "Fri, 15 Jan 99999 08:00:00 GMT",
            "Fri, 15 Jan 1969 08:00:00 GMT",
            "Friday, 15-Jan-27 08:00:00 GMT",
            "Fri, 15 Jan 2027 08:00:00 GMT x",
        ] {
            check(wrong, None);
        }
    }
}
