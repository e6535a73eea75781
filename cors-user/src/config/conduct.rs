//! How a policy's answers look, beyond what they say: `[policy.preflight]`, `compat` and `enforce`.
//! Pure.

use super::nearest::nearest;
use super::problem::{At, Problems, Reason};
use super::raw::{Field, Policy, Preflight};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conduct {
    /// Status of the answer to an allowed preflight.
    pub success: Success,
    /// Status of the answer to a denied one; the driver passes those.
    pub denied_status: u16,
    /// What of a preflight is judged besides the origin.
    pub validate: Validate,
    /// What an answer lists.
    pub advertise: Advertise,
    /// `Access-Control-Expose-Headers` is on the answers to preflights too.
    pub expose_on_preflight: bool,
    /// Actual requests of origins that are not allowed are refused.
    pub enforce: bool,
}

/// Status of the answer to an allowed preflight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Success {
    /// 204, without a `Content-Length`.
    #[default]
    NoContent,
    /// 200, for clients that take nothing else.
    Ok,
}

/// What of a preflight is judged besides the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validate {
    /// Its method and every header.
    #[default]
    Strict,
    /// Nothing: the answer lists what is allowed, and the browser compares.
    Static,
}

/// What an answer lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Advertise {
    /// Everything that is allowed.
    #[default]
    Full,
    /// What was asked for.
    Minimal,
}

impl Success {
    /// The number.
    pub const fn code(self) -> u16 {
        match self {
            Self::NoContent => 204,
            Self::Ok => 200,
        }
    }
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            success: Success::default(),
            denied_status: 403,
            validate: Validate::default(),
            advertise: Advertise::default(),
            expose_on_preflight: false,
            enforce: false,
        }
    }
}

impl Conduct {
    /// Whether an answer depends on more than the policy and the origin, so that the driver cannot
    /// have it ready.
    pub const fn is_made_to_measure(&self) -> bool {
        matches!(self.advertise, Advertise::Minimal)
    }
}

/// `max_age` of `compat = "gateway-api"`, where the file has none.
pub(super) const GATEWAY_MAX_AGE: u32 = 5;

/// Whether a policy is to do as the Gateway API's HTTPRoute CORS filter does.
pub(super) fn is_gateway(raw: &Policy, problems: &mut Problems) -> bool {
    const KNOWN: &[(&str, bool)] = &[("gateway-api", true)];
    raw.compat.given().and_then(|at| choice(at, KNOWN, problems)).unwrap_or(false)
}

/// Reads a policy's conduct. What is wrong is left out.
pub(super) fn conduct(raw: &Policy, gateway: bool, problems: &mut Problems) -> Conduct {
    let mut conduct = Conduct {
        expose_on_preflight: gateway,
        enforce: raw.enforce.given().is_some_and(|at| at.value),
        ..Conduct::default()
    };
    let Field::Given(At { value: preflight, .. }) = &raw.preflight else { return conduct };
    let Preflight { success_status, denied_status, validate, advertise } = preflight;
    if let Some(at) = success_status.given() {
        match &*at.value {
            "204" => conduct.success = Success::NoContent,
            "200" => conduct.success = Success::Ok,
            _ => problems.error(at, Reason::Invalid, "write 204, or 200 for clients that need it"),
        }
    }
    if let Some(at) = denied_status.given() {
        match at.value.parse() {
            Ok(status @ (200 | 204 | 400..=499)) => conduct.denied_status = status,
            _ => problems.error(
                at,
                Reason::Invalid,
                "write a status that denies, from 400 to 499, or 200 or 204: a browser needs no \
                 status to see that nothing is allowed",
            ),
        }
    }
    if let Some(at) = validate.given() {
        const KNOWN: &[(&str, Validate)] =
            &[("strict", Validate::Strict), ("static", Validate::Static)];
        conduct.validate = choice(at, KNOWN, problems).unwrap_or_default();
    }
    if let Some(at) = advertise.given() {
        const KNOWN: &[(&str, Advertise)] =
            &[("full", Advertise::Full), ("minimal", Advertise::Minimal)];
        conduct.advertise = choice(at, KNOWN, problems).unwrap_or_default();
        let nothing_checked = conduct.validate == Validate::Static;
        if conduct.advertise == Advertise::Minimal && nothing_checked {
            problems.error(
                at,
                Reason::Incompatible,
                "`validate = \"static\"` judges nothing, and what was asked for would be allowed \
                 unseen: leave one of the two out",
            );
        } else if conduct.advertise == Advertise::Minimal {
            problems.warning(
                at,
                Reason::Incompatible,
                "the driver has its answers ready and cannot fit them to the request: preflights \
                 of this policy are answered by the slow path alone",
            );
        }
    }
    conduct
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    at: &At<String>,
    known: &[(&'static str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let found = known.iter().find(|(word, _)| *word == at.value);
    if found.is_none() {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let hint = match nearest(&at.value, &words) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write \"{}\"", words.join("\" or \"")),
        };
        problems.error(at, Reason::Invalid, hint);
    }
    found.map(|(_, value)| *value)
}
