//! Preflights as browsers and proxies write them, in every order and case of their headers.

use cors_tests::{
    agent::Agent,
    browsers::{CASES, REQUEST, WRITERS, chromium, head, orders},
    client::{Http, Response},
    counter, for_each_family, policy,
    server::Recording,
    topology::{Pair, server_at},
};

fn without_date(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| name != "date");
    response
}

for_each_family! {
    fn every_head_gets_the_same_answer(family) {
        let pair = Pair::new();
        let at = server_at(family);
        let server = Recording::listen(&pair.server, at);
        let agent = Agent::protect(&pair.server, Pair::INTERFACE);
        let mut asked = 0;
        let counted = agent.counted(|| {
            let mut http = Http::connect(&pair.client, at);
            let expected = without_date(http.ask(&policy::head(REQUEST, &chromium())));
            assert!(expected.is_cors());
            asked += 1;
            for writer in WRITERS {
                for order in orders(&writer()) {
                    for case in CASES {
                        let request = head(&order, case);
                        let answer = without_date(http.ask(&request));
                        assert_eq!(answer, expected, "{}", String::from_utf8_lossy(&request));
                        asked += 1;
                    }
                }
            }
        });
        assert_eq!(counted.get(counter::ANSWERED), asked);
        assert_eq!(counted.get(counter::HANDED_OVER), 0);
        assert_eq!(server.count(), 0);
    }
}
