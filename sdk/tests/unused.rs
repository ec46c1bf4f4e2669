//! A filter that is private, as those of modules are, is in use: nobody is told otherwise, with tests of its own or without.
#![deny(dead_code)]

use sluicegate_sdk::prelude::*;

#[derive(Config)]
struct TokenAuth {
    idp: Upstream,
}

#[derive(Deserialize)]
struct Who {
    active: bool,
    sub: String,
}

#[filter]
impl Filter for TokenAuth {
    async fn request(&self, req: &mut Request) -> Result {
        let who: Who = self.idp.get("/who").await?.json()?;
        ensure!(who.active, 401, "token is not active");
        req.headers().set("x-user", &who.sub);
        Ok(())
    }
}

#[test]
fn a_filter_that_no_test_names_is_no_dead_code() {
    // That this file compiles is the test.
}
