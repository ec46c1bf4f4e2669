//! Calls another service for each request and hands what it learns to the upstream.
//!
//! ```json
//! { "use": "enrich", "config": { "profiles": "profiles", "timeout": "200ms" } }
//! ```

use sluicegate_sdk::prelude::*;

/// Adds the plan of the calling user to each request.
#[derive(Config)]
pub struct Enrich {
    /// The service that answers `GET /users/{id}` with `{"plan": "…"}`.
    profiles: Upstream,
    /// How long to wait for it.
    #[config(default = "500ms")]
    timeout: Duration,
}

#[derive(Deserialize)]
struct Profile {
    plan: String,
}

#[filter]
impl Filter for Enrich {
    async fn request(&self, req: &mut Request) -> Result {
        // Nobody but this filter says what the plan is.
        req.headers().remove("x-plan");
        let user = req.headers().get_str("x-user").or_reply(401, "the user is not known")?;
        ensure!(user.bytes().all(|byte| byte.is_ascii_alphanumeric()), 400, "x-user is no user name");

        let answer = self.profiles.get(&format!("/users/{user}")).timeout(self.timeout).await?;
        ensure!(answer.status() != 404, 403, "the user has no profile");
        let profile: Profile = answer.json()?;
        req.headers().set("x-plan", &profile.plan);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicegate_sdk::test::{CallReply, Harness};

    fn gateway(answer: CallReply) -> Harness<Enrich> {
        let gateway = Harness::new(json!({ "profiles": "profiles" })).unwrap();
        gateway.upstream("profiles", move |_| answer.clone())
    }

    #[test]
    fn the_upstream_learns_the_plan() {
        let out = gateway(CallReply::json(200, json!({ "plan": "gold" }))).get("/").header("x-user", "ada").send();
        assert_eq!(out.upstream_request().unwrap().header("x-plan"), Some("gold"));
        assert_eq!(out.calls("profiles")[0].path, "/users/ada");
    }

    #[test]
    fn a_plan_from_outside_is_removed() {
        let request = gateway(CallReply::json(200, json!({ "plan": "free" })));
        let out = request.get("/").header("x-user", "ada").header("x-plan", "gold").send();
        assert_eq!(out.upstream_request().unwrap().header("x-plan"), Some("free"));
    }

    #[test]
    fn unknown_users_are_answered_without_the_upstream() {
        let gateway = gateway(CallReply::new(404));
        assert_eq!(gateway.get("/").send().status(), 401);
        let out = gateway.get("/").header("x-user", "eve").send();
        assert_eq!(out.status(), 403);
        assert!(!out.reached_upstream());
    }

    #[test]
    fn a_slow_service_is_a_fault() {
        let slow = CallReply::json(200, json!({ "plan": "gold" })).delay(Duration::from_secs(1));
        let out = gateway(slow).get("/").header("x-user", "ada").send();
        assert_eq!(out.status(), 503);
        assert_eq!(out.fault(), Some("upstream `profiles` answered 504"));
    }
}
