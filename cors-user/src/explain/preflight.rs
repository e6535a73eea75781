//! The part of an explanation that is about the preflight, whoever answers it.

use cors_oracle::{Browser, Grant, Judgement, Reason, Request, Response, judge_preflight};

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
            explanation.fail(Stage::Preflight, &failure);
            false
        }
    }
}
