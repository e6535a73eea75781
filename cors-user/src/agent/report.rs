//! The status for people.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use cors_common::exit::Exit;

use super::{
    startup::Startup,
    status::{Interface, Kernel, Policy, Program, Proxy, Reload, Status},
};
use crate::proxy::UpstreamHealth;

/// The status as text of aligned columns. Counters that counted nothing are left out unless `all`
/// is set.
pub fn human(status: &Status, all: bool) -> String {
    let Status { version, pid, mode, measure, uptime_seconds, startup, policy, flows, .. } = status;
    let measure = if *measure { ", measuring only: everything passes" } else { "" };
    let Policy { generation, digest, policies, origins, source, .. } = policy;
    let mut text = format!(
        "cors-edge {version}, {mode}, process {pid}, up {}{measure}\n\
         start       {}\n\
         policy      generation {generation}: {}, {}, from {source} ({digest})\n\
         reload      {}\n\
         flows       {flows}{}\n",
        duration(*uptime_seconds),
        steps(startup),
        count(*policies, "policy", "policies"),
        count(*origins, "origin", "origins"),
        reload(status),
        evicted(status.flows_evicted),
    );
    if let Some(idle) = &status.idle {
        let _ = writeln!(text, "idle        {idle}: everything passes");
    }
    let interfaces = status.interfaces.iter().map(|Interface { name, index, xdp }| {
        vec![name.clone(), format!("XDP {xdp}"), format!("index {index}")]
    });
    section(&mut text, "interfaces", interfaces.collect());
    section(&mut text, "protected", status.protected.iter().map(|s| vec![s.clone()]).collect());
    section(&mut text, "kernel", kernel(&status.kernel));
    section(&mut text, "programs", status.programs.iter().map(program).collect());
    section(&mut text, "counters", counters(&status.counters, all));
    section(&mut text, "policies", by_policy(&status.by_policy, all));
    if let Some(proxy) = &status.proxy {
        let Proxy { connections, counters, own_cors, upstreams, .. } = proxy;
        let total = |(name, total): (&String, &u64)| vec![name.clone(), total.to_string()];
        let counted = counters.iter().filter(|(_, total)| all || **total > 0).map(total);
        let open = vec!["open connections".to_owned(), connections.to_string()];
        section(&mut text, "proxy", [open].into_iter().chain(counted).collect());
        section(&mut text, "proxy, policies", by_policy(&proxy.by_policy, all));
        section(&mut text, "upstreams", upstreams.iter().map(upstream).collect());
        let own = own_cors.iter().filter(|(_, total)| **total > 0).map(total);
        let own: Vec<_> = own.collect();
        if !own.is_empty() {
            section(&mut text, "upstreams that send CORS headers of their own", own);
        }
    }
    text
}

/// Said where it has happened.
fn evicted(connections: u64) -> String {
    if connections == 0 {
        return String::new();
    }
    format!(", and {connections} forgotten because there were too many")
}

/// What the last reload came to.
fn reload(status: &Status) -> String {
    match &status.reload {
        None => "none".to_owned(),
        Some(Reload { at, by, error }) => {
            let at = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(*at));
            match error {
                None => format!("done, {at}, by {by}"),
                Some(error) => format!("REFUSED, {at}, by {by}: {error}"),
            }
        }
    }
}

fn kernel(kernel: &Kernel) -> Vec<Vec<String>> {
    let Kernel { release, handshake, hand_over, tcx, reset } = kernel;
    let has = |what: &str, there: bool, with: &str, without: &str| {
        let (answer, so) = if there { ("yes", with) } else { ("no", without) };
        vec![what.to_owned(), answer.to_owned(), so.to_owned()]
    };
    vec![
        vec!["release".to_owned(), release.clone()],
        has(
            "hand-over",
            *hand_over,
            &format!("handshakes are made by the {handshake}"),
            "Linux before 6.9: handshakes are made by the kernel",
        ),
        has(
            "tcx",
            *tcx,
            "links, which end with the agent",
            "Linux before 6.6: filters, which an agent that is killed leaves behind",
        ),
        has(
            "resets",
            *reset,
            "what would break without the agent is reset when it stops",
            "without CONFIG_INET_DIAG_DESTROY: what breaks without the agent hangs",
        ),
    ]
}

fn program(program: &Program) -> Vec<String> {
    let Program { name, id, run_count, run_time_ns, .. } = program;
    let runs = match run_time_ns.checked_div(*run_count) {
        Some(mean) => format!("{run_count} runs of {mean} ns"),
        None => "not timed (sysctl kernel.bpf_stats_enabled=1)".to_owned(),
    };
    vec![name.clone(), format!("id {id}"), runs]
}

/// In the order of the packet's way through the programs, and what only another version knows at
/// the end.
fn counters(totals: &BTreeMap<String, u64>, all: bool) -> Vec<Vec<String>> {
    let known = Exit::ALL
        .iter()
        .filter_map(|exit| Some((exit.name(), *totals.get(exit.name())?, exit.help())));
    let is_known = |name: &str| Exit::ALL.iter().any(|exit| exit.name() == name);
    let unknown = totals
        .iter()
        .filter(|(name, _)| !is_known(name))
        .map(|(name, total)| (name.as_str(), *total, ""));
    known
        .chain(unknown)
        .filter(|(_, total, _)| all || *total > 0)
        .map(|(name, total, help)| vec![name.to_owned(), total.to_string(), help.to_owned()])
        .collect()
}

/// How an upstream is, and how long its answers took in the mean.
fn upstream((name, health): (&String, &UpstreamHealth)) -> Vec<String> {
    let up = if health.up { "up" } else { "DOWN" };
    let results = health.results.iter().filter(|(_, total)| **total > 0);
    let results: Vec<_> = results.map(|(result, total)| format!("{result} {total}")).collect();
    let first_byte = match health.first_byte.sum_us.checked_div(health.first_byte.count()) {
        Some(us) => format!("first byte after {}.{:03} ms", us / 1000, us % 1000),
        None => String::new(),
    };
    vec![name.clone(), up.to_owned(), results.join(", "), first_byte]
}

/// What was counted for each policy: answers, and refusals by what was wrong.
fn by_policy(by_policy: &BTreeMap<String, BTreeMap<String, u64>>, all: bool) -> Vec<Vec<String>> {
    let counted = |reasons: &BTreeMap<String, u64>| reasons.values().any(|total| *total > 0);
    let reason = |(name, total): (&String, &u64)| format!("{name} {total}");
    by_policy
        .iter()
        .filter(|(_, reasons)| all || counted(reasons))
        .map(|(policy, reasons)| {
            let reasons = reasons.iter().filter(|(_, total)| all || **total > 0).map(reason);
            [policy.clone()].into_iter().chain(reasons).collect()
        })
        .collect()
}

/// A headline and aligned rows. Columns of numbers are flush right.
fn section(text: &mut String, title: &str, rows: Vec<Vec<String>>) {
    let nothing = if rows.is_empty() { "  none" } else { "" };
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "\n{title}{nothing}");
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let width = |column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let is_number = |column| cells(column).all(|cell| cell.parse::<u64>().is_ok());
    let layout: Vec<_> = (0..columns).map(|column| (width(column), is_number(column))).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, (width, is_number)) in row.iter().zip(&layout) {
            let _ = if *is_number {
                write!(line, "  {cell:>width$}")
            } else {
                write!(line, "  {cell:<width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// How long the start took, and what of it.
fn steps(startup: &Startup) -> String {
    let ms = |us: u64| (us + 500) / 1000;
    let Startup { file_us, compile_us, programs_us, policy_us, other_us } = startup;
    format!(
        "{} ms: policy file {}, compiling {}, loading programs {}, filling maps {}, the rest {}",
        ms(startup.total_us()),
        ms(*file_us),
        ms(*compile_us),
        ms(*programs_us),
        ms(*policy_us),
        ms(*other_us),
    )
}

/// Seconds in the two largest units.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::status::{Map, Reloads},
        *,
    };

    fn status() -> Status {
        let counters = [("answered", 1200), ("syn_ack", 7), ("flags", 0), ("from_the_future", 1)];
        Status {
            version: "0.1.0".to_owned(),
            pid: 42,
            mode: "sidecar".to_owned(),
            measure: false,
            started_at: 784_111_777,
            uptime_seconds: 61,
            startup: Startup {
                file_us: 1_050,
                compile_us: 99,
                programs_us: 400_000,
                policy_us: 7,
                other_us: 10_000,
            },
            policy: Policy {
                generation: 1,
                digest: "00000000deadbeef".to_owned(),
                loaded_at: 784_111_777,
                policies: 1,
                origins: 2,
                source: "/etc/cors-edge.toml".to_owned(),
            },
            idle: None,
            reload: None,
            reloads: Reloads::default(),
            interfaces: vec![
                Interface { name: "lo".to_owned(), index: 1, xdp: "generic".to_owned() },
                Interface { name: "wan-uplink".to_owned(), index: 12, xdp: "native".to_owned() },
            ],
            kernel: Kernel {
                release: "6.1.0".to_owned(),
                handshake: "kernel".to_owned(),
                hand_over: false,
                tcx: false,
                reset: true,
            },
            programs: vec![
                Program {
                    name: "edge".to_owned(),
                    id: 7,
                    run_count: 4,
                    run_time_ns: 1001,
                    verified_instructions: Some(9),
                },
                Program {
                    name: "handover".to_owned(),
                    id: 8,
                    run_count: 0,
                    run_time_ns: 0,
                    verified_instructions: None,
                },
            ],
            protected: vec!["10.0.0.1:80".to_owned()],
            maps: vec![Map { name: "flows".to_owned(), entries: 3, room: 262_144 }],
            flows: 3,
            flows_evicted: 0,
            counters: counters.map(|(name, total)| (name.to_owned(), total)).into(),
            tracers: 0,
            by_policy: [("api", [5, 1, 0]), ("files", [0, 0, 0])].map(counted).into(),
            proxy: None,
        }
    }

    fn counted((name, counts): (&str, [u64; 3])) -> (String, BTreeMap<String, u64>) {
        let reasons = ["answered", "origin_denied", "method_denied"].map(ToOwned::to_owned);
        (name.to_owned(), reasons.into_iter().zip(counts).collect())
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "\
cors-edge 0.1.0, sidecar, process 42, up 1 min 1 s
start       411 ms: policy file 1, compiling 0, loading programs 400, filling maps 0, the rest 10
policy      generation 1: 1 policy, 2 origins, from /etc/cors-edge.toml (00000000deadbeef)
reload      none
flows       3

interfaces
  lo          XDP generic  index 1
  wan-uplink  XDP native   index 12

protected
  10.0.0.1:80

kernel
  release    6.1.0
  hand-over  no     Linux before 6.9: handshakes are made by the kernel
  tcx        no     Linux before 6.6: filters, which an agent that is killed leaves behind
  resets     yes    what would break without the agent is reset when it stops

programs
  edge      id 7  4 runs of 250 ns
  handover  id 8  not timed (sysctl kernel.bpf_stats_enabled=1)

counters
  syn_ack             7  A SYN answered with a cookie.
  answered         1200  A preflight answered.
  from_the_future     1

policies
  api  answered 5  origin_denied 1
";
        assert_eq!(human(&status(), false), expected);
    }

    #[test]
    fn what_is_zero_or_missing() {
        assert!(human(&status(), true).contains("\n  flags               0  Flags that"));
        let text = human(&Status { flows_evicted: 7, ..status() }, false);
        assert!(text.contains("\nflows       3, and 7 forgotten because"), "{text}");
        let nothing = BTreeMap::new();
        let by_policy = BTreeMap::new();
        let nothing = Status { counters: nothing, by_policy, measure: true, ..status() };
        let text = human(&nothing, true);
        assert!(text.ends_with("\ncounters  none\n\npolicies  none\n"), "{text}");
        assert!(text.contains("up 1 min 1 s, measuring only"), "{text}");
    }

    #[test]
    fn what_the_last_reload_came_to() {
        let with = |error: Option<&str>| {
            let error = error.map(ToOwned::to_owned);
            let reload = Some(Reload { at: 784_111_777, by: "SIGHUP".to_owned(), error });
            human(&Status { reload, ..status() }, false)
        };
        let line = "\nreload      done, Sun, 06 Nov 1994 08:49:37 GMT, by SIGHUP\n";
        assert!(with(None).contains(line), "{}", with(None));
        let text = with(Some("x has 2 errors"));
        assert!(
            text.contains("REFUSED, Sun, 06 Nov 1994 08:49:37 GMT, by SIGHUP: x has"),
            "{text}"
        );
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }
}
