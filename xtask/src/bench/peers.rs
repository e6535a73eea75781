//! The product beside other servers: how many preflights a core answers, what one costs it, and how
//! long clients wait.

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::{
    Outcome, Plan, Row,
    chart::{Bar, Chart},
    peer::{Peer, Site},
    policy::{self, Size},
    progress::Progress,
    rig::{Load, number},
    samples::Samples,
};

/// Bytes of a preflight: Chromium's through a proxy or two.
const HEAD: usize = 519;
/// Arrivals in a second at which the cost is compared: what every server can do.
const CALM: f64 = 15_000.0;
/// The part of the best other server's rate at which waiting is compared.
const BUSY: f64 = 0.8;

/// What was measured of one server.
struct Measured {
    site: Site,
    keepalive: Samples,
    one_shot: Samples,
    cpu_us: Samples,
    cpu_us_one_shot: Samples,
    p50: Samples,
    p99: Samples,
    p999: Samples,
    reports: Vec<Value>,
}

pub(super) fn run(plan: &Plan) -> Result<Outcome> {
    let size = Size::THOUSAND;
    let mut notes = Vec::new();
    let mut servers = Vec::new();
    for peer in plan.peers() {
        if let Some(why) = peer.missing() {
            notes.push(format!("n/a: {why}"));
            continue;
        }
        servers.push(Measured::of(peer.start(plan, size)?));
    }
    let load = Load::new(plan, policy::preflights(size, HEAD)?);
    let rounds = plan.pick(5, 2);
    let progress = Progress::new("peers", rounds * servers.len() * 5);
    for _ in 0..rounds {
        for server in &mut servers {
            server.play(&load, &progress)?;
        }
        let best = best(&servers, |server| &server.keepalive);
        let Some(best) = best.map(|server| server.keepalive.last() * BUSY) else { continue };
        for server in &mut servers {
            server.wait(&load, best, &progress)?;
        }
    }
    progress.done();
    notes.push(format!(
        "peers: policy of 1,000 origins, preflights of {HEAD} bytes, 64 connections; each server on \
         one core, pinned, kernel threads of its interface included; the load in the driver on the \
         other core, every byte of every reply compared. CPU time at {CALM:.0} preflights/s (kept \
         alive) and {:.0}/s (one-shot); waiting at {:.0} % of what the best other server can do.",
        CALM / 3.0,
        BUSY * 100.0
    ));
    Ok(Outcome {
        rows: rows(&servers),
        notes,
        charts: charts(&servers),
        samples: samples(&servers),
    })
}

impl Measured {
    fn of(site: Site) -> Self {
        let (keepalive, one_shot, cpu_us, cpu_us_one_shot, p50, p99, p999) = Default::default();
        Self {
            site,
            keepalive,
            one_shot,
            cpu_us,
            cpu_us_one_shot,
            p50,
            p99,
            p999,
            reports: Vec::new(),
        }
    }

    fn play(&mut self, load: &Load, progress: &Progress) -> Result<()> {
        let name = self.site.peer.name();
        let report = progress.step(name, || self.site.rig.play(load))?;
        self.check(&report)?;
        self.keepalive.push(number(&report, "/replies_per_s")?);
        self.reports.push(report);
        let report = progress.step(name, || self.site.rig.play(&load.clone().one_shot()))?;
        self.one_shot.push(number(&report, "/replies_per_s")?);
        self.reports.push(report);
        let report = progress.step(name, || self.site.rig.play(&load.clone().at(CALM)))?;
        self.cpu_us.push(number(&report, "/server_core/us_per_reply")?);
        self.reports.push(report);
        let calm = load.clone().one_shot().at(CALM / 3.0);
        let report = progress.step(name, || self.site.rig.play(&calm))?;
        self.cpu_us_one_shot.push(number(&report, "/server_core/us_per_reply")?);
        self.reports.push(report);
        Ok(())
    }

    fn wait(&mut self, load: &Load, rate: f64, progress: &Progress) -> Result<()> {
        let load = load.clone().at(rate);
        let report = progress.step(self.site.peer.name(), || self.site.rig.play(&load))?;
        for (samples, name) in
            [(&mut self.p50, "p50"), (&mut self.p99, "p99"), (&mut self.p999, "p999")]
        {
            samples.push(number(&report, &format!("/latency/{name}"))?);
        }
        self.reports.push(report);
        Ok(())
    }

    /// The reply allows what was asked.
    fn check(&self, report: &Value) -> Result<()> {
        let learnt = &report["learnt"][0];
        let (request, reply) = (learnt["request"].as_str(), learnt["reply"].as_str());
        let origin = request.and_then(|text| text.lines().find_map(|l| l.strip_prefix("Origin: ")));
        let allowed = reply.is_some_and(|text| {
            let allowed = format!("access-control-allow-origin: {}", origin.unwrap_or("-"));
            text.lines().any(|line| line.eq_ignore_ascii_case(&allowed))
        });
        ensure!(allowed, "{} does not allow it: {learnt}", self.site.peer.name());
        Ok(())
    }
}

/// Who does best of those that are not ours.
fn best(servers: &[Measured], of: fn(&Measured) -> &Samples) -> Option<&Measured> {
    let others = servers.iter().filter(|server| !server.site.peer.is_ours());
    others.max_by(|a, b| of(a).median().total_cmp(&of(b).median()))
}

/// Who needs least of those that are not ours.
fn thriftiest(servers: &[Measured], of: fn(&Measured) -> &Samples) -> Option<&Measured> {
    let others = servers.iter().filter(|server| !server.site.peer.is_ours());
    others.min_by(|a, b| of(a).median().total_cmp(&of(b).median()))
}

fn rows(servers: &[Measured]) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(ours) = servers.iter().find(|server| server.site.peer == Peer::CorsEdge) {
        let mut more = |what: &str, of: fn(&Measured) -> &Samples, goal: f64| {
            let Some(other) = best(servers, of) else { return };
            let ratio = of(ours).over(of(other));
            let row = Row::new(
                format!("{what}, over {}", other.site.peer.name()),
                format!(
                    "{} ({:.0} / {:.0})",
                    ratio.show(1, "×"),
                    of(ours).median(),
                    of(other).median()
                ),
            );
            rows.push(row.goal(&format!("≥ {goal:.0}×"), ratio.median() >= goal).headline());
        };
        more("preflights/s of a core, kept alive", |server| &server.keepalive, 10.0);
        more("preflights/s of a core, one connection each", |server| &server.one_shot, 20.0);
        let mut less = |what: &str, of: fn(&Measured) -> &Samples, goal: f64| {
            let Some(other) = thriftiest(servers, of) else { return };
            let ratio = of(other).over(of(ours));
            let row = Row::new(
                format!("{what}, {} over ours", other.site.peer.name()),
                format!(
                    "{} ({:.2} / {:.2} µs)",
                    ratio.show(1, "×"),
                    of(other).median(),
                    of(ours).median()
                ),
            );
            rows.push(row.goal(&format!("≥ {goal:.0}×"), ratio.median() >= goal).headline());
        };
        less("server CPU a preflight, kept alive", |server| &server.cpu_us, 10.0);
        less("server CPU a preflight, one connection each", |server| &server.cpu_us_one_shot, 10.0);
        less("p99 at 80 % of the best other rate", |server| &server.p99, 5.0);
    }
    for server in servers {
        let Measured { site, keepalive, one_shot, cpu_us, cpu_us_one_shot, p50, p99, p999, .. } =
            server;
        rows.push(Row::new(
            format!("{}: preflights/s kept alive; one-shot", site.peer.name()),
            format!("{}; {}", keepalive.show(0, ""), one_shot.show(0, "")),
        ));
        rows.push(Row::new(
            "… CPU µs kept alive; one-shot; p50, p99, p99.9 µs".to_owned(),
            format!(
                "{}; {}; {}, {}, {}",
                cpu_us.show(2, ""),
                cpu_us_one_shot.show(2, ""),
                p50.show(0, ""),
                p99.show(0, ""),
                p999.show(0, "")
            ),
        ));
    }
    rows
}

fn charts(servers: &[Measured]) -> Vec<Chart> {
    let chart = |name: &str, title: &str, unit: &str, of: fn(&Measured) -> &Samples| Chart {
        name: name.to_owned(),
        title: title.to_owned(),
        unit: unit.to_owned(),
        bars: servers
            .iter()
            .map(|server| {
                let peer = server.site.peer;
                Bar::new(peer.name(), of(server), peer.is_ours())
            })
            .collect(),
    };
    vec![
        chart("keepalive", "Preflights of one core, kept alive", "per second", |s| &s.keepalive),
        chart("one-shot", "Preflights of one core, one connection each", "per second", |s| {
            &s.one_shot
        }),
        chart("cpu", "Server CPU a preflight, kept alive", "µs", |s| &s.cpu_us),
        chart("p99", "p99 at 80 % of the best other server's rate", "µs", |s| &s.p99),
    ]
}

fn samples(servers: &[Measured]) -> Value {
    let each = servers.iter().map(|server| {
        let mut reports = server.reports.clone();
        for report in &mut reports {
            // The same for all but the first.
            report["learnt"] = Value::Null;
        }
        let of = json!({
            "keepalive_per_s": Value::from(&server.keepalive),
            "one_shot_per_s": Value::from(&server.one_shot),
            "cpu_us": Value::from(&server.cpu_us),
            "cpu_us_one_shot": Value::from(&server.cpu_us_one_shot),
            "p50_us": Value::from(&server.p50),
            "p99_us": Value::from(&server.p99),
            "p999_us": Value::from(&server.p999),
            "reply": server.reports.first().map(|report| report["learnt"][0].clone()),
            "reports": reports,
        });
        (server.site.peer.name().to_owned(), of)
    });
    Value::Object(each.collect::<Map<_, _>>())
}
