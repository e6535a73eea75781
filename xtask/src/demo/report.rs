//! What the demonstration prints.

use std::{
    env,
    io::{IsTerminal as _, stdout},
};

use super::{
    Answerer,
    agent_process::Counters,
    client::{Exchange, Request},
    policy::Policy,
};

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "1;32";
const BLUE: &str = "1;34";
const RED: &str = "1;31";

/// Prints as it goes and counts what was not as expected.
pub(super) struct Report {
    colour: bool,
    surprises: usize,
}

impl Report {
    pub(super) fn new() -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && stdout().is_terminal(), surprises: 0 }
    }

    pub(super) fn surprises(&self) -> usize {
        self.surprises
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn opening(&self, policy: &Policy, address: &str) {
        println!("\n{}", self.paint(BOLD, "cors-edge answers CORS preflights in the driver."));
        println!(
            "An origin server that knows nothing of CORS listens on {address}. The example \
             policy lets\n{} use {} on {}.",
            policy.origin, policy.method, policy.host
        );
    }

    pub(super) fn scene(&self, title: &str) {
        println!("\n{}", self.paint(BOLD, &format!("── {title}")));
    }

    pub(super) fn exchange(
        &mut self,
        request: &Request,
        exchange: &Exchange,
        answerer: Answerer,
        expected: bool,
    ) {
        println!("\n  > {} HTTP/1.1", request.line());
        for (name, value) in &request.headers {
            println!("  > {name}: {value}");
        }
        let who = match answerer {
            Answerer::Driver => {
                self.paint(GREEN, "the driver answered") + "; the origin server never saw this"
            }
            Answerer::Socket => self.paint(BLUE, "the socket answered") + ", the origin server's",
        };
        println!("    {who}");
        for line in exchange.head.lines().filter(|line| !line.is_empty()) {
            println!("{}", self.paint(DIM, &format!("  < {line}")));
        }
        if !exchange.body.is_empty() {
            println!("{}", self.paint(DIM, &format!("  < {}", exchange.body)));
        }
        self.check(expected, "this is not the answer that was expected");
    }

    /// Complains where something does not hold.
    pub(super) fn check(&mut self, holds: bool, complaint: &str) {
        if !holds {
            self.surprises += 1;
            println!("    {}", self.paint(RED, &format!("unexpected: {complaint}")));
        }
    }

    pub(super) fn closing(&self, counted: &Counters) {
        println!("\n{}", self.paint(BOLD, "── What the kernel programs counted"));
        for (name, n) in counted.nonzero() {
            println!("  {n:>6}  {name}");
        }
        if self.surprises == 0 {
            println!("\n{}", self.paint(GREEN, "Every answer came from where it should."));
        }
    }
}
