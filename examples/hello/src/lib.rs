//! The smallest useful filter: one header on every response.
//!
//! ```json
//! { "use": "hello", "config": { "greeting": "Good morning" } }
//! ```

use sluicegate_sdk::prelude::*;

/// Greets whoever reads response headers.
#[derive(Config)]
pub struct Hello {
    /// What to say.
    #[config(default = "Hello")]
    greeting: String,
}

#[filter]
impl Filter for Hello {
    fn response(&self, res: &mut Response) -> Result {
        res.headers().set("x-greeting", &self.greeting);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicegate_sdk::test::Harness;

    #[test]
    fn every_response_is_greeted() -> Result {
        let gateway = Harness::<Hello>::new(json!({ "greeting": "Good morning" }))?;
        assert_eq!(gateway.get("/").send().header("x-greeting"), Some("Good morning"));
        Ok(())
    }

    #[test]
    fn the_greeting_has_a_default() -> Result {
        let gateway = Harness::<Hello>::new(json!({}))?;
        assert_eq!(gateway.get("/").send().header("x-greeting"), Some("Hello"));
        Ok(())
    }
}
