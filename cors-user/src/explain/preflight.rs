//! The part of an explanation that is about the preflight, whoever answers it.

use cors_oracle::{
    ALLOW_HEADERS, Browser, Grant, Judgement, Reason, Request, Response, Step, judge_preflight,
};

use super::explanation::{Answerer, Because, Explanation, Preflight, Remembered, Stage, names};

/// The preflight of a request as it is sent, with no answer yet.
pub(super) fn sent(request: &Request, browser: Browser, reasons: &[Reason]) -> Preflight {
    Preflight {
        because: reasons.iter().map(because).collect(),
        browser: browser.name(),
        head: String::from_utf8_lossy(&browser.head(request)).into_owned(),
        driver: None,
        answered_by: None,
        response: None,
        passed: Vec::new(),
        remembered: Vec::new(),
    }
}

fn because(reason: &Reason) -> Because {
    let (what, names) = match reason {
        Reason::Method(method) => ("method", vec![method.clone()]),
        Reason::Headers(names) => ("headers", names.clone()),
        Reason::UploadListener => ("upload_listener", Vec::new()),
        Reason::StreamBody => ("stream_body", Vec::new()),
    };
    Because { what, names }
}

/// Judges the answer to a preflight; whether it is granted.
pub(super) fn judge(
    explanation: &mut Explanation,
    preflight: &mut Preflight,
    request: &Request,
    answered_by: Answerer,
    response: &Response,
) -> bool {
    let judgement: Judgement<Grant> = judge_preflight(request, response);
    preflight.answered_by = Some(answered_by);
    preflight.passed = names(&judgement);
    match judgement.outcome {
        Ok(grant) => {
            preflight.remembered = Browser::ALL
                .map(|browser| Remembered {
                    browser: browser.name(),
                    seconds: grant.max_age.min(browser.max_age_limit()),
                })
                .into();
            true
        }
        Err(failure) => {
            if failure.step == Step::AuthorizationAllowed && has_star(response) {
                explanation.notes.extend(lenient());
            }
            explanation.fail(Stage::Preflight, &failure);
            false
        }
    }
}

/// Whether `*` is among the headers that are allowed.
fn has_star(response: &Response) -> bool {
    let mut values = response.headers.all(ALLOW_HEADERS);
    values.any(|value| value.split(|byte| *byte == b',').any(|name| name.trim_ascii() == b"*"))
}

/// The browsers that are less strict than the standard there.
fn lenient() -> Option<String> {
    let lenient = Browser::ALL.into_iter().filter(|it| it.lets_wildcard_cover_authorization());
    let names: Vec<&str> = lenient.map(Browser::name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} lets `*` cover `authorization` all the same; by the standard it does not.",
            names.join(", ")
        )
    })
}
