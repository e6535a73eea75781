//! What is on the screen: a function of what was told. Made for 80 columns and 24 lines, and for
//! more.

use std::cmp::Reverse;

use cors_common::exit::{Action, Exit};
use cors_user::agent::report;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table},
};

use super::history::History;

/// By what the reasons are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// The fastest first.
    #[default]
    Rate,
    /// The largest first.
    Total,
    /// As a packet meets them.
    Way,
}

impl Sort {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Rate => Self::Total,
            Self::Total => Self::Way,
            Self::Way => Self::Rate,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Total => "total",
            Self::Way => "way",
        }
    }
}

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) sort: Sort,
    /// Reasons that nothing was counted for, too.
    pub(super) all: bool,
    pub(super) colour: bool,
}

impl Look {
    fn tint(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn alarm(self) -> Style {
        self.tint(Color::Red).add_modifier(Modifier::BOLD)
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, history: &History, look: Look) {
    let [head, chart, body, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(5),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, history, look);
    draw_chart(frame, chart, history, look);
    let [reasons, side] =
        Layout::horizontal([Constraint::Min(46), Constraint::Length(33)]).areas(body);
    draw_reasons(frame, reasons, history, look);
    draw_side(frame, side, history, look);
    let keys = format!("q quit   s sort ({})   a all reasons", look.sort.name());
    frame.render_widget(Paragraph::new(keys).style(look.tint(Color::DarkGray)), foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, history: &History, look: Look) {
    let status = &history.status;
    let policy = &status.policy;
    let state = match (&history.lost, &status.idle, status.measure) {
        (Some(lost), ..) => Line::styled(format!("NO AGENT: {lost}"), look.alarm()),
        (_, Some(idle), _) => Line::styled(format!("PASSING EVERYTHING: {idle}"), look.alarm()),
        (_, _, true) => Line::styled("measuring: everything passes", look.tint(Color::Yellow)),
        _ => Line::styled("answering", look.tint(Color::Green)),
    };
    let generation = format!(
        "generation {} ({}): {} policies, {} origins",
        policy.generation,
        policy.digest.get(..8).unwrap_or_default(),
        policy.policies,
        policy.origins,
    );
    let policy = match status.reload.as_ref().and_then(|reload| reload.error.as_ref()) {
        None => Line::raw(generation),
        Some(error) => Line::styled(
            format!("{generation}; THE LAST RELOAD WAS REFUSED: {error}"),
            look.alarm(),
        ),
    };
    let up = report::duration(status.uptime_seconds);
    let title = format!("cors-edge {}  {}  up {up}", status.version, status.mode);
    let title = Line::styled(title, Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Paragraph::new(vec![title, state, policy]), area);
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, history: &History, look: Look) {
    let latest = history.answered.back().copied().unwrap_or(0);
    let peak = history.answered.iter().copied().max().unwrap_or(0);
    let block = Block::new()
        .borders(Borders::TOP)
        .title(format!(" preflights answered: {latest}/s, peak {peak}/s "));
    // As many of the latest as there is room for.
    let skip = history.answered.len().saturating_sub(area.width as usize);
    let shown: Vec<u64> = history.answered.iter().skip(skip).copied().collect();
    let chart = Sparkline::default().data(shown).style(look.tint(Color::Cyan)).block(block);
    frame.render_widget(chart, area);
}

fn draw_reasons(frame: &mut Frame<'_>, area: Rect, history: &History, look: Look) {
    let total = |exit: &Exit| history.status.counters.get(exit.name()).copied().unwrap_or(0);
    let rate = |exit: &Exit| history.rates.get(exit.name()).copied().unwrap_or(0);
    let mut exits: Vec<&Exit> = Exit::ALL.iter().filter(|e| look.all || total(e) > 0).collect();
    match look.sort {
        Sort::Rate => exits.sort_by_key(|exit| Reverse((rate(exit), total(exit)))),
        Sort::Total => exits.sort_by_key(|exit| Reverse(total(exit))),
        Sort::Way => {}
    }
    let rows = exits.into_iter().map(|exit| {
        let (action, style) = match exit.action() {
            Action::Pass => ("pass", Style::new()),
            Action::Drop => ("drop", look.tint(Color::Yellow)),
            Action::Transmit => ("reply", look.tint(Color::Green)),
        };
        let number = |text: String| Cell::new(Line::raw(text).right_aligned());
        Row::new([
            Cell::new(exit.name()),
            Cell::new(action),
            number(rate(exit).to_string()),
            number(total(exit).to_string()),
        ])
        .style(style)
    });
    let widths =
        [Constraint::Min(18), Constraint::Length(5), Constraint::Length(8), Constraint::Length(12)];
    let right = |text| Cell::new(Line::raw(text).right_aligned());
    let header =
        Row::new([Cell::new("reason"), Cell::new("what"), right("a second"), right("total")])
            .style(Style::new().add_modifier(Modifier::UNDERLINED));
    let block = Block::new().borders(Borders::TOP).title(" packets ");
    frame.render_widget(Table::new(rows, widths).header(header).block(block), area);
}

fn draw_side(frame: &mut Frame<'_>, area: Rect, history: &History, look: Look) {
    let status = &history.status;
    let mut lines = Vec::new();
    for interface in &status.interfaces {
        lines.push(Line::raw(format!("{:<15} XDP {}", interface.name, interface.xdp)));
    }
    if status.interfaces.is_empty() {
        lines.push(Line::styled("on no interface", look.alarm()));
    }
    lines.push(Line::raw(format!("{:<15} {}", "protected", status.protected.len())));
    lines.push(Line::raw(""));
    for program in &status.programs {
        let time = history.run_ns.get(&program.name).map_or("-".to_owned(), u64::to_string);
        lines.push(Line::raw(format!("{:<15} {time:>6} ns a run", program.name)));
    }
    lines.push(Line::raw(""));
    lines.extend(slow_path(history, look));
    for map in &status.maps {
        let percent = map.entries * 100 / map.room.max(1);
        let style = if percent >= 95 { look.tint(Color::Yellow) } else { Style::new() };
        lines.push(Line::styled(
            format!("{:<11} {:>8} {percent:>3}%", map.name, map.entries),
            style,
        ));
    }
    lines.push(Line::raw(""));
    lines.extend(policies(history, look));
    let block = Block::new().borders(Borders::TOP | Borders::LEFT).title(" host ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Requests of the slow path, and upstreams that are not there; nothing where there is none.
fn slow_path(history: &History, look: Look) -> Vec<Line<'static>> {
    let Some(proxy) = &history.status.proxy else { return Vec::new() };
    let heading = format!("{:<14}{:>9}{:>8}", "proxy", "a second", "ms");
    let mut lines = vec![Line::styled(heading, Style::new().add_modifier(Modifier::UNDERLINED))];
    for (outcome, latency) in &proxy.requests.durations {
        let [rate, mean_us] = history.slow.get(outcome).copied().unwrap_or_default();
        if look.all || latency.count() > 0 {
            let ms = format!("{}.{}", mean_us / 1000, mean_us / 100 % 10);
            lines.push(Line::raw(format!("{outcome:<14}{rate:>9}{ms:>8}")));
        }
    }
    for (name, _) in proxy.upstreams.iter().filter(|(_, health)| !health.up) {
        lines.push(Line::styled(format!("DOWN {name:<26.26}"), look.alarm()));
    }
    lines.push(Line::raw(""));
    lines
}

/// The policies, by what the reasons are sorted by; the order of their names is their way.
fn policies(history: &History, look: Look) -> Vec<Line<'static>> {
    let slow = history.status.proxy.as_ref();
    let total = |name: &String| {
        let tiers = [Some(&history.status.by_policy), slow.map(|proxy| &proxy.by_policy)];
        let counted = tiers.into_iter().flatten().filter_map(|policies| policies.get(name));
        counted.flat_map(|reasons| reasons.values()).sum::<u64>()
    };
    let mut all: Vec<_> = history.status.by_policy.keys().collect();
    let rates = |name: &String| history.by_policy.get(name).copied().unwrap_or_default();
    match look.sort {
        Sort::Rate => all.sort_by_key(|name| Reverse((rates(name), total(name)))),
        Sort::Total => all.sort_by_key(|name| Reverse(total(name))),
        Sort::Way => {}
    }
    let line = |name: &String| {
        let [answered, denied] = rates(name);
        // Of a long name the beginning.
        let text = format!("{name:<14.14}{answered:>9}{denied:>8}");
        let style = if denied > answered { look.tint(Color::Yellow) } else { Style::new() };
        Line::styled(text, style)
    };
    let shown = all.into_iter().filter(|name| look.all || total(name) > 0).map(line);
    let heading = format!("{:<14}{:>9}{:>8}", "policy (/s)", "answered", "denied");
    let heading = Line::styled(heading, Style::new().add_modifier(Modifier::UNDERLINED));
    [heading].into_iter().chain(shown).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::time::{Duration, Instant};

    use cors_user::agent::status::Status;
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::*;

    fn status(answered: u64, denied: u64) -> Status {
        serde_json::from_value(json!({
            "version": "0.1.0", "pid": 1, "mode": "sidecar", "measure": false,
            "started_at": 784_111_777, "uptime_seconds": 3720,
            "startup": {"file_us": 1, "compile_us": 1, "programs_us": 1, "policy_us": 1, "other_us": 1},
            "policy": {"generation": 3, "digest": "0123456789abcdef", "loaded_at": 1, "policies": 2,
                       "origins": 41, "source": "/etc/cors-edge/policy.toml"},
            "idle": null, "reload": null, "reloads": {"done": 2, "refused": 0},
            "interfaces": [{"name": "eth0", "index": 2, "xdp": "native"}],
            "programs": [
                {"name": "edge", "id": 7, "run_count": answered, "run_time_ns": answered * 310,
                 "verified_instructions": 9},
                {"name": "handover", "id": 8, "run_count": 0, "run_time_ns": 0,
                 "verified_instructions": 9}],
            "protected": ["10.0.0.1:80", "[fd00::1]:80"],
            "maps": [{"name": "facts", "entries": 64, "room": 4096},
                     {"name": "flows", "entries": 260_000, "room": 262_144}],
            "flows": 260_000,
            "by_policy": {"api": {"answered": answered, "origin_denied": denied},
                          "downloads": {"answered": 0, "method_denied": denied},
                          "unused": {"answered": 0}},
            "counters": {"answered": answered, "origin_denied": denied, "reply_ack": answered,
                         "syn_ack": 12, "flags": 0, "not_tcp": 99_999}
        }))
        .unwrap()
    }

    /// Thirty seconds of it.
    fn history() -> History {
        let start = Instant::now();
        let mut history = History::new(status(0, 0));
        let mut total = 0;
        for second in 1..=30 {
            total += 100 * (second % 10 + 1);
            history.add(status(total, second), start + Duration::from_secs(second));
        }
        history
    }

    fn drawn(history: &History, look: Look, size: (u16, u16)) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| draw(frame, history, look)).unwrap();
        terminal
    }

    const LOOK: Look = Look { sort: Sort::Rate, all: false, colour: true };

    #[test]
    fn on_the_smallest_terminal() {
        insta::assert_snapshot!(drawn(&history(), LOOK, (80, 24)).backend());
    }

    #[test]
    fn with_a_slow_path() {
        let with = |forwarded: u64| {
            let mut status = status(forwarded * 3, 5);
            status.mode = "proxy".to_owned();
            let latency = |count: u64| json!({"buckets": [count], "sum_us": count * 1250});
            status.proxy = serde_json::from_value(json!({
                "connections": 3, "counters": {}, "own_cors": {},
                "requests": {"in_flight": 1, "durations": {
                    "answered": latency(7), "failed": latency(0), "forwarded": latency(forwarded)}},
                "upstreams": {
                    "http://127.0.0.1:8080": {"up": true, "results": {},
                        "connect": latency(1), "first_byte": latency(1)},
                    "http://backend-with-a-long-name.example:8080": {"up": false, "results": {},
                        "connect": latency(1), "first_byte": latency(1)}},
                "by_policy": {"api": {"answered": 7, "origin_denied": forwarded}}
            }))
            .unwrap();
            status
        };
        let start = Instant::now();
        let mut history = History::new(with(0));
        for second in 1..4 {
            history.add(with(second * 40), start + Duration::from_secs(second));
        }
        insta::assert_snapshot!(drawn(&history, LOOK, (80, 28)).backend());
        assert_eq!(history.by_policy["api"], [120, 40], "denied once");
    }

    #[test]
    fn the_documents_show_it() {
        let document = include_str!("../../../docs/operating.md");
        let terminal = drawn(&history(), LOOK, (80, 24));
        let screen = terminal.backend().to_string();
        let lines = screen.lines().map(|line| line.trim_matches('"').trim_end());
        let shown = lines.collect::<Vec<_>>().join("\n");
        assert!(document.contains(shown.trim_end()), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_said_first() {
        let mut history = history();
        let mut bad = status(9000, 30);
        bad.idle = Some("net.ipv4.tcp_syncookies is 0".to_owned());
        bad.interfaces.clear();
        bad.reload =
            serde_json::from_value(json!({"at": 1, "by": "SIGHUP", "error": "x has 2 errors"}))
                .unwrap();
        history.add(bad, Instant::now() + Duration::from_secs(40));
        let look = Look { sort: Sort::Way, ..LOOK };
        insta::assert_snapshot!(drawn(&history, look, (100, 18)).backend());
        history.lost("no agent is running".to_owned());
        let text = drawn(&history, look, (80, 24)).backend().to_string();
        assert!(text.contains("NO AGENT: no agent is running"), "{text}");
    }

    #[test]
    fn no_colour_where_none_is_wanted() {
        let colours = |look| {
            let terminal = drawn(&history(), look, (80, 24));
            let cells = terminal.backend().buffer().content();
            cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert!(colours(LOOK) > 0);
        assert_eq!(colours(Look { colour: false, ..LOOK }), 0);
    }

    #[test]
    fn any_size_will_do() {
        for size in [(1, 1), (10, 3), (40, 8), (79, 23), (300, 90)] {
            drawn(&history(), Look { all: true, ..LOOK }, size);
        }
    }

    #[test]
    fn another_agent_that_counts_anew_is_no_negative_rate() {
        let mut history = history();
        history.add(status(5, 0), Instant::now() + Duration::from_mins(1));
        assert!(history.rates.values().all(|rate| *rate == 0), "{:?}", history.rates);
        assert_eq!(Sort::Rate.next().next().next(), Sort::Rate);
    }
}
