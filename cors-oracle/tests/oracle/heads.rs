//! How the browsers write a preflight.

use cors_oracle::{Browser, Origin, Request};

use crate::support::request;

fn text(browser: Browser, request: &Request) -> String {
    String::from_utf8(browser.head(request)).unwrap()
}

#[test]
fn chromium() {
    let request = request("PUT", &[("authorization", "x"), ("x-a", "1")], false);
    let expected = "OPTIONS /v1/users?id=1 HTTP/1.1\r\n\
        Host: api.example.com\r\n\
        Connection: keep-alive\r\n\
        Accept: */*\r\n\
        Access-Control-Request-Method: PUT\r\n\
        Access-Control-Request-Headers: authorization,x-a\r\n\
        Origin: https://app.example.com\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
        Chrome/156.0.0.0 Safari/537.36\r\n\
        Sec-Fetch-Mode: cors\r\n\
        Sec-Fetch-Site: same-site\r\n\
        Sec-Fetch-Dest: empty\r\n\
        Referer: https://app.example.com/\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\n\
        Accept-Language: en-US,en;q=0.9\r\n\r\n";
    assert_eq!(text(Browser::Chromium, &request), expected);
}

#[test]
fn every_browser_says_the_same() {
    let headers = [("content-type", "application/json")];
    for (headers, asked) in [(&headers[..], true), (&[], false)] {
        let request = request("PATCH", headers, true);
        for browser in Browser::ALL {
            let head = text(browser, &request);
            assert!(head.starts_with("OPTIONS /v1/users?id=1 HTTP/1.1\r\n"), "{head}");
            assert!(head.ends_with("\r\n\r\n"), "{head}");
            for line in [
                "Host: api.example.com",
                "Accept: */*",
                "Access-Control-Request-Method: PATCH",
                "Origin: https://app.example.com",
            ] {
                assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{head}");
            }
            let list = "\r\nAccess-Control-Request-Headers: content-type\r\n";
            assert_eq!(head.contains(list), asked, "{head}");
            assert_eq!(head.contains("Access-Control-Request-Headers"), asked, "{head}");
            // Credentials never go with a preflight.
            assert!(!head.contains("Cookie") && !head.contains("Authorization"), "{head}");
        }
    }
}

#[test]
fn fetch_metadata_and_better_codings_are_for_secure_urls() {
    let of =
        |page: &str, url: &str| Request::new(Origin::of_page(page).unwrap(), "PUT", url).unwrap();
    for (page, url, site) in [
        ("http://app.example", "http://localhost:8080/", Some("cross-site")),
        ("https://app.example", "https://app.example:1/", Some("same-site")),
        ("null", "https://app.example/", Some("cross-site")),
        ("http://app.example", "http://api.example/", None),
    ] {
        for browser in [Browser::Chromium, Browser::Firefox] {
            let head = text(browser, &of(page, url));
            let found = head.split("Sec-Fetch-Site: ").nth(1).and_then(|r| r.split('\r').next());
            assert_eq!(found, site, "{head}");
            assert_eq!(head.contains("zstd"), site.is_some(), "{head}");
        }
    }
}

#[test]
fn the_referer_is_the_origin_where_it_may_be_known() {
    for (page, url, expected) in [
        ("https://app.example/x?y", "https://api.example/", Some("https://app.example/")),
        ("http://app.example", "https://api.example/", Some("http://app.example/")),
        ("https://app.example", "http://localhost/", None),
        ("null", "https://api.example/", None),
        ("chrome-extension://abc", "https://api.example/", None),
    ] {
        let request = Request::new(Origin::of_page(page).unwrap(), "PUT", url).unwrap();
        for browser in Browser::ALL {
            let head = text(browser, &request);
            let found = head.split("Referer: ").nth(1).and_then(|rest| rest.split('\r').next());
            assert_eq!(found, expected, "{head}");
        }
    }
}
