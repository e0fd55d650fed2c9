//! Small things as people write them: durations, sizes, times, failures.

use std::time::{SystemTime, UNIX_EPOCH};

use kindred_proto::{failure::Failure, v1};

/// `8s`, `3m20s`, `2h05m`, `4d07h`.
pub fn duration(seconds: f64) -> String {
    // Saturates, so that nonsense from a clock stays readable.
    let seconds = seconds.max(0.0).round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{:02}h", hours % 24),
        () if hours > 0 => format!("{hours}h{:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// `512 B`, `43.1 MiB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let decimals = usize::from(unit != "B");
            return format!("{value:.decimals$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// How long ago a moment was.
pub fn age(time: Option<&prost_types::Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    let then = time.seconds as f64 + f64::from(time.nanos) / 1e9;
    duration(now_s() - then)
}

/// A moment in RFC 3339.
pub fn time(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000);
    let nanos = i32::try_from(unix_ms.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds, nanos }.to_string()
}

/// A failure's sentence, with its reason and who met it.
pub fn failure(failure: &v1::Failure) -> String {
    let reason = Failure::from(failure).reason.name();
    let rank = failure.rank.map(|rank| format!(", rank {rank}")).unwrap_or_default();
    let node = if failure.node_id.is_empty() { String::new() } else { format!(", {}", failure.node_id) };
    format!("{} ({reason}{rank}{node})", failure.message)
}

/// A percentage that may be missing.
pub fn percent(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.1} %")).unwrap_or_default()
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_units() {
        let cases = [(0.4, "0s"), (59.0, "59s"), (200.0, "3m20s"), (7500.0, "2h05m"), (370_800.0, "4d07h")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(-5.0), "0s");
    }

    #[test]
    fn sizes_use_binary_units() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(45_200_000), "43.1 MiB");
        assert_eq!(size(1 << 41), "2.0 TiB");
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
