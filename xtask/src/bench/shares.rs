//! What cors-edge is worth, and what it costs where it has nothing to do: rates of one core by the share
//! of preflights among small GETs, with it in front of nginx and without.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{
    Outcome, Plan, Row,
    chart::{Bar, Chart},
    peer::Peer,
    policy::{self, Size},
    progress::Progress,
    rig::{Load, number},
    samples::Samples,
};

/// Preflights among four requests.
const SHARES: [usize; 5] = [0, 1, 2, 3, 4];
/// What must be left of nginx's rate where there are no preflights.
const GOAL: f64 = 0.97;

/// One way to use connections, with some share of preflights.
struct Case {
    label: String,
    share: usize,
    load: Load,
    with: Samples,
    without: Samples,
}

pub(super) fn run(plan: &Plan) -> Result<Outcome> {
    let size = Size::THOUSAND;
    let with = Peer::CorsEdge.start(plan, size)?;
    let without = Peer::Nginx.start(plan, size)?;
    let mut cases = cases(plan)?;
    let rounds = plan.pick(5, 2);
    let progress = Progress::new("shares", rounds * cases.len() * 2);
    for _ in 0..rounds {
        for case in &mut cases {
            let report = progress.step("with", || with.rig.play(&case.load))?;
            case.with.push(number(&report, "/replies_per_s")?);
            let report = progress.step("without", || without.rig.play(&case.load))?;
            case.without.push(number(&report, "/replies_per_s")?);
        }
    }
    progress.done();
    Ok(Outcome {
        rows: cases.iter().map(Case::row).collect(),
        notes: vec![
            "shares: GETs of 6 bytes and preflights of 519, answered by nginx where not by cors-edge; \
             one core for both, native XDP. Kept-alive connections carry GETs alone: after the first \
             one is handed over, a preflight on the same connection is nginx's."
                .to_owned(),
        ],
        charts: vec![Chart {
            name: "shares".to_owned(),
            title: "Requests of one core, one connection each, by share of preflights".to_owned(),
            unit: "per second".to_owned(),
            bars: cases.iter().skip(1).flat_map(Case::bars).collect(),
        }],
        samples: Value::Object(cases.iter().map(Case::json).collect::<Map<_, _>>()),
    })
}

fn cases(plan: &Plan) -> Result<Vec<Case>> {
    let preflights = policy::preflights(Size::THOUSAND, 519)?;
    let case = |label: String, share, load| {
        let (with, without) = Default::default();
        Case { label, share, load, with, without }
    };
    let mut cases = vec![case(
        "0 % preflights, kept alive".to_owned(),
        0,
        Load::new(plan, vec![policy::get()]),
    )];
    for share in SHARES {
        let request = |n: usize| {
            if n % 4 < share { preflights[n % preflights.len()].clone() } else { policy::get() }
        };
        let load = Load::new(plan, (0..400).map(request).collect()).one_shot();
        cases.push(case(format!("{} % preflights, one connection each", share * 25), share, load));
    }
    Ok(cases)
}

impl Case {
    fn row(&self) -> Row {
        let ratio = self.with.over(&self.without);
        let row = Row::new(
            format!("{}: requests/s with cors-edge / without", self.label),
            format!(
                "{} ({:.0} / {:.0})",
                ratio.show(2, "×"),
                self.with.median(),
                self.without.median()
            ),
        );
        if self.share == 0 {
            row.goal(&format!("≥ {GOAL}×"), ratio.median() >= GOAL).headline()
        } else {
            row
        }
    }

    fn bars(&self) -> [Bar; 2] {
        let percent = self.share * 25;
        [
            Bar::new(format!("{percent} %, with cors-edge"), &self.with, true),
            Bar::new(format!("{percent} %, nginx alone"), &self.without, false),
        ]
    }

    fn json(&self) -> (String, Value) {
        let of = json!({
            "with_per_s": Value::from(&self.with),
            "without_per_s": Value::from(&self.without),
        });
        (self.label.clone(), of)
    }
}
