//! "Main fetch" (Fetch §4.1), up to the point where something is sent.

use crate::{
    Failure, Mode, Origin, Reason, Request, Step, Tainting, forbidden::is_bad_port,
    needs_preflight, origin::is_potentially_trustworthy,
};

/// How a request goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the page's own origin: CORS has no part in it.
    SameOrigin,
    /// Sent, but no script sees the response (mode `no-cors`).
    Opaque,
    /// By the CORS protocol: with a preflight if there is a reason for one.
    Cors(Vec<Reason>),
}

/// Where a request goes; [`Request::tainting`] says then what may be seen of the response.
pub fn route(request: &mut Request) -> Result<Route, Failure> {
    let url = request.url();
    let target = Origin::of_url(url);
    if let Some(port) = url.port()
        && matches!(url.scheme(), "http" | "https")
        && is_bad_port(port)
    {
        return Err(Failure::new(Step::PortNotBad, format!("browsers connect to no port {port}")));
    }
    // By the letter of the standard a page of http://localhost would be held to this as well.
    // Browsers ask for https.
    let secure_page = matches!(request.origin(), Origin::Tuple { scheme, .. } if scheme == "https");
    if secure_page && url.scheme() == "http" && !is_potentially_trustworthy(&target) {
        let said = format!("a page of {} asks for {url}", request.origin().serialize());
        return Err(Failure::new(Step::NotMixedContent, said));
    }
    if request.origin().is_same(&target) && request.tainting() == Tainting::Basic {
        return Ok(Route::SameOrigin);
    }
    match request.mode() {
        Mode::SameOrigin => {
            let (page, target) = (request.origin().serialize(), target.serialize());
            let said = format!("the page is of {page}, the URL of {target}");
            Err(Failure::new(Step::SameOriginMode, said))
        }
        Mode::NoCors => {
            request.set_tainting(Tainting::Opaque);
            Ok(Route::Opaque)
        }
        Mode::Cors if !matches!(url.scheme(), "http" | "https") => {
            Err(Failure::new(Step::SchemeIsHttp, format!("it is of {}", url.scheme())))
        }
        Mode::Cors => {
            request.set_tainting(Tainting::Cors);
            Ok(Route::Cors(needs_preflight(request)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn go(page: &str, url: &str, mode: Mode) -> Result<Route, Step> {
        let origin = Origin::of_page(page).unwrap();
        let request = Request::new(origin, "GET", url).unwrap();
        route(&mut request.with_mode(mode).unwrap()).map_err(|failure| failure.step)
    }

    #[test]
    fn routes() {
        use Mode::{Cors, NoCors, SameOrigin};
        let app = "https://app.example.com";
        for (page, url, mode, expected) in [
            (app, "https://app.example.com/x", Cors, Ok(Route::SameOrigin)),
            (app, "https://app.example.com:443/x", SameOrigin, Ok(Route::SameOrigin)),
            (app, "https://app.example.com:8443/x", Cors, Ok(Route::Cors(vec![]))),
            (app, "https://api.example.com/", Cors, Ok(Route::Cors(vec![]))),
            (app, "https://api.example.com/", NoCors, Ok(Route::Opaque)),
            (app, "https://api.example.com/", SameOrigin, Err(Step::SameOriginMode)),
            (app, "https://api.example.com:25/", Cors, Err(Step::PortNotBad)),
            (app, "https://app.example.com:6000/", Cors, Err(Step::PortNotBad)),
            (app, "http://api.example.com/", Cors, Err(Step::NotMixedContent)),
            (app, "http://app.example.com/", NoCors, Err(Step::NotMixedContent)),
            (app, "http://localhost:8080/", Cors, Ok(Route::Cors(vec![]))),
            (app, "ftp://api.example.com/", Cors, Err(Step::SchemeIsHttp)),
            ("http://app.example.com", "http://api.example.com", Cors, Ok(Route::Cors(vec![]))),
            ("http://localhost:3000", "http://api.example.com", Cors, Ok(Route::Cors(vec![]))),
            ("null", "https://api.example.com/", Cors, Ok(Route::Cors(vec![]))),
        ] {
            assert_eq!(go(page, url, mode), expected, "{page} {url} {mode:?}");
        }
    }
}
