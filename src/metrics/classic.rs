//! The classic text format of Prometheus, for clients that do not accept OpenMetrics.
//!
//! `prometheus-client` writes OpenMetrics only. The formats differ in the names in `HELP` and `TYPE`, in types, and in lines
//! that are directives in one and comments in the other.

/// Converts OpenMetrics into the classic text format.
pub(super) fn of_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("# HELP ") {
            help = words.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|words| words.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let text = help.take().map(|(_, text)| text).unwrap_or_default();
            out += &format!("# HELP {name}{suffix} {text}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with("# ") {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_those_of_the_samples() {
        let open = "# HELP a Calls.\n# TYPE a counter\na_total{x=\"1\"} 2\n# HELP b Build.\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                    # HELP c_seconds Time.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\nc_seconds_sum 0.5\n# EOF\n";
        let classic = "# HELP a_total Calls.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n# HELP b_info Build.\n# TYPE b_info gauge\n\
                       b_info{v=\"1\"} 1\n# HELP c_seconds Time.\n# TYPE c_seconds histogram\nc_seconds_sum 0.5\n";
        assert_eq!(of_open_metrics(open), classic);
    }
}
